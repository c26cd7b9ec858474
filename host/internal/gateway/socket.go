package gateway

import (
	"context"
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"balhost/host/internal/credential"
	"balhost/host/internal/entry"
	"balhost/host/internal/frame"
	"balhost/host/internal/plain"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
)

// sockets serves the devices that are connected by WebSocket. Spec: fcm-v1-and-gateway.md C3.
type sockets struct {
	o        *Options
	desk     desk
	tally    *tally
	registry registry
}

// desk is what the sockets need of the rest of the gateway.
type desk interface {
	// identify finds out who shows s. from and category are what it says itself, or "".
	identify(ctx context.Context, s shown, from, category string) (identity, *refusal)
	// upstream makes of a frame what is to be stored. wrong, if not nil, says which of the
	// frame's fields is of a wrong type.
	upstream(who identity, f *frame.Frame, wrong error) (entry.Inbound, *refusal)
	// receipt does the same.
	receipt(who identity, f *frame.Frame, wrong error) (entry.Inbound, *refusal)
	// allow reports whether the device may send one more message now, and counts it.
	allow(from string) bool
}

// shown is what somebody shows to say who it is.
type shown struct {
	bearer        string // a token; "": none
	authorization string // the header of the handshake, which may have a signature instead
	appCheck      string // an App Check token; "": none
	peer          string // the address, for limits and logs
}

// identity is who a device is.
type identity struct {
	from, category string
	until          time.Time // the end of the credential; zero: it has none
}

// refusal is why something is refused. HTTP answers with its status.
type refusal struct {
	status            int
	code, description string
	after             time.Duration // when it may be tried again; 0: never, or it is not known
}

// close is how a refusal ends a socket.
func (r *refusal) close() *ending {
	code := websocket.StatusCode(websocket.StatusPolicyViolation)
	switch r.status {
	case http.StatusUnauthorized:
		code = frame.CloseCredential
	case http.StatusForbidden:
		code = frame.CloseForbidden
	case http.StatusTooManyRequests:
		code = frame.CloseSlowDown
	case http.StatusServiceUnavailable:
		code = websocket.StatusTryAgainLater
	}
	return because(code, clip(r.description))
}

// So many frames that bring nothing may a device send, a second on average and at once.
const (
	junkRate  = 10
	junkBurst = 100
)

// restarts is what devices are told when the gateway ends.
const restarts = "the gateway restarts"

// clip makes a text fit into a close frame.
func clip(s string) string { return plain.Clip(plain.Line(s, 119), 119) }

// subprotocols reads what a client offers: whether it speaks ours, and the token that it
// may have put beside it, since a browser can't set headers. ok is false for a token that
// is not base64url.
func subprotocols(h http.Header) (ours bool, token string, ok bool) {
	ok = true
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for offer := range strings.SplitSeq(line, ",") {
			offer = strings.TrimSpace(offer)
			coded, is := strings.CutPrefix(offer, frame.BearerProtocol)
			switch {
			case offer == frame.Subprotocol:
				ours = true
			case is:
				b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(coded, "="))
				token, ok = string(b), err == nil
			}
		}
	}
	return ours, token, ok
}

// accept makes a WebSocket of a request. What the request shows is checked before, so that
// a refusal is a cheap answer; the caller writes it. The device's goroutines go on after
// accept has returned. They end by [registry.drain].
func (s *sockets) accept(ctx context.Context, w http.ResponseWriter, r *http.Request, shows shown) *refusal {
	if no := s.check(ctx, r, &shows); no != nil {
		return no
	}
	d := &device{s: s, shown: shows, hint: make(chan struct{}, 1), gone: make(chan struct{}), born: time.Now(),
		junk: rate.NewLimiter(junkRate, junkBurst)}
	d.stored = d.decided
	h := &hijack{ResponseWriter: w, empty: d.empty}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols:       []string{frame.Subprotocol},
		InsecureSkipVerify: true, // check has looked at the origin
		OnPingReceived:     func(context.Context, []byte) bool { return !d.over() },
	})
	if err != nil {
		return h.refusal(err)
	}
	ws.SetReadLimit(frame.MaxFrame)
	d.socket = &socket{ws: ws, wire: h.wire}
	if !s.registry.open(d) {
		d.socket.close(because(websocket.StatusServiceRestart, restarts))
		return nil
	}
	go func() { //house:go net/http's goroutine ends here, and frees its memory; registry.drain waits for this one
		defer s.registry.close(d)
		d.run(context.Background()) // not the request's: that holds on to the request
	}()
	return nil
}

// check looks at what a handshake offers and shows. A token in the subprotocol counts where
// the header has none.
func (s *sockets) check(ctx context.Context, r *http.Request, shows *shown) *refusal {
	ours, token, ok := subprotocols(r.Header)
	switch {
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		return &refusal{http.StatusUpgradeRequired, frame.CodeUpgradeNeeded, "this path is for WebSocket, over HTTP/1.1", 0}
	case s.registry.drains():
		return &refusal{http.StatusServiceUnavailable, frame.CodeNotReady, restarts, time.Duration(drainRetry()) * time.Second}
	case foreign(r, s.o.CORSOrigins):
		return &refusal{http.StatusForbidden, frame.CodeForbidden, "the page's origin is not in cors_origins", 0}
	case !ours:
		return &refusal{http.StatusBadRequest, frame.CodeInvalidField, "offer the subprotocol " + frame.Subprotocol, 0}
	case !ok:
		return &refusal{http.StatusUnauthorized, frame.CodeUnauthorized, "the subprotocol " + frame.BearerProtocol + "… is not base64url", 0}
	}
	if shows.bearer == "" {
		shows.bearer = token
	}
	if shows.bearer == "" && !credential.Signed(shows.authorization) {
		return nil // hello may have it
	}
	_, no := s.desk.identify(ctx, *shows, "", "")
	return no
}

// left notes that d has ended.
func (s *sockets) left(d *device, e *ending) {
	s.registry.remove(d)
	s.o.Log.Debug("device left", "conn", plain.Brief(d.from), "err", e)
}

// drainRetry is when a device shall connect again, in seconds. It is random, so that not
// all come at once.
func drainRetry() int64 { return 1 + rand.Int64N(10) }
