package devicesim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"balhost/host/internal/frame"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"
)

// Connect keeps a WebSocket to the gateway until ctx ends. It sends what is in the queue, now
// and later, and takes downstreams. It ends by itself with an error if connecting
// again would not help, such as after a newer connection of the same device.
func (d *Device) Connect(ctx context.Context) error {
	if err := d.begin(ctx); err != nil {
		return nil
	}
	defer d.end()
	for failures := 0; ; {
		welcomed, err := d.connection(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if bad := untrusted(err); bad != nil {
			return bad
		}
		err = byGateway(err)
		if !welcomed && unknown(err) {
			d.tell("refused", err.Error())
		} else {
			d.tell("closed", err.Error())
		}
		if welcomed {
			failures = 0
		}
		failures++
		wait, over := d.after(err, failures)
		if over {
			return err
		}
		if sleep(ctx, wait) != nil {
			return nil
		}
	}
}

// unknown reports whether the gateway has not let the device in because of its credential, or
// because of who it says it is.
func unknown(err error) bool {
	if refused, ok := errors.AsType[*handshakeError](err); ok {
		return refused.status == http.StatusUnauthorized || refused.status == http.StatusForbidden
	}
	code := websocket.CloseStatus(err)
	return code == frame.CloseCredential || code == frame.CloseForbidden
}

// byGateway says in plain words that the gateway has closed the connection, and why.
func byGateway(err error) error {
	if closed, ok := errors.AsType[websocket.CloseError](err); ok {
		return &closedError{closed}
	}
	return err
}

type closedError struct{ websocket.CloseError }

func (e *closedError) Error() string {
	return fmt.Sprintf("the gateway closed the connection with %d: %s", e.Code, e.Reason)
}

func (e *closedError) Unwrap() error { return e.CloseError }

// handshakeError is a gateway's answer to a handshake that is no WebSocket.
type handshakeError struct {
	status     int
	retryAfter time.Duration
}

func (e *handshakeError) Error() string {
	return fmt.Sprintf("the handshake was answered with HTTP %d %s", e.status, http.StatusText(e.status))
}

// restError is why the device itself ends a connection: it has to wait.
type restError struct {
	why  string
	wait time.Duration
}

func (e *restError) Error() string { return e.why }

// after says how long to wait before the next connection, or that there must be none.
// Spec: fcm-v1-and-gateway.md C3.
func (d *Device) after(err error, failures int) (wait time.Duration, over bool) {
	d.mu.Lock()
	wait = d.opts.Reconnect.Delay(failures, d.rnd)
	d.mu.Unlock()
	var refused *handshakeError
	var rest *restError
	switch {
	case errors.As(err, &rest):
		return wait + rest.wait, false
	case errors.As(err, &refused) && refused.status == http.StatusUnauthorized:
		d.Forget()
	case errors.As(err, &refused) && refused.status == http.StatusForbidden:
		return 0, true
	case errors.As(err, &refused):
		return wait + refused.retryAfter, false
	}
	switch websocket.CloseStatus(err) {
	case frame.CloseCredential:
		d.Forget()
	case frame.CloseForbidden, frame.CloseNoHello, frame.CloseReplaced, websocket.StatusPolicyViolation, websocket.StatusMessageTooBig:
		return 0, true
	case frame.CloseSlowDown:
		return wait + 30*time.Second, false
	}
	return wait, false
}

// connection is one WebSocket, from dialing to its end. It always ends with an error.
func (d *Device) connection(ctx context.Context) (welcomed bool, err error) {
	c, shown, err := d.handshake(ctx)
	if err != nil {
		return false, err
	}
	defer c.CloseNow()
	c.SetReadLimit(2 * frame.MaxFrame)
	s := &socket{d: d, c: c, until: shown.Until, write: map[string]bool{}, told: map[string]bool{}}
	welcome, err := s.hello(ctx, shown)
	if err != nil {
		return false, err
	}
	d.count(func(n *Counts) { n.Connections++ })
	d.tell("connected", "")
	s.limit, s.silence = welcome.MaxUnacked, time.Duration(welcome.PingSeconds)*time.Second+10*time.Second
	if s.limit <= 0 {
		s.limit = frame.MaxUnacked
	}
	frames := make(chan *frame.Frame, s.limit+d.opts.ReceiveMax+4) // all that the gateway may send before it has to read
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return s.read(inner, frames) })
	err = s.serve(inner, frames) // if read ends first, its error
	if ctx.Err() != nil {
		c.Close(websocket.StatusNormalClosure, "")
	}
	c.CloseNow() // ends read too
	g.Wait()
	return true, err
}

// handshake opens the WebSocket.
func (d *Device) handshake(ctx context.Context) (*websocket.Conn, Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	shown, err := d.credential(ctx)
	if err != nil {
		return nil, shown, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.opts.URL+frame.SocketPath, nil)
	if err != nil {
		return nil, shown, err
	}
	shown.show(r, nil)
	c, response, err := websocket.Dial(ctx, d.opts.URL+frame.SocketPath, &websocket.DialOptions{
		HTTPClient: d.http, HTTPHeader: r.Header, Subprotocols: []string{frame.Subprotocol},
	})
	if err != nil && response != nil {
		return nil, shown, &handshakeError{response.StatusCode, retryAfter(response.Header.Get("Retry-After"), time.Now())}
	}
	return c, shown, err
}

// socket is one WebSocket that is open. serve owns all of it; read uses c alone.
type socket struct {
	d       *Device
	c       *websocket.Conn
	until   time.Time // when the credential that was shown ends; zero: unknown
	limit   int       // un-acked upstreams and receipts
	silence time.Duration

	drain *restError // the gateway drains: nothing new is written

	write map[string]bool // upstreams that were written and not answered
	told  map[string]bool // receipts that were
	acks  []late          // for downstreams, in the order of their time
	buf   []byte
}

// late is an ack that Faults.Slow delays.
type late struct {
	id string
	at time.Time
}

// hello tells the gateway who the device is, and waits for its welcome.
func (s *socket) hello(ctx context.Context, shown Credential) (frame.Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, s.d.opts.Timeout)
	defer cancel()
	if err := s.send(ctx, s.introduction(shown)); err != nil {
		return frame.Frame{}, err
	}
	for {
		f, err := s.next(ctx)
		if err != nil || f.Type == frame.TypeWelcome {
			return f, err
		}
	}
}

func (s *socket) introduction(shown Credential) frame.Frame {
	d := s.d
	d.mu.Lock()
	defer d.mu.Unlock()
	had := d.seen[max(0, len(d.seen)-frame.MostHad):]
	return frame.Frame{
		Type: frame.TypeHello, From: d.opts.From, Category: d.opts.Category, Token: shown.Token,
		ReceiveMax: d.opts.ReceiveMax, Received: slices.DeleteFunc(slices.Clone(had), func(id string) bool { return id == "" }),
	}
}

// next reads one frame that this device knows.
func (s *socket) next(ctx context.Context) (frame.Frame, error) {
	for {
		kind, text, err := s.c.Read(ctx)
		if err != nil {
			return frame.Frame{}, err
		}
		f, err := frame.DecodeFrame(text)
		if kind == websocket.MessageText && err == nil {
			return f, nil
		}
	}
}

func (s *socket) read(ctx context.Context, frames chan<- *frame.Frame) error {
	for {
		f, err := s.next(ctx)
		if err != nil {
			return err
		}
		select {
		case frames <- &f:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// serve writes what waits, and handles what comes.
func (s *socket) serve(ctx context.Context, frames <-chan *frame.Frame) error {
	heard := time.NewTimer(s.silence)
	defer heard.Stop()
	for {
		changed := s.d.hinted() // before looking, so that none is lost
		if err := s.fill(ctx); err != nil {
			return err
		}
		if s.drain != nil && len(s.write)+len(s.told)+len(s.acks) == 0 {
			return s.drain
		}
		due, stop := s.due()
		select {
		case <-changed:
		case <-due:
		case <-heard.C:
			stop()
			return &restError{why: fmt.Sprintf("nothing came for %s", s.silence)}
		case <-ctx.Done():
			stop()
			return context.Cause(ctx)
		case f := <-frames:
			heard.Reset(s.silence)
			if err := s.handle(ctx, *f); err != nil {
				stop()
				return err
			}
		}
		stop()
	}
}

// due tells when the next late ack, expiry or new credential is to be looked at.
func (s *socket) due() (<-chan time.Time, func()) {
	var next time.Time
	sooner := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, a := range s.acks {
		sooner(a.at)
	}
	sooner(s.until)
	s.d.mu.Lock()
	for _, m := range s.d.queue {
		sooner(m.expires)
	}
	s.d.mu.Unlock()
	if next.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(time.Until(next))
	return t.C, func() { t.Stop() }
}

// fill writes all that may be written now.
func (s *socket) fill(ctx context.Context) error {
	now := time.Now()
	if !s.until.IsZero() && !now.Before(s.until) {
		shown, err := s.d.credential(ctx)
		if err != nil {
			return err
		}
		s.until = shown.Until
		if !s.until.IsZero() && !now.Before(s.until) {
			s.until = now.Add(time.Second) // a clock that is off: ask again, not at once
		}
		if err := s.send(ctx, s.introduction(shown)); err != nil {
			return err
		}
	}
	for len(s.acks) > 0 && !now.Before(s.acks[0].at) {
		if err := s.send(ctx, frame.Frame{Type: frame.TypeAck, MessageID: s.acks[0].id}); err != nil {
			return err
		}
		if s.acks = s.acks[1:]; s.d.opts.OnAcked != nil {
			s.d.opts.OnAcked()
		}
	}
	if s.drain != nil {
		return nil
	}
	queue, receipts := s.d.next()
	for _, r := range receipts {
		key := r.Original + " " + r.Status
		if s.told[key] || len(s.told)+len(s.write) >= s.limit {
			continue
		}
		s.told[key] = true
		if err := s.twice(ctx, r); err != nil {
			return err
		}
	}
	unsent := slices.DeleteFunc(queue, func(m waiting) bool { return s.write[m.MessageID] })
	for len(unsent) > 0 && len(s.told)+len(s.write) < s.limit {
		i := 0
		if s.d.chance(s.d.opts.Faults.Reorder) {
			i = len(unsent) - 1
		}
		m := unsent[i].message(now)
		unsent = slices.Delete(unsent, i, i+1)
		s.write[m.MessageID] = true
		f := frame.Frame{Type: frame.TypeUpstream, MessageID: m.MessageID, Category: m.Category, Data: m.Data, TimeToLive: m.TimeToLive}
		if err := s.twice(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// twice sends a frame; with Faults.Double perhaps again.
func (s *socket) twice(ctx context.Context, f frame.Frame) error {
	if err := s.send(ctx, f); err != nil {
		return err
	}
	if len(s.told)+len(s.write) < s.limit && s.d.chance(s.d.opts.Faults.Double) {
		return s.send(ctx, f)
	}
	return nil
}

// send writes one frame within 10 s.
func (s *socket) send(ctx context.Context, f frame.Frame) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s.buf = f.Append(s.buf[:0])
	return s.c.Write(ctx, websocket.MessageText, s.buf)
}

// handle does what a frame of the gateway asks for.
func (s *socket) handle(ctx context.Context, f frame.Frame) error {
	switch f.Type {
	case frame.TypeAck, frame.TypeNack:
		return s.answered(f)
	case frame.TypeDownstream:
		s.d.take(Push{ID: f.MessageID, Data: f.Data, Notification: f.Notification, CollapseKey: f.CollapseKey, Attempt: f.Attempt})
		s.acked(f.MessageID)
	case frame.TypePing:
		if !s.d.chance(s.d.opts.Faults.NoPong) {
			return s.send(ctx, frame.Frame{Type: frame.TypePong})
		}
	case frame.TypeDrain:
		s.drain = &restError{why: "the gateway drains", wait: time.Duration(f.RetryAfter) * time.Second}
	}
	return nil
}

// answered ends an upstream or a receipt. After a temporary nack the gateway stores
// nothing more of this connection.
func (s *socket) answered(f frame.Frame) error {
	if f.Type == frame.TypeNack && f.Temporary {
		return &restError{why: "nack " + f.Error, wait: time.Duration(f.RetryAfter) * time.Second}
	}
	if f.Original != "" {
		delete(s.told, f.Original+" "+f.Status)
		s.d.told(f.Original, f.Status, f.Type == frame.TypeAck)
		return nil
	}
	delete(s.write, f.MessageID)
	if f.Type == frame.TypeAck {
		s.d.sent(f.MessageID, false)
	} else {
		s.d.failed(f.MessageID, codeOf(f.Error, 0), f.Error+": "+f.Description)
	}
	return nil
}

// acked plans the ack of a downstream.
func (s *socket) acked(id string) {
	d := s.d
	if d.chance(d.opts.Faults.NoAck) {
		return
	}
	d.mu.Lock()
	at := time.Now().Add(d.opts.Faults.Slow.pick(d.rnd))
	d.mu.Unlock()
	i := len(s.acks)
	for i > 0 && at.Before(s.acks[i-1].at) {
		i--
	}
	s.acks = slices.Insert(s.acks, i, late{id, at})
}
