package gateway

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/frame"
)

// C5: a device sends 100 messages at once and 10 a second; then 429, with a wait that is
// enough. Another device is not disturbed, and status says who it was.
func TestRateOfPosts(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		c, id := h.client(away), 0
		messages := func(from string, n int) string {
			all := make([]string, n)
			for i := range all {
				id++
				all[i] = strings.Replace(one(fmt.Sprint(id)), "phone-1", from, 1)
			}
			return batch(all...)
		}
		if a := h.post(c, "/v1/upstream", messages("phone-1", 100)); a.status != 202 {
			t.Fatalf("%+v", a)
		}
		a := h.post(c, "/v1/upstream", messages("phone-1", 20))
		wait, _ := strconv.Atoi(a.header.Get("Retry-After"))
		if a.status != 429 || a.code(t) != frame.CodeTooMany || wait != 2 {
			t.Fatalf("%+v", a)
		}
		if a := h.post(c, "/v1/upstream", messages("phone-2", 1)); a.status != 202 {
			t.Errorf("another device: %+v", a)
		}
		time.Sleep(2 * time.Second)
		if a := h.post(c, "/v1/upstream", messages("phone-1", 20)); a.status != 202 {
			t.Errorf("after the wait: %+v", a)
		}
		if s := h.g.Status(); s.Limited != 1 || !strings.HasPrefix(s.LastLimited, "phone-1: ") || s.LastLimitedAt.IsZero() {
			t.Errorf("%+v", s)
		}
	})
}

// C5: after ten wrong credentials in a minute an address gets 429, with any credential. An
// address next to it is not disturbed; of IPv6, the same /64 is.
func TestWrongCredentials(t *testing.T) {
	for guilty, others := range map[string][2]string{
		"192.0.2.1:1":        {"192.0.2.1:2", "192.0.2.2:1"},
		"[2001:db8::1]:1":    {"[2001:db8::ffff:1]:1", "[2001:db8:0:1::1]:1"},
		"[::ffff:1.2.3.4]:1": {"1.2.3.4:2", "1.2.3.5:1"},
	} {
		inHouse(t, nil, func(t *testing.T, h *house) {
			c := h.client(guilty)
			for i := range 12 {
				want := http.StatusUnauthorized
				if i >= 10 {
					want = http.StatusTooManyRequests
				}
				if a := h.post(c, "/v1/upstream", one("m"), "Authorization", "Bearer guess-"+strconv.Itoa(i)); a.status != want {
					t.Fatalf("%d: %+v", i, a)
				}
			}
			if a := h.post(h.client(others[0]), "/v1/upstream", one("m")); a.status != 429 || a.header.Get("Retry-After") != "6" {
				t.Errorf("the same address: %+v", a)
			}
			if a := h.post(h.client(others[1]), "/v1/upstream", one("m")); a.status != 202 {
				t.Errorf("another address: %+v", a)
			}
			s := h.g.Status()
			if s.Denied != 10 || s.LastDenied == "" || strings.Contains(s.LastDenied+h.log.String(), "guess") {
				t.Errorf("%+v", s)
			}
			time.Sleep(time.Minute)
			if a := h.post(h.client(guilty), "/v1/upstream", one("m2")); a.status != 202 {
				t.Errorf("a minute later: %+v", a)
			}
		})
	}
}

// open tries to get an answer of the health on a new connection.
func (h *house) open(from string) (net.Conn, bool) {
	nc := h.l.dialFrom(from)
	go fmt.Fprint(nc, "GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		nc.Close()
		return nil, false
	}
	io.Copy(io.Discard, resp.Body)
	return nc, resp.StatusCode == http.StatusOK
}

// C5: 50 connections and 20 a second of one address; others are not disturbed; this machine
// and unix sockets have no such limit, because they stand for many.
func TestConnectionsOfAnAddress(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		var mine []net.Conn
		for i := range 100 {
			if i%20 == 0 {
				time.Sleep(time.Second)
			}
			nc, ok := h.open(fmt.Sprint("192.0.2.1:", i+1))
			if ok != (i < perAddress) {
				t.Fatalf("connection %d: %v", i, ok)
			}
			if ok {
				mine = append(mine, nc)
			}
		}
		for _, from := range []string{"192.0.2.2:1", "127.0.0.1:1", ""} {
			n := 0
			for range handshakes + 5 {
				if nc, ok := h.open(from); ok {
					n++
					defer nc.Close()
				}
			}
			if want := map[bool]int{true: handshakes, false: handshakes + 5}[from == "192.0.2.2:1"]; n != want {
				t.Errorf("%q: %d at once, want %d", from, n, want)
			}
		}
		mine[0].Close()
		time.Sleep(time.Second)
		if nc, ok := h.open("192.0.2.1:999"); !ok {
			t.Error("no place after one has gone")
		} else {
			nc.Close()
		}
		for _, nc := range mine {
			nc.Close()
		}
	})
}

// C5: over max_connections a connection is closed before anything is done for it. Strangers
// who send nothing take at most a part, and for 5 s.
func TestAllConnections(t *testing.T) {
	inHouse(t, func(o *Options) { o.MaxConnections = 100 }, func(t *testing.T, h *house) {
		for i := range fewStrangers {
			defer h.l.dialFrom(fmt.Sprintf("198.51.100.%d:1", i)).Close()
		}
		if _, ok := h.open("192.0.2.1:1"); ok {
			t.Error("one more stranger")
		}
		if s := h.g.Status(); s.Connections != fewStrangers || !strings.Contains(s.LastLimited, "without a request") {
			t.Errorf("%+v", s)
		}
		time.Sleep(headerLimit + time.Second) // they are closed
		var good []net.Conn
		for i := range 101 {
			nc, ok := h.open(fmt.Sprintf("203.0.113.%d:1", i))
			if ok != (i < 100) {
				t.Fatalf("connection %d: %v", i, ok)
			}
			if ok {
				good = append(good, nc)
			}
		}
		if s := h.g.Status(); s.Connections != 100 || !strings.Contains(s.LastLimited, "max_connections") {
			t.Errorf("%+v", s)
		}
		for _, nc := range good {
			nc.Close()
		}
	})
}

// C5: a header that does not come within 5 s, or is larger than 16 KiB, ends its connection;
// so does a connection that is idle for 75 s.
func TestSlowAndLargeHeaders(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		ends := func(nc net.Conn) time.Duration {
			start := time.Now()
			io.Copy(io.Discard, nc)
			return time.Since(start)
		}
		slow := h.l.dialFrom(away)
		go func() {
			for { // one byte a second is no progress
				if _, err := fmt.Fprint(slow, "G"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		if d := ends(slow); d > 7*time.Second {
			t.Errorf("a slow header: %v", d)
		}
		nc, _ := h.open("192.0.2.9:1")
		if d := ends(nc); d < 74*time.Second || d > 76*time.Second {
			t.Errorf("idle: %v", d)
		}
		nc = h.l.dialFrom("192.0.2.10:1")
		go fmt.Fprintf(nc, "GET /healthz HTTP/1.1\r\nHost: g\r\nX: %s\r\n\r\n", strings.Repeat("x", 40<<10))
		if line, _ := bufio.NewReader(nc).ReadString('\n'); !strings.Contains(line, "431") {
			t.Errorf("a large header: %q", line)
		}
		nc.Close()
	})
}

// C5: over 64 MiB that are read and not committed, HTTP gets 503 and sockets wait. What is
// answered is free again.
func TestUncommittedBytes(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		h.g.budget.force(maxUndecided - 50)
		a := h.post(h.client(away), "/v1/upstream", one("m1"))
		if a.status != 503 || a.code(t) != frame.CodeNoRoom || a.header.Get("Retry-After") == "" || len(h.books.stored) > 0 {
			t.Errorf("%+v", a)
		}
		waited := make(chan struct{})
		h.g.budget.force(50)
		go func() { h.g.budget.wait(); close(waited) }()
		synctest.Wait()
		select {
		case <-waited:
			t.Error("a socket does not wait")
		default:
		}
		h.g.budget.give(maxUndecided)
		<-waited
		if a := h.post(h.client(away), "/v1/upstream", one("m1")); a.status != 202 {
			t.Errorf("with room: %+v", a)
		}
	})
}

// C5: what the headers of proxies say counts only from trusted ones, and of a list the
// rightmost address that no trusted one has.
func TestForwardedFor(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, c := range []struct {
		remote  string
		headers []string
		want    peer
	}{
		{"192.0.2.1:5", []string{"203.0.113.9"}, peer{"192.0.2.1", false}},
		{"10.1.2.3:5", []string{"203.0.113.9"}, peer{"203.0.113.9", false}},
		{"10.1.2.3:5", []string{"6.6.6.6, 203.0.113.9, 10.9.9.9"}, peer{"203.0.113.9", false}},
		{"10.1.2.3:5", []string{"6.6.6.6", " 203.0.113.9:443 "}, peer{"203.0.113.9", false}},
		{"10.1.2.3:5", []string{"6.6.6.6, junk, 10.9.9.9"}, peer{"10.9.9.9", false}},
		{"10.1.2.3:5", []string{"junk"}, peer{"10.1.2.3", true}},
		{"10.1.2.3:5", nil, peer{"10.1.2.3", true}},
		{"[2001:db8:1::1]:5", []string{"[2001:db8:2:3:4::5]:443"}, peer{"2001:db8:2:3::/64", false}},
		{"@", []string{"203.0.113.9"}, peer{"203.0.113.9", false}},
		{"@", nil, peer{"unix", true}},
		{"127.0.0.1:5", []string{"203.0.113.9"}, peer{"127.0.0.1", true}},
		{"[::ffff:10.1.2.3]:5", []string{"::ffff:203.0.113.9"}, peer{"203.0.113.9", false}},
		{"[fe80::1%eth0]:5", nil, peer{"fe80::/64", false}},
	} {
		g := New(Options{TrustedProxies: trusted})
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.headers}}
		if got := g.peerOf(r); got != c.want || g.peerNamed(got.key).free != (got.free || g.trusts(netip.MustParseAddr("10.9.9.9"), true) && got.key == "10.9.9.9") {
			t.Errorf("%s %q: %+v, want %+v, again %+v", c.remote, c.headers, got, c.want, g.peerNamed(got.key))
		}
	}
}

// P10: no header makes the address of a client anything but an address, or a trusted
// proxy's own.
func FuzzForwarded(f *testing.F) {
	f.Add("6.6.6.6, 203.0.113.9, 10.9.9.9")
	f.Add("[2001:db8::1]:443,,junk")
	g := New(Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	f.Fuzz(func(t *testing.T, header string) {
		p := g.peerOf(&http.Request{RemoteAddr: "10.1.2.3:5", Header: http.Header{"X-Forwarded-For": {header}}})
		_, addrErr := netip.ParseAddr(p.key)
		_, prefixErr := netip.ParsePrefix(p.key)
		if addrErr != nil && prefixErr != nil {
			t.Errorf("%q: %+v", header, p)
		}
	})
}

// proxyHeader is a PROXY header, version 2, of a client at 203.0.113.7.
func proxyHeader() string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"), 203, 0, 113, 7, 192, 0, 2, 1)
	return string(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, 999), 443))
}

// C5: the PROXY protocol is spoken by trusted proxies only. They must speak it, so a client
// can't write a header through them.
func TestProxyProtocol(t *testing.T) {
	trust := func(o *Options) {
		o.ProxyProtocol, o.TrustedProxies = true, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}
	inHouse(t, trust, func(t *testing.T, h *house) {
		try := func(from, header string) (status string) {
			nc := h.l.dialFrom(from)
			defer nc.Close()
			body := one("m")
			go fmt.Fprintf(nc, "%sPOST /v1/upstream HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer no\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", header, len(body), body)
			b := make([]byte, 12)
			n, _ := io.ReadFull(nc, b)
			return string(b[:n])
		}
		if got := try("10.0.0.1:1", proxyHeader()); got != "HTTP/1.1 401" || !strings.Contains(h.g.Status().LastDenied, "203.0.113.7") {
			t.Errorf("a proxy: %q, %q", got, h.g.Status().LastDenied)
		}
		if got := try("10.0.0.1:1", "PROXY TCP4 203.0.113.8 192.0.2.1 5 443\r\n"); got != "HTTP/1.1 401" || !strings.Contains(h.g.Status().LastDenied, "203.0.113.8") {
			t.Errorf("version 1: %q, %q", got, h.g.Status().LastDenied)
		}
		if got := try("10.0.0.1:1", ""); strings.HasPrefix(got, "HTTP/1.1 401") {
			t.Errorf("a proxy without a header: %q", got)
		}
		denied := h.g.Status().Denied
		if got := try("192.0.2.1:1", proxyHeader()); strings.HasPrefix(got, "HTTP/1.1 401") || h.g.Status().Denied != denied {
			t.Errorf("a client: %q", got)
		}
		opened := 0
		for range handshakes + 5 { // they count for the client's address
			nc := h.l.dialFrom("10.0.0.1:1")
			go fmt.Fprint(nc, strings.Replace("PROXY TCP4 1.2.3.4 192.0.2.1 5 443\r\n", "1.2.3.4", "203.0.113.99", 1), "GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n")
			if _, err := http.ReadResponse(bufio.NewReader(nc), nil); err == nil {
				opened++
			}
			nc.Close()
		}
		if opened != handshakes {
			t.Errorf("%d connections of one client at once", opened)
		}
	})
}

// C5: pages of the allowed origins may post, and others are not told that they may.
func TestCORS(t *testing.T) {
	inHouse(t, func(o *Options) { o.CORSOrigins = []string{"https://chat.example.com"} }, func(t *testing.T, h *house) {
		c := h.client(away)
		ask := func(method, origin string, headers ...string) received {
			headers = append(headers, "Origin", origin)
			if method == http.MethodOptions {
				headers = append(headers, "Access-Control-Request-Method", "POST", "Authorization", "")
			}
			return h.send(c, h.request(method, "/v1/upstream", strings.NewReader(one("m")), headers...))
		}
		a := ask(http.MethodOptions, "https://chat.example.com")
		want := map[string]string{
			"Access-Control-Allow-Origin": "https://chat.example.com", "Access-Control-Allow-Methods": "POST", "Access-Control-Max-Age": "600",
			"Access-Control-Allow-Headers": "Authorization, Content-Type, X-Firebase-AppCheck, Traceparent", "Vary": "Origin", "Access-Control-Allow-Credentials": "",
		}
		for k, v := range want {
			if a.header.Get(k) != v {
				t.Errorf("preflight: %s is %q", k, a.header.Get(k))
			}
		}
		if a.status != http.StatusNoContent {
			t.Errorf("preflight: %d", a.status)
		}
		if a := ask(http.MethodPost, "https://chat.example.com"); a.status != 202 || a.header.Get("Access-Control-Allow-Origin") == "" || a.header.Get("Access-Control-Expose-Headers") != "Retry-After" {
			t.Errorf("post: %+v", a)
		}
		if a := ask(http.MethodPost, "https://chat.example.com", "Authorization", "Bearer no"); a.status != 401 || a.header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("an error can't be read by the page: %+v", a)
		}
		for i, other := range []string{"https://chat.example.com.evil.example", "http://chat.example.com", "null", "https://CHAT.example.com"} {
			a := ask(http.MethodOptions, other)
			if a.status != 404 || a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Vary") != "Origin" {
				t.Errorf("%s: %+v", other, a)
			}
			if s := h.g.Status(); s.Foreign != uint64(i+1) || s.LastForeign != other || s.LastForeignAt.IsZero() {
				t.Errorf("%s in status: %+v", other, s)
			}
		}
		if a := ask(http.MethodPost, "http://gateway"); a.status != 202 || h.g.Status().Foreign != 4 {
			t.Errorf("a page of this host: %+v", a)
		}
	})
}

// A unix socket: a stale file is replaced, another process's is not, the mode is 0660, and
// the file is gone at the end.
func TestUnixSocket(t *testing.T) {
	path := t.TempDir() + "/gw.sock"
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	g := New(Options{Name: "main", Listen: "unix:" + path})
	if err := g.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := New(Options{Name: "two", Listen: "unix:" + path}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a second one: %v", err)
	}
	g.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file is left")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(Options{Listen: "unix:" + path}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file: %v", err)
	}
}

// What can't be opened is an error that names the address; plain HTTP is for this machine.
func TestOpenErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, address := range []string{l.Addr().String(), "0.0.0.0:0", "192.0.2.1:1", ":0", "gateway.example:1"} {
		err := New(Options{Name: "main", Listen: address}).Open(t.Context())
		if err == nil || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "main") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:0"} {
		g := New(Options{Listen: address})
		if err := g.Open(t.Context()); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		g.Close()
	}
}

// A gateway that runs and can't listen, as after a reload while somebody takes its address,
// says so and tries again. // P10
func TestAddressIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	g := New(Options{Name: "main", Listen: address})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	for len(g.Status().Unready) == 0 {
		time.Sleep(time.Millisecond)
	}
	if s := g.Status(); !strings.Contains(s.Unready[0], address) || !strings.Contains(s.Unready[0], `"main"`) || !strings.HasSuffix(s.Unready[0], "tries again") {
		t.Errorf("unready: %q", s.Unready)
	}
	l.Close()
	for len(g.Status().Unready) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	resp, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Memory stays bounded however many devices and addresses come: the oldest are forgotten.
func TestLRU(t *testing.T) {
	made := 0
	l := newLRU(2, func() int { made++; return made })
	var got []int
	for _, key := range []string{"a", "b", "a", "c", "a", "b"} {
		got = append(got, l.get(key))
	}
	if !slices.Equal(got, []int{1, 2, 1, 3, 1, 4}) || len(l.byKey) != 2 || l.order.Len() != 2 {
		t.Errorf("%v, %d", got, len(l.byKey))
	}
}
