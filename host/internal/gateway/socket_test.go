package gateway

import (
	"encoding/base64"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/frame"

	"github.com/coder/websocket"
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

// A stranger who floods before hello is closed at once, and not after 10 s; a few pings do
// no harm. // P10
func TestFloodBeforeHello(t *testing.T) {
	for name, first := range map[string]byte{"pings": 0x89, "pongs": 0x8a, "fragments": 0x00} {
		t.Run(name, func(t *testing.T) {
			inRoom(t, func(t *testing.T, r *room) {
				p, _, err := r.dial("Authorization", "Bearer phone-1")
				if err != nil {
					t.Fatal(err)
				}
				heard, start := p.live(false), time.Now()
				if first == 0x00 {
					p.raw(1, 0x01)
				}
				p.raw(junkBurst+1, first)
				<-heard.done
				if took := time.Since(start); heard.code != websocket.StatusPolicyViolation || took > time.Second || r.s.tally.limits != 1 {
					t.Errorf("closed with %d after %v, %d count as limited", heard.code, took, r.s.tally.limits)
				}
			})
		})
	}
	inRoom(t, func(t *testing.T, r *room) {
		p, _, err := r.dial()
		if err != nil {
			t.Fatal(err)
		}
		heard := p.live(false)
		p.raw(10, 0x89)
		p.send(frame.Frame{Type: frame.TypeHello, Token: "any", From: "phone-1"})
		synctest.Wait()
		if got := heard.heard(); len(got) != 1 || got[0] != "welcome" {
			t.Errorf("after a few pings: %q", got)
		}
	})
}

// What the library refuses has our shape, as all refusals.
func TestHandshakesThatAreNone(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		for want, headers := range map[int][]string{
			http.StatusUpgradeRequired: {"Sec-WebSocket-Version", "13"},
			http.StatusBadRequest:      {"Connection", "Upgrade", "Sec-WebSocket-Version", "7"},
		} {
			headers = append(headers, "Upgrade", "websocket", "Sec-WebSocket-Protocol", frame.Subprotocol, "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
			if a := h.send(h.client(away), h.request(http.MethodGet, "/v1/ws", nil, headers...)); a.status != want || a.code(t) == "" {
				t.Errorf("%q: %+v", headers, a)
			}
		}
	})
}

// P10: whatever bytes a device sends, in whatever pieces, the frames in them are counted
// alike.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x89\x80\x00\x00\x00\x00\x01\x05hello\x00\x00\x80\x00"), byte(3))
	f.Add([]byte("\x01\x7e\x02\x00\x89\x7f\x00\x00\x00\x00\x00\x00\x00\x01x\x8a\x00"), byte(1))
	f.Fuzz(func(t *testing.T, b []byte, piece byte) {
		var whole, pieces frames
		want, got := whole.empty(b), 0
		for part := range slices.Chunk(b, int(piece)+1) {
			got += pieces.empty(part)
		}
		if got != want || whole != pieces || want > len(b)/2 {
			t.Errorf("%x: %d at once, %d in pieces of %d", b, want, got, piece+1)
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
