package gateway

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/credential"
	"balhost/host/internal/frame"

	"github.com/coder/websocket"
)

// C4: a request that is signed with a device's own secret is that device's. Its from may be
// left out, and can be no other; a body that was changed is not taken.
func TestSignedRequest(t *testing.T) {
	hmac := func(o *Options) { o.Auth = []credential.Rule{{Kind: credential.HMAC, Master: "master-secret"}} }
	inHouse(t, hmac, func(t *testing.T, h *house) {
		c := h.client(away)
		post := func(signed, body string) received {
			header := credential.Sign("phone-1", credential.Derive("master-secret", "phone-1"),
				credential.Shown{Method: http.MethodPost, Path: "/v1/upstream", Body: []byte(signed)}, time.Now())
			return h.post(c, "/v1/upstream", body, "Authorization", header)
		}
		mine := `{"message_id":"m1","data":{}}`
		if a := post(mine, mine); a.status != 202 || h.books.stored[0] != "m1" {
			t.Errorf("without from: %+v", a)
		}
		if a := post(one("m2"), one("m2")); a.status != 202 {
			t.Errorf("with from: %+v", a)
		}
		other := strings.Replace(one("m3"), "phone-1", "phone-2", 1)
		if a := post(other, other); a.status != 403 || a.code(t) != frame.CodeForbidden {
			t.Errorf("another device's from: %+v", a)
		}
		if a := post(one("m4"), one("m5")); a.status != 401 {
			t.Errorf("a changed body: %+v", a)
		}
		if len(h.books.stored) != 2 {
			t.Errorf("stored %q", h.books.stored)
		}
		r := "/v1/receipts"
		header := credential.Sign("phone-1", credential.Derive("master-secret", "phone-1"),
			credential.Shown{Method: http.MethodPost, Path: r, Body: []byte(`{"receipts":[{"original_message_id":"d","status":"OPENED","from":"phone-2"}]}`)}, time.Now())
		if a := h.post(c, r, `{"receipts":[{"original_message_id":"d","status":"OPENED","from":"phone-2"}]}`, "Authorization", header); a.status != 403 {
			t.Errorf("a receipt of another device: %+v", a)
		}
	})
}

// C2: without keys no credential can be checked: 503 with Retry-After, no 401, and status
// says why. It counts as no wrong credential.
func TestNoKeysYet(t *testing.T) {
	jwt := func(o *Options) { o.Auth = []credential.Rule{{Kind: credential.JWT, JWKS: t.TempDir() + "/no.json"}} }
	inHouse(t, jwt, func(t *testing.T, h *house) {
		const token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJzdWIiOiJwaG9uZS0xIiwiZXhwIjo5OTk5OTk5OTk5fQ.AAAA"
		for range failures + 5 {
			if a := h.post(h.client(away), "/v1/upstream", one("m"), "Authorization", "Bearer "+token); a.status != 503 || a.code(t) != frame.CodeNotReady || a.header.Get("Retry-After") == "" {
				t.Fatalf("%+v", a)
			}
			time.Sleep(time.Second)
		}
		if s := h.g.Status(); len(s.Unready) != 1 || !strings.Contains(s.Unready[0], "main") || s.Denied != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// C4: a user's device belongs to that user from its first use on.
func TestDeviceIsBound(t *testing.T) {
	g := New(Options{SenderID: "4829", State: newStore()})
	ada := credential.Identity{User: "ada", Bind: true}
	for range 2 {
		if who, no := g.device(t.Context(), ada, "phone-1", "com.example"); no != nil || who.from != "phone-1" || who.category != "com.example" {
			t.Fatalf("%+v, %+v", who, no)
		}
	}
	if _, no := g.device(t.Context(), credential.Identity{User: "eve", Bind: true}, "phone-1", ""); no == nil || no.status != http.StatusForbidden {
		t.Errorf("another user's device: %+v", no)
	}
	if _, no := g.device(t.Context(), ada, "", ""); no == nil || no.status != http.StatusForbidden {
		t.Errorf("no device: %+v", no)
	}
}

// socket opens a WebSocket through the whole gateway.
func (h *house) socket(token string) (*phone, int) {
	c := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return h.l.dialFrom(away), nil }}}
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	ws, resp, err := websocket.Dial(context.Background(), "ws://gateway/v1/ws", &websocket.DialOptions{HTTPClient: c, HTTPHeader: header, Subprotocols: []string{frame.Subprotocol}})
	if err != nil {
		return nil, resp.StatusCode
	}
	return &phone{t: h.t, ws: ws}, resp.StatusCode
}

// A later hello brings a new token, also where the first one came with the handshake.
func TestNewTokenAfterTheHandshakes(t *testing.T) {
	inHouse(t, func(o *Options) {
		o.Auth = append(o.Auth, credential.Rule{Kind: credential.Static, Token: "newer"})
	}, func(t *testing.T, h *house) {
		p, _ := h.socket(testToken)
		p.send(frame.Frame{Type: frame.TypeHello, From: "phone-1"})
		p.expect(frame.TypeWelcome)
		p.send(frame.Frame{Type: frame.TypeHello, From: "phone-1"}) // the handshake's is still good
		p.expect(frame.TypeWelcome)
		p.send(frame.Frame{Type: frame.TypeHello, From: "phone-1", Token: "newer"})
		p.expect(frame.TypeWelcome)
		p.upstream("m1")
		p.expect(frame.TypeAck, "m1")
		p.send(frame.Frame{Type: frame.TypeHello, From: "phone-1", Token: "wrong"})
		p.closed(frame.CloseCredential)
	})
}

// HTTP and sockets share credentials, envelopes, duplicates and counts; and a socket that
// does not say whose it is gets 4403.
func TestSocketsThroughTheGateway(t *testing.T) {
	inHouse(t, nil, func(t *testing.T, h *house) {
		if _, status := h.socket("wrong"); status != http.StatusUnauthorized {
			t.Errorf("a wrong credential: %d", status)
		}
		p, _ := h.socket(testToken)
		p.send(frame.Frame{Type: frame.TypeHello})
		p.closed(frame.CloseForbidden)
		p, _ = h.socket("")
		p.send(frame.Frame{Type: frame.TypeHello, Token: testToken, From: "phone-1"})
		p.expect(frame.TypeWelcome)
		p.upstream("m1")
		p.expect(frame.TypeAck, "m1")
		if a := h.post(h.client(away), "/v1/upstream", one("m1")); a.results(t)[0].Status != frame.Duplicate {
			t.Errorf("by HTTP again: %+v", a)
		}
		p.text(`{"type":"upstream","message_id":"m2","data":{"a":"\ud800"}}`)
		if f := p.expect(frame.TypeNack, "m2"); f.Error != frame.CodeInvalidJSON || f.Temporary {
			t.Errorf("%+v", f)
		}
		ttl := int64(48 * 3600)
		p.send(frame.Frame{Type: frame.TypeUpstream, MessageID: "m3", TimeToLive: &ttl})
		if f := p.expect(frame.TypeNack, "m3"); f.Error != frame.CodeTTLTooLong || !strings.Contains(f.Description, "169200") {
			t.Errorf("%+v", f)
		}
		synctest.Wait() // an answer counts after it is written
		if s := h.g.Status(); s.Sockets != 1 || s.Stored != 1 || s.Duplicates != 1 || s.Refused != 2 || s.Denied != 1 || s.AckP99 < 0 {
			t.Errorf("%+v", s)
		}
		left := make(chan struct{})
		go func() { defer close(left); p.expect(frame.TypeDrain); p.closed(websocket.StatusServiceRestart) }()
		h.stop()
		<-left
	})
}
