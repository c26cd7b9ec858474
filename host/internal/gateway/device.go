package gateway

import (
	"cmp"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/frame"
	"balhost/host/internal/plain"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
)

const (
	helloLimit = 10 * time.Second // from the handshake to hello
	pingAfter  = 25 * time.Second // without a frame from us
	pongLimit  = 10 * time.Second // from a ping to the next frame from the device
	ackLimit   = 10 * time.Second // from a downstream to its ack
)

// device is one device that is connected: one WebSocket, from its handshake to its end.
// Two goroutines serve it. The one of run reads. It hands upstreams to the ledger, and
// takes acks of downstreams. The other one, of serve, is the only one that writes frames.
// The ledger's callbacks tell serve what may be acked (P1).
type device struct {
	s        *sockets
	socket   *socket
	from     string        // set by open
	route    int           // set by serve, before its first frame
	more     atomic.Bool   // the outbox may have more for it
	shown    shown         // the credentials of the handshake
	hint     chan struct{} // tells serve to look again
	gone     chan struct{} // closed when it has no route any more, and nothing in flight
	born     time.Time
	heard    atomic.Int64  // when the last whole frame came, in ns since born: a clock that is set is no silence
	junk     *rate.Limiter // of frames that bring nothing: more than a few are a flood
	line     entry.Line    // the ledger's: the order of its upstreams (P1)
	stored   func(error)   // d.decided, made once
	received []string      // of hello, until serve has settled them

	mu       sync.Mutex // guards what follows
	category string     // that its credential or hello says
	until    time.Time  // its credential's end; zero: it has none
	owed     []*owed    // upstreams and receipts without an answer, oldest first
	noRoom   bool       // one of them was not stored: no later one is (P1)
	window   int        // downstreams that it takes without an ack
	flights  []flight   // those, oldest first
	full     bool       // serve waits for an ack before it takes more
	deaf     bool       // upstreams are not admitted any more: it was told to go
	drain    time.Time  // if not zero, it is to leave, at the latest by then
	welcome  bool       // it is to be written
	ending   *ending    // why it ends: the first reason
}

// run is the device's whole life after the handshake.
func (d *device) run(ctx context.Context) {
	if e := d.open(ctx); e != nil {
		close(d.gone)
		d.s.left(d, e)
		d.socket.close(e)
		return
	}
	var writing sync.WaitGroup
	writing.Go(d.serve)
	d.end(d.listen(ctx))
	writing.Wait()
}

// open waits for hello, and finds out who the device is.
func (d *device) open(ctx context.Context) *ending {
	if err := d.socket.wire.SetReadDeadline(time.Now().Add(helloLimit)); err != nil {
		return &ending{reason: err.Error()}
	}
	f, err := d.hello()
	if err != nil || f.Type != frame.TypeHello {
		return d.s.notHello(err)
	}
	who, e := d.identify(ctx, &f)
	if e != nil {
		return e
	}
	d.from, d.category, d.until = who.from, who.category, who.until
	d.window = frame.ReceiveMax
	if f.ReceiveMax != 0 {
		d.window = min(max(f.ReceiveMax, 1), frame.MostReceive)
	}
	d.received = f.Received[:min(len(f.Received), frame.MostHad)]
	d.welcome = true
	d.shown.bearer = "" // a later hello has its own
	if e := d.s.registry.add(d); e != nil {
		return e
	}
	if err := d.socket.wire.SetReadDeadline(time.Time{}); err != nil {
		return &ending{reason: err.Error()}
	}
	return nil
}

// hello reads the first frame.
func (d *device) hello() (f frame.Frame, err error) {
	r, e := d.socket.await()
	if e != nil {
		return f, e
	}
	return d.socket.read(r)
}

// identify finds out who shows hello, or what came with the handshake.
func (d *device) identify(ctx context.Context, hello *frame.Frame) (identity, *ending) {
	shows := d.shown
	shows.bearer, shows.appCheck = cmp.Or(hello.Token, shows.bearer), cmp.Or(hello.AppCheck, shows.appCheck)
	who, no := d.s.desk.identify(ctx, shows, hello.From, hello.Category)
	if no != nil {
		return who, no.close()
	}
	if who.from == "" {
		return who, because(frame.CloseForbidden, "from is missing, and this credential does not say it")
	}
	return who, nil
}

// notHello is the end of a socket whose first frame is no hello.
func (s *sockets) notHello(err error) *ending {
	if s.registry.drains() {
		return because(websocket.StatusServiceRestart, restarts)
	}
	if e, ok := err.(*ending); ok {
		return e
	}
	if err != nil {
		return because(frame.CloseNoHello, clip("hello: "+err.Error()))
	}
	return because(frame.CloseNoHello, "the first frame has to be hello")
}

// listen reads frames until the socket ends.
func (d *device) listen(ctx context.Context) *ending {
	for {
		r, e := d.socket.await()
		if e == nil {
			e = d.heed(ctx, r)
		}
		if e != nil {
			return e
		}
	}
}

// heed reads a frame that has begun, and handles it. It fails when no more can be read.
func (d *device) heed(ctx context.Context, r io.Reader) *ending {
	f, err := d.socket.read(r)
	if e, ok := err.(*ending); ok {
		return e
	}
	d.heard.Store(int64(time.Since(d.born)))
	if d.over() { // what comes now is for the device's next connection
		return nil
	}
	if e := d.frame(ctx, &f, err); e != nil {
		d.end(e) // the device is read on, until it has closed too
	}
	return nil
}

// frame handles one frame. wrong is nil, or says which of its fields is of a wrong type.
func (d *device) frame(ctx context.Context, f *frame.Frame, wrong error) *ending {
	switch f.Type {
	case frame.TypeUpstream:
		return d.upstream(f, wrong)
	case frame.TypeReceipt:
		return d.receipt(f, wrong)
	case frame.TypeAck:
		if d.acked(f.MessageID) {
			return nil
		}
	case frame.TypeHello:
		return d.again(ctx, f)
	}
	return d.useless()
}

// useless counts a frame that brings nothing: a pong, an unknown type, an ack of
// something that is not in flight. A few of them do no harm.
func (d *device) useless() *ending {
	if d.junk.Allow() {
		return nil
	}
	return d.limited("too many frames that bring nothing")
}

// limited is the end of a device that does too much of something.
func (d *device) limited(by string) *ending {
	d.s.tally.limited(plain.Brief(d.from), by)
	return because(frame.CloseSlowDown, by)
}

// again handles a hello that is not the first: a new credential, before the old one ends.
func (d *device) again(ctx context.Context, f *frame.Frame) *ending {
	if e := d.useless(); e != nil {
		return e
	}
	if f.Token != "" {
		d.shown.authorization = "" // what the handshake had is the old one
	}
	who, e := d.identify(ctx, f)
	if e != nil {
		return e
	}
	if who.from != d.from {
		return because(frame.CloseForbidden, "a connection is one device's: from has changed")
	}
	d.mu.Lock()
	d.category, d.until = who.category, who.until
	d.welcome = true
	d.mu.Unlock()
	d.ring()
	return nil
}

// empty counts WebSocket frames that bring nothing, and says when there were too many. A
// stranger who floods before hello is no device that is to come again.
func (d *device) empty(n int) *ending {
	if d.junk.AllowN(time.Now(), n) {
		return nil
	}
	const flood = "too many WebSocket frames that bring nothing"
	if d.from == "" {
		d.s.tally.limited(d.shown.peer, flood)
		return because(websocket.StatusPolicyViolation, flood)
	}
	return d.limited(flood)
}

// end makes the device end, if it does not end yet.
func (d *device) end(e *ending) {
	d.mu.Lock()
	if d.ending == nil {
		d.ending = e
	}
	d.mu.Unlock()
	d.ring()
}

func (d *device) over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ending != nil
}

// ring makes serve look again.
func (d *device) ring() {
	select {
	case d.hint <- struct{}{}:
	default:
	}
}

// changed is called by the outbox.
func (d *device) changed() {
	d.more.Store(true)
	d.ring()
}

// leave makes the device go: it is told, what it is owed is written, and it ends by t at
// the latest.
func (d *device) leave(t time.Time) {
	d.mu.Lock()
	if d.drain.IsZero() {
		d.drain = t
	}
	d.mu.Unlock()
	d.ring()
}
