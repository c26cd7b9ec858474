package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/credential"
	"balhost/host/internal/entry"
	"balhost/host/internal/frame"
)

const away = "192.0.2.1:40000"

// P1: the answer is 202 after the commit, and not before.
func TestAnswerWaitsForCommit(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		h.books.set(func() { h.books.hold = true })
		got := make(chan received, 1)
		go func() { got <- h.post(h.client(away), "/v1/upstream", batch(one("m1"), one("m2"))) }()
		synctest.Wait()
		select {
		case a := <-got:
			t.Fatalf("answered before the commit: %+v", a)
		default:
		}
		h.books.commit()
		if a := <-got; a.status != http.StatusAccepted || len(a.results(t)) != 2 {
			t.Errorf("%+v", a)
		}
	})
}

// C2: one message or a batch; stored, duplicate and refused, each in its place; the order of
// the array is the order in the ledger; what is refused harms no other.
func TestUpstreamResults(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		c := h.client(away)
		if a := h.post(c, "/v1/upstream", one("m1")); a.status != http.StatusAccepted || a.results(t)[0] != (frame.Result{MessageID: "m1", Status: frame.Stored}) {
			t.Fatalf("one: %+v", a)
		}
		a := h.post(c, "/v1/upstream", batch(one("m2"), one("m1"), `{"message_id":"m3","from":"phone-1","data":"text"}`,
			`{"from":"phone-1"}`, `{"message_id":"m4","from":"phone-1","time_to_live":169201}`, `7`, one("m5"),
			`{"message_id":"\ud800","from":"phone-1"}`, `{"message_id":"m6","data":`+strings.Repeat(`{"a":`, 64)+"1"+strings.Repeat("}", 64)+`}`,
			`{"message_id":"m7","data":{"a":"`+strings.Repeat("x", 64<<10)+`"}}`))
		var got []string
		for _, r := range a.results(t) {
			got = append(got, strings.TrimSpace(r.MessageID+" "+string(r.Status)+" "+r.Code))
			if (r.Status == frame.Refused) != (r.Description != "") {
				t.Errorf("no description: %+v", r)
			}
		}
		want := []string{"m2 stored", "m1 duplicate", "m3 refused INVALID_FIELD", "refused INVALID_FIELD", "m4 refused TTL_TOO_LONG", "refused INVALID_JSON", "m5 stored",
			"\ufffd refused INVALID_JSON", "refused INVALID_JSON", "m7 refused TOO_BIG"}
		if a.status != http.StatusAccepted || !slices.Equal(got, want) {
			t.Errorf("%d %q\nwant %q", a.status, got, want)
		}
		if !slices.Equal(h.books.stored, []string{"m1", "m2", "m5"}) {
			t.Errorf("stored %q", h.books.stored)
		}
		if s := h.g.Status(); s.Stored != 3 || s.Duplicates != 1 || s.Refused != 7 {
			t.Errorf("%+v", s)
		}
	})
}

// C2: Raw is as CCS sends it, with from and category filled in by the host.
func TestEnvelope(t *testing.T) {
	g := New(Options{SenderID: "4829"})
	ttl := int64(60)
	in, no := g.envelope(identity{from: "ph\"one", category: "com.example"}, frame.Message{MessageID: "mé", Data: []byte(`{"a": "b"}`), TimeToLive: &ttl})
	want := `{"from":"ph\"one","category":"com.example","message_id":"mé","data":{"a": "b"},"time_to_live":60}`
	if no != nil || string(in.Upstream.Raw) != want || string(in.Upstream.Data) != `{"a": "b"}` || in.Upstream.Session != "4829" {
		t.Fatalf("%s, %+v", in.Upstream.Raw, no)
	}
	for name, at := range map[string][2]any{
		"from": {in.Places.From, `ph\"one`}, "category": {in.Places.Category, "com.example"}, "message_id": {in.Places.MessageID, "mé"}, "data": {in.Places.Data, `{"a"`},
	} {
		if !strings.HasPrefix(want[at[0].(int):], at[1].(string)) {
			t.Errorf("%s is not at %d", name, at[0])
		}
	}
	if in, _ := g.envelope(identity{from: "p"}, frame.Message{MessageID: "m"}); string(in.Upstream.Raw) != `{"from":"p","message_id":"m"}` || in.Upstream.Data != nil || in.Places.Data != 0 {
		t.Errorf("the least: %s", in.Upstream.Raw)
	}
}

// C2, the table of statuses: what is wrong with a whole request stores nothing of it.
func TestStatuses(t *testing.T) {
	many := make([]string, 101)
	for i := range many {
		many[i] = one(fmt.Sprint(i))
	}
	for _, c := range []struct {
		name, path, body string
		headers          []string
		status           int
		code             string
	}{
		{"no JSON", "/v1/upstream", `{"messages":[`, nil, 400, frame.CodeInvalidJSON},
		{"no object", "/v1/upstream", `[]`, nil, 400, frame.CodeInvalidJSON},
		{"null", "/v1/upstream", `null`, nil, 400, frame.CodeInvalidJSON},
		{"empty", "/v1/upstream", ``, nil, 400, frame.CodeInvalidJSON},
		{"no messages", "/v1/upstream", `{"messages":[]}`, nil, 400, frame.CodeInvalidJSON},
		{"no list", "/v1/upstream", `{"messages":7}`, nil, 400, frame.CodeInvalidJSON},
		{"no receipts", "/v1/receipts", one("m"), nil, 400, frame.CodeInvalidJSON},
		{"101 messages", "/v1/upstream", batch(many...), nil, 413, frame.CodeTooBig},
		{"large", "/v1/upstream", strings.Repeat(" ", frame.MaxBody+1), nil, 413, frame.CodeTooBig},
		{"text", "/v1/upstream", one("m"), []string{"Content-Type", "text/plain"}, 415, frame.CodeWrongType},
		{"no type", "/v1/upstream", one("m"), []string{"Content-Type", ""}, 415, frame.CodeWrongType},
		{"latin", "/v1/upstream", one("m"), []string{"Content-Type", "application/json; charset=latin1"}, 415, frame.CodeWrongType},
		{"gzip", "/v1/upstream", one("m"), []string{"Content-Encoding", "gzip"}, 415, frame.CodeWrongType},
		{"no credential", "/v1/upstream", one("m"), []string{"Authorization", ""}, 401, frame.CodeUnauthorized},
		{"wrong credential", "/v1/upstream", one("m"), []string{"Authorization", "Bearer no"}, 401, frame.CodeUnauthorized},
		{"no from", "/v1/upstream", `{"message_id":"m"}`, nil, 403, frame.CodeForbidden},
		{"from is no text", "/v1/upstream", `{"message_id":"m","from":7}`, nil, 400, frame.CodeInvalidJSON},
		{"too deep to be read", "/v1/upstream", `{"message_id":"m","from":"phone-1","data":` + strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 71), nil, 400, frame.CodeInvalidJSON},
		{"two froms", "/v1/upstream", batch(one("m"), `{"message_id":"n","from":"phone-2"}`), nil, 403, frame.CodeForbidden},
		{"query", "/v1/upstream?secret=1", one("m"), []string{"Authorization", ""}, 401, frame.CodeUnauthorized},
		{"admin", "/v1/messages", one("m"), nil, 404, frame.CodeNotFound},
		{"slash", "/v1/upstream/", one("m"), nil, 404, frame.CodeNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHouse(t, nil, func(t *testing.T, h *house) {
				a := h.post(h.client(away), c.path, c.body, c.headers...)
				if a.status != c.status || a.code(t) != c.code || len(h.books.stored) > 0 {
					t.Errorf("%+v, stored %q", a, h.books.stored)
				}
				challenge := a.header.Get("WWW-Authenticate")
				if (c.status == 401) != strings.HasPrefix(challenge, "Bearer") || c.name == "wrong credential" && challenge != `Bearer error="invalid_token"` {
					t.Errorf("challenge %q", challenge)
				}
				if a.header.Get("Server") != "" || a.header.Get("Content-Type") != "application/json" {
					t.Errorf("headers %v", a.header)
				}
			})
		})
	}
}

// C5: other methods and paths are 404 in our shape; the health is for balancers, and says
// no while the gateway drains.
func TestOtherPaths(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		c := h.client(away)
		for _, r := range []string{"GET /v1/upstream", "GET /", "GET /metrics", "GET /v1/status", "POST //v1/upstream", "POST /v1/./upstream", "POST /v1/upstream/", "GET //healthz", "GET /v1/../healthz", "OPTIONS /v1/upstream", "DELETE /v1/receipts", "GET /debug/pprof/"} {
			method, path, _ := strings.Cut(r, " ")
			if a := h.send(c, h.request(method, path, nil)); a.status != 404 || a.code(t) != frame.CodeNotFound {
				t.Errorf("%s: %+v", r, a)
			}
		}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if a := h.send(c, h.request(method, "/healthz", nil, "Authorization", "")); a.status != 200 {
				t.Errorf("health: %s: %+v", method, a)
			}
		}
		h.g.sockets.registry.drain(0)
		if a := h.send(c, h.request(http.MethodGet, "/healthz", nil)); a.status != 503 || a.code(t) != frame.CodeNotReady {
			t.Errorf("health while it drains: %+v", a)
		}
	})
}

// P8: what has no category is stored, and status says that it may wait.
func TestNoCategory(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		h.post(h.client(away), "/v1/upstream", batch(one("m1"), `{"message_id":"m2","from":"phone-1","category":"com.example"}`))
		if s := h.g.Status(); s.NoCategory != 1 || s.LastNoCategory != "phone-1" || s.LastNoCategoryAt.IsZero() || s.Stored != 2 {
			t.Errorf("%+v", s)
		}
		if text := h.log.String(); strings.Count(text, "no category") != 1 {
			t.Errorf("the log: %s", text)
		}
	})
}

// C2: receipts are stored as upstreams are; one of nothing that was sent is refused.
func TestReceipts(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		c := h.client(away)
		body := `{"receipts":[{"original_message_id":"d-1","status":"OPENED","timestamp":1790000000000,"from":"phone-1"},{"original_message_id":"d-2","status":"what?"},{"status":"OPENED"}]}`
		a := h.post(c, "/v1/receipts", body)
		res := a.results(t)
		if a.status != 202 || res[0] != (frame.Result{OriginalMessageID: "d-1", Status: frame.Stored}) || res[1].Code != frame.CodeInvalidField || res[2].Code != frame.CodeInvalidField {
			t.Errorf("%+v", a)
		}
		h.books.set(func() { h.books.unsent = true })
		a = h.post(c, "/v1/receipts", `{"receipts":[{"original_message_id":"d-9","status":"OPENED","from":"phone-1"}]}`)
		if res := a.results(t); a.status != 202 || res[0].Status != frame.Refused || res[0].Code != frame.CodeNotSent {
			t.Errorf("not sent: %+v", a)
		}
		if s := h.g.Status(); s.Receipts != 1 || s.Refused != 3 {
			t.Errorf("%+v", s)
		}
	})
}

// C2: without room the whole request is answered 503, with a random wait of 20 to 60 s, and
// nothing after the first that found none is stored.
func TestNoRoom(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		h.books.set(func() { h.books.full = true })
		c, waits := h.client(away), map[string]bool{}
		for range 20 {
			a := h.post(c, "/v1/upstream", batch(one("m1"), one("m2")))
			n, err := strconv.Atoi(a.header.Get("Retry-After"))
			if a.status != 503 || a.code(t) != frame.CodeNoRoom || err != nil || n < 20 || n > 60 {
				t.Fatalf("%+v", a)
			}
			waits[a.header.Get("Retry-After")] = true
		}
		if len(waits) < 3 || len(h.books.stored) > 0 || h.g.Status().NoRoom != 40 {
			t.Errorf("waits %v, stored %v, %+v", waits, h.books.stored, h.g.Status())
		}
	})
}

// P1: of one request, nothing is stored after the first that found no room, even if there
// is room by then.
func TestOneLineForARequest(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		h.books.set(func() { h.books.hold = true })
		got := make(chan received, 1)
		go func() { got <- h.post(h.client(away), "/v1/upstream", batch(one("m1"), one("m2"), one("m3"))) }()
		synctest.Wait()
		h.books.set(func() {
			line := h.books.asked[0].in.Line
			for _, a := range h.books.asked {
				if a.in.Line != line || line == nil {
					t.Error("another line")
				}
			}
			line.Broken = true
		})
		h.books.commit()
		if a := <-got; a.status != 503 || len(h.books.stored) > 0 {
			t.Errorf("%+v, stored %v", a, h.books.stored)
		}
	})
}

// C2: a second parallel request of one device is 429 with Retry-After 1; another device's is
// not.
func TestOneRequestAtATime(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		h.books.set(func() { h.books.hold = true })
		first := make(chan received, 2)
		go func() { first <- h.post(h.client(away), "/v1/upstream", one("m1")) }()
		synctest.Wait()
		if a := h.post(h.client(away), "/v1/upstream", one("m2")); a.status != 429 || a.header.Get("Retry-After") != "1" || a.code(t) != frame.CodeOneAtATime {
			t.Errorf("%+v", a)
		}
		go func() {
			first <- h.post(h.client(away), "/v1/upstream", strings.ReplaceAll(one("m3"), "phone-1", "phone-2"))
		}()
		synctest.Wait()
		h.books.commit()
		for range 2 {
			if a := <-first; a.status != 202 {
				t.Errorf("%+v", a)
			}
		}
	})
}

// C2: a body that takes longer than 10 s is 408, and a slow one that is in time is taken.
func TestSlowBody(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		for wait, want := range map[time.Duration]string{9 * time.Second: "HTTP/1.1 202", 11 * time.Second: "HTTP/1.1 408"} {
			nc := h.l.dialFrom(away)
			body := strings.Replace(one("m"), "phone-1", "phone-"+wait.String(), 1)
			fmt.Fprintf(nc, "POST /v1/upstream HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", testToken, len(body))
			fmt.Fprint(nc, body[:10])
			go func() {
				time.Sleep(wait)
				fmt.Fprint(nc, body[10:])
			}()
			b := make([]byte, 12)
			if _, err := nc.Read(b); err != nil || string(b) != want {
				t.Errorf("after %v: %q, %v", wait, b, err)
			}
			nc.Close()
		}
	})
}

// C5: a body that nobody wants does not hold its connection either, whatever is refused.
func TestUnreadBodies(t *testing.T) {
	huawei := func(o *Options) {
		o.Huawei = &Huawei{CallbackKey: "secret", CallbackUser: "user"}
	}
	for name, head := range map[string]string{
		"wrong token": "POST /v1/upstream HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer no\r\nContent-Length: 9",
		"wrong type":  "POST /v1/upstream HTTP/1.1\r\nContent-Length: 9",
		"wrong path":  "POST /nothing HTTP/1.1\r\nContent-Length: 9",
		"chunks":      "POST /nothing HTTP/1.1\r\nTransfer-Encoding: chunked",
		"health":      "GET /healthz HTTP/1.1\r\nContent-Length: 9",
		"socket":      "GET /v1/ws HTTP/1.1\r\nContent-Length: 9",
		"Huawei":      "POST /v1/huawei/uplink HTTP/1.1\r\nContent-Length: 9",
	} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, huawei, func(t *testing.T, h *house) {
				nc := h.l.dialFrom(away)
				defer nc.Close()
				go io.Copy(io.Discard, nc)
				fmt.Fprintf(nc, "%s\r\nHost: g\r\n\r\n9", head)
				time.Sleep(bodyLimit + 2*time.Second)
				if n := h.g.seats.taken(); n != 0 {
					t.Errorf("%d connections after the limit", n)
				}
			})
		})
	}
}

// C5: where no device signs, a wrong credential is answered before its body comes, whatever
// its scheme: nothing is held for it.
func TestNobodySigns(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		nc := h.l.dialFrom(away)
		defer nc.Close()
		go io.Copy(io.Discard, nc)
		fmt.Fprintf(nc, "POST /v1/upstream HTTP/1.1\r\nHost: g\r\nAuthorization: BALHOST key=\"a\"\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n9")
		synctest.Wait()
		if n := h.g.budget.bytes(); n != 0 {
			t.Errorf("%d bytes are held", n)
		}
	})
}

// P10: bodies whose signature is not checked yet have a share for each address, and one for
// all. They take nothing from devices whose credential is checked before the body.
func TestUnsignedBodiesAreBounded(t *testing.T) {
	both := func(o *Options) {
		o.Auth = append(o.Auth, credential.Rule{Kind: credential.HMAC, Master: "a-master-of-32-bytes-0123456789ab"})
	}
	inHouse(t, both, func(t *testing.T, h *house) {
		var open []net.Conn
		defer func() {
			for _, nc := range open {
				nc.Close()
			}
		}()
		refused := uint64(0)
		hold := func(from string, full bool) { // all of a body but its last byte
			t.Helper()
			nc := h.l.dialFrom(from)
			open = append(open, nc)
			go func() {
				fmt.Fprintf(nc, "POST /v1/upstream HTTP/1.1\r\nHost: g\r\nAuthorization: BALHOST key=\"a\"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", frame.MaxBody)
				nc.Write(make([]byte, frame.MaxBody-1))
			}()
			synctest.Wait()
			if full {
				refused++
			}
			if got := h.g.Status().Limited; got != refused {
				t.Fatalf("a body of %s: %d were refused, want %d", from, got, refused)
			}
		}
		for i := range maxUnproven / eachUnproven {
			for n := range eachUnproven / frame.MaxBody {
				hold(fmt.Sprintf("198.51.100.%d:%d", i, n+1), false)
			}
			hold(fmt.Sprintf("198.51.100.%d:9", i), true)
		}
		hold("203.0.113.1:1", true)
		if s := h.g.Status(); s.LastLimited != "203.0.113.1: "+unprovenLimit {
			t.Errorf("%+v", s)
		}
		if a := h.post(h.client(away), "/v1/upstream", one("m")); a.status != 202 || h.g.budget.bytes() != 0 {
			t.Errorf("a device with a token: %+v; %d bytes in all", a, h.g.budget.bytes())
		}
		time.Sleep(bodyLimit + time.Second) // they are over
		synctest.Wait()
		if h.g.unproven.held != 0 || len(h.g.unproven.by) != 0 {
			t.Errorf("%d bytes are held at the end, of %v", h.g.unproven.held, h.g.unproven.by)
		}
	})
}

// C5: a device that does not read its answer within 10 s loses its connection.
func TestSlowReader(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		nc := h.l.dialFrom(away)
		defer nc.Close()
		body := one("m")
		fmt.Fprintf(nc, "POST /v1/upstream HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", testToken, len(body), body)
		time.Sleep(answerLimit - time.Second)
		if n := h.g.seats.taken(); n != 1 {
			t.Errorf("%d connections before the limit", n)
		}
		time.Sleep(2 * time.Second)
		if n := h.g.seats.taken(); n != 0 {
			t.Errorf("%d connections after the limit", n)
		}
	})
}

// The end: a request in flight is answered, nothing new is accepted, Run returns nil.
func TestDrainAnswersRequests(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		h.books.set(func() { h.books.hold = true })
		got := make(chan received, 1)
		go func() { got <- h.post(h.client(away), "/v1/upstream", one("m1")) }()
		synctest.Wait()
		h.stop()
		synctest.Wait()
		select {
		case <-h.l.shut:
		default:
			t.Error("it still accepts")
		}
		h.books.commit()
		if a := <-got; a.status != 202 {
			t.Errorf("%+v", a)
		}
	})
}

// A ledger that is over ends Run with an error, and the device is told to keep the message.
func TestLedgerIsOver(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		h.g.o.Inbox = closed{}
		if a := h.post(h.client(away), "/v1/upstream", one("m1")); a.status != 503 || a.code(t) != frame.CodeNotReady || a.header.Get("Retry-After") == "" {
			t.Errorf("%+v", a)
		}
		if err := <-h.ended; err == nil || !strings.Contains(err.Error(), "main") {
			t.Errorf("Run: %v", err)
		}
		h.ended <- nil
	})
}

type closed struct{ Inbox }

func (closed) Accept(_ entry.Inbound, done func(error)) { done(entry.ErrClosed) }

// A receipt's category is the credential's, or else what the receipt says.
func TestCategoryOfAReceipt(t *testing.T) {
	g := New(Options{Name: "main", SenderID: "4829"})
	for _, c := range []struct{ credential, says, want string }{
		{"", "", ""}, {"", "com.example.a", "com.example.a"}, {"com.example.b", "", "com.example.b"}, {"com.example.b", "com.example.b", "com.example.b"},
	} {
		in, no := g.proof(identity{from: "phone-1", category: c.credential}, frame.Receipt{OriginalMessageID: "d-1", Status: "OPENED", Category: c.says})
		if no != nil || in.Receipt.Category != c.want {
			t.Errorf("%+v: %+v, %v", c, in.Receipt, no)
		}
	}
	if _, no := g.proof(identity{from: "phone-1", category: "com.example.b"}, frame.Receipt{OriginalMessageID: "d-1", Status: "OPENED", Category: "com.example.a"}); no == nil || no.status != http.StatusForbidden {
		t.Errorf("another's category: %+v", no)
	}
}
