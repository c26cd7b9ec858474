package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/sdk"
	"balhost/sdk/plugintest"
)

// pipes is a listener in memory, for fake time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// piped is a bridge in a bubble of fake time. dial connects to it.
func piped(t *testing.T) (h *plugintest.Host, dial func() net.Conn) {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	b := newBridge()
	b.listen = func(string, string) (net.Listener, error) { return p, nil }
	h = plugintest.New(t, b.plugin(), plugintest.Options{})
	return h, func() net.Conn {
		here, there := net.Pipe()
		p.conns <- there
		return here
	}
}

const logonLine = `{"message_type":"LOGON","session_id":"com.example.bal"}` + "\n"

// Who has not logged on after 10 s is cut off, also if it writes something now and then.
func TestLogonTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dial := piped(t)
		defer h.Stop()
		for _, drip := range []string{"", " "} {
			c, began := dial(), time.Now()
			stop := make(chan struct{})
			go func() {
				for range time.Tick(time.Second) {
					select {
					case <-stop:
						return
					default:
						_, _ = c.Write([]byte(drip))
					}
				}
			}()
			if _, err := c.Read(make([]byte, 1)); err != io.EOF || time.Since(began) != logonTimeout {
				t.Errorf("%q: cut off after %v: %v", drip, time.Since(began), err)
			}
			close(stop)
		}
		c := dial()
		defer c.Close()
		time.Sleep(logonTimeout - time.Millisecond)
		if _, err := c.Write([]byte(logonLine)); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(c)
		if text, err := in.ReadString('\n'); !strings.Contains(text, "SUCCESS") {
			t.Errorf("logged on in time: %q, %v", text, err)
		}
		for began := time.Now(); time.Since(began) < time.Hour; { // and it stays
			before := time.Now()
			if text, err := in.ReadString('\n'); text != "\n" || time.Since(before) > heartbeat+time.Second {
				t.Fatalf("after %v: %q, %v", time.Since(before), text, err)
			}
		}
	})
}

// Who does not read is cut off, and the plugin goes on.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dial := piped(t)
		defer h.Stop()
		c := dial()
		if _, err := c.Write([]byte(logonLine)); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(c)
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		synctest.Wait()
		time.Sleep(heartbeat + writeTimeout + time.Second) // a heartbeat that nobody reads
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("still connected after %v: %v", time.Since(began), err)
		}
		c = dial()
		defer c.Close()
		if _, err := c.Write([]byte(logonLine)); err != nil {
			t.Fatal(err)
		}
		if text, err := bufio.NewReader(c).ReadString('\n'); !strings.Contains(text, "SUCCESS") {
			t.Errorf("the next one: %q, %v", text, err)
		}
	})
}

// A BAL that acks nothing hears heartbeats, while devices go on and fill its mailbox.
func TestHeartbeatsBesideAFullWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dial := piped(t)
		defer h.Stop()
		c := dial()
		defer c.Close()
		if _, err := c.Write([]byte(logonLine)); err != nil {
			t.Fatal(err)
		}
		var devices sync.WaitGroup
		defer devices.Wait()
		devices.Go(func() {
			for range maxUnacked + 5*int(heartbeat/time.Second) {
				if r := h.Upstream(sdk.Upstream{}); r.Err() != nil {
					t.Error(r.Err())
				}
				time.Sleep(time.Second)
			}
		})
		in, beats := bufio.NewReader(c), 0
		for lines := 0; lines < 1+maxUnacked+5; lines++ {
			before := time.Now()
			text, err := in.ReadString('\n')
			if err != nil || time.Since(before) > heartbeat+time.Second {
				t.Fatalf("line %d after %v: %q, %v", lines, time.Since(before), text, err)
			}
			if text == "\n" {
				beats++
			}
		}
		if beats != 5 {
			t.Errorf("%d heartbeats", beats)
		}
	})
}

// A crowd that does not log on keeps no BAL out.
func TestCrowd(t *testing.T) {
	s := newStage(t, nil)
	told := make(chan string, maxLobby+20)
	for range maxLobby + 20 {
		c := s.dial()
		go func() {
			text, _ := c.in.ReadString('\n')
			told <- text
		}()
	}
	for range 20 {
		if why := <-told; !strings.Contains(why, string(errCrowd)) {
			t.Errorf("the oldest are told %q", why)
		}
	}
	b := s.logon(app)
	s.say("ann", 1)
	b.numbers(1)
}

// With TLS, nothing else is spoken.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	const token = "0123456789abcdef"
	s := newStage(t, map[string]any{
		"listen":   "0.0.0.0:0",
		"sessions": map[string]string{app: token},
		"tls": map[string]string{
			"cert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
			"key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
		},
	})
	_, port, _ := net.SplitHostPort(s.where())
	<-s.address
	s.address <- "127.0.0.1:" + port
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	b := s.dial()
	b.nc = tls.Client(b.nc, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
	b.in = bufio.NewReader(b.nc)
	b.write(fmt.Sprintf(`{"message_type":"LOGON","session_id":%q,"token":%q}`, app, token))
	b.want(`{"message_type":"LOGON_RESPONSE","session_id":"com.example.bal","status":"SUCCESS"}`)
	s.say("ann", 1)
	_, sequences := b.numbers(1)
	b.ack(sequences...)
	s.keys("next/" + app)
	plain := s.dial()
	plain.write(strings.TrimSpace(logonLine))
	answer, _ := io.ReadAll(plain.nc)
	if strings.Contains(string(answer), "LOGON") {
		t.Errorf("in plain it answers %q", answer)
	}
}

// FuzzLines: whatever a peer writes, the bridge answers or hangs up, and the next BAL is served.
func FuzzLines(f *testing.F) {
	f.Add([]byte(downstreamLine(1, "a", "") + "\n" + `{"message_type":"ACK","sequence_id":1}`))
	f.Add([]byte("\n \r\n{\"message_type\":\"LOGON\",\"session_id\":\"x\"}\n"))
	f.Add([]byte(`{"message_type":"DOWNSTREAM","sequence_id":3,"fcm_data":{"to":7,"data":[{}],"time_to_live":1e99}}`))
	f.Add([]byte(downstreamLine(1, "a", `,"data":{"\xff":"\xff"}`) + "\n"))
	f.Add([]byte("{\"message_type\":\"ACK\",\"sequence_id\":9223372036854775807}\x00\xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := newStage(t, nil)
		s.say("ann", 1)
		b := s.logon(app)
		_, _ = b.nc.Write(text)
		_ = b.nc.(*net.TCPConn).CloseWrite()
		b.ended()
		next := s.logon(app)
		next.write(`{"message_type":"DOWNSTREAM","fcm_data":{"to":"ann","message_id":"the last"}}`)
		for l := (line{}); l.Type != typeAck; _, l = next.read() {
		}
	})
}
