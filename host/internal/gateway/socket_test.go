package gateway

import (
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"balhost/host/internal/frame"
)

// A token may be in the header, beside the subprotocol, or in hello. Only the subprotocol
// is echoed. What the header or subprotocol has is checked before the handshake.
func TestCredentialOfASocket(t *testing.T) {
	bearer := func(s string) string {
		return frame.Subprotocol + ", " + frame.BearerProtocol + base64.RawURLEncoding.EncodeToString([]byte(s))
	}
	for _, c := range []struct {
		name    string
		headers []string
		hello   string
		status  int
		code    int // of the close; 0: it is welcomed
	}{
		{"in the header", []string{"Authorization", "Bearer phone-1"}, `{"type":"hello"}`, 101, 0},
		{"in the subprotocol", []string{"Sec-WebSocket-Protocol", bearer("phone-1")}, `{"type":"hello"}`, 101, 0},
		{"in hello", nil, `{"type":"hello","token":"phone-1"}`, 101, 0},
		{"bad in the header", []string{"Authorization", "Bearer bad"}, "", 401, 0},
		{"bad in the subprotocol", []string{"Sec-WebSocket-Protocol", bearer("bad")}, "", 401, 0},
		{"not base64url", []string{"Sec-WebSocket-Protocol", frame.Subprotocol + ", bearer.!"}, "", 401, 0},
		{"bad in hello", nil, `{"type":"hello","token":"bad"}`, 101, 4401},
		{"nowhere", nil, `{"type":"hello"}`, 101, 4401},
		{"another device's from", []string{"Authorization", "Bearer phone-1"}, `{"type":"hello","from":"phone-2"}`, 101, 4403},
		{"another subprotocol", []string{"Sec-WebSocket-Protocol", "mqtt"}, "", 400, 0},
		{"a page of this host", []string{"Origin", "http://gateway"}, `{"type":"hello","token":"phone-1"}`, 101, 0},
		{"a page that may", []string{"Origin", "https://app.example"}, `{"type":"hello","token":"phone-1"}`, 101, 0},
		{"a page that may not", []string{"Origin", "https://evil.example"}, "", 403, 0},
		{"no hello but another frame", nil, `{"type":"upstream","message_id":"m"}`, 101, 4408},
		{"hello with a wrong field", nil, `{"type":"hello","received":"d-1"}`, 101, 4408},
	} {
		t.Run(c.name, func(t *testing.T) {
			inRoom(t, func(t *testing.T, r *room) {
				p, answer, err := r.dial(c.headers...)
				if answer.StatusCode != c.status {
					t.Fatalf("status %d, %v; want %d", answer.StatusCode, err, c.status)
				}
				if c.status != http.StatusSwitchingProtocols {
					return
				}
				if got := answer.Header.Get("Sec-WebSocket-Protocol"); got != frame.Subprotocol {
					t.Errorf("the subprotocol is answered with %q", got)
				}
				p.text(c.hello)
				if c.code != 0 {
					p.closed(websocketCode(c.code))
					return
				}
				if f := p.expect(frame.TypeWelcome); f.MaxUnacked != 20 || f.PingSeconds != 25 || f.Time != time.Now().UnixMilli() {
					t.Errorf("welcome %+v", f)
				}
			})
		})
	}
}

// hello has to come within 10 s.
func TestNoHello(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		p, _, err := r.dial()
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		p.closed(frame.CloseNoHello)
		if took := time.Since(start); took != helloLimit {
			t.Errorf("closed after %v", took)
		}
	})
}

// A credential ends the socket at its end, unless a hello has brought a newer one.
func TestCredentialExpires(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		start := time.Now()
		r.desk.until = start.Add(time.Minute)
		p := r.connect("phone-1")
		heard := p.live(false)
		time.Sleep(59 * time.Second)
		r.desk.mu.Lock()
		r.desk.until = start.Add(2 * time.Minute)
		r.desk.mu.Unlock()
		p.send(frame.Frame{Type: frame.TypeHello, Token: "any", From: "phone-1"})
		<-heard.done
		if took := heard.at.Sub(start); heard.code != frame.CloseCredential || took != 2*time.Minute {
			t.Errorf("closed with %d after %v", heard.code, took)
		}
	})
}

// A connection is one device's: a later hello can't make it another's.
func TestLaterHelloOfAnotherDevice(t *testing.T) {
	inRoom(t, func(t *testing.T, r *room) {
		p := r.connect("phone-1")
		p.send(frame.Frame{Type: frame.TypeHello, Token: "any", From: "phone-2"})
		p.closed(frame.CloseForbidden)
		p = r.connect("phone-1")
		p.send(frame.Frame{Type: frame.TypeHello, Token: "bad"})
		p.closed(frame.CloseCredential)
	})
}
