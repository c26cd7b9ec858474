package hosttest

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"balhost/host/internal/frame"

	"github.com/coder/websocket"
)

// line is one WebSocket of a device, from its welcome on. Its goroutine owns it.
type line struct {
	*device
	r        *rand.Rand
	ws       *websocket.Conn
	owed     []asked // without an answer, in the order in which they were sent
	inFlight []string
	window   int
	broken   bool // a temporary nack came: nothing later of this connection is stored
	lateness time.Duration
	acks     []late
}

// asked is one upstream or receipt that was sent.
type asked struct {
	up      *upstream // nil: a receipt
	receipt frame.Receipt
	known   bool
	forged  bool
}

// late is an ack to come.
type late struct {
	id string
	at time.Time
}

// connect makes a connection and waits for its end. Now and then the device forgets it
// before that, and goes on: then it has two.
func (d *device) connect(ctx context.Context, calm bool) {
	r, over, ended := rand.New(rand.NewPCG(d.rnd.Uint64(), 0)), ctx, make(chan struct{})
	if d.faulty(d.rnd, 40) {
		forgets, cancel := context.WithTimeout(ctx, upTo(d.rnd, 4*time.Second))
		defer cancel()
		over = forgets
	}
	d.forgotten.Go(func() {
		defer close(ended)
		d.connection(ctx, r, calm)
	})
	select {
	case <-ended:
	case <-over.Done():
	}
}

// connection is one WebSocket, from the handshake to its end.
func (d *device) connection(ctx context.Context, r *rand.Rand, calm bool) {
	life := upTo(r, 20*time.Second)
	if calm {
		life = time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, life+20*time.Second, errOver)
	defer cancel()
	client := d.client(r)
	defer client.CloseIdleConnections()
	ends := time.Hour
	stale := d.faulty(r, 8)
	if stale {
		ends = expired
	} else if d.faulty(r, 20) {
		ends = upTo(r, 20*time.Second)
	}
	token, header := d.token(ends), http.Header{}
	inHello := chance(r, 50)
	if !inHello {
		header.Set("Authorization", "Bearer "+token)
		token = ""
	}
	ws, _, err := websocket.Dial(ctx, "http://gateway.test"+frame.SocketPath, &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: header, Subprotocols: []string{frame.Subprotocol},
	})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(1 << 20)
	l := &line{device: d, r: r, ws: ws, window: 1 + r.IntN(6)}
	if d.faulty(r, 40) {
		l.lateness = 12 * time.Second // some acks come too late
	}
	frames := make(chan frame.Frame)
	var reading = make(chan struct{})
	go func() { //house:go ends with the socket, and connect waits for it
		defer close(reading)
		defer close(frames)
		l.read(ctx, frames)
	}()
	defer func() {
		cancel()
		ws.CloseNow()
		for range frames {
		}
		<-reading
	}()
	if hello, forged := l.hello(token); l.write(ctx, hello) {
		switch f, ok := <-frames; {
		case !ok:
		case f.Type != frame.TypeWelcome:
			d.w.books.wrong("%s is welcomed with %+v", d.from, f)
		case stale:
			d.w.books.wrong("P10: a credential of %s that has ended is welcomed", d.from)
		case forged:
			d.w.books.wrong("P10: %s is welcomed as %s", d.from, hello.From)
		default:
			seen.add("gateway: sockets", 1)
			l.serve(ctx, frames, life)
		}
	}
}

// hello says who the device is, and what it has.
func (l *line) hello(token string) (f frame.Frame, forged bool) {
	d, r := l.device, l.r
	d.mu.Lock()
	defer d.mu.Unlock()
	f = frame.Frame{Type: frame.TypeHello, Token: token, ReceiveMax: l.window}
	if chance(r, 50) {
		f.From = d.from
	}
	if forged = d.faulty(r, 5); forged {
		f.From = d.from + "x"
		return f, forged
	}
	if chance(r, 60) {
		for _, m := range d.arrivals[max(0, len(d.arrivals)-frame.MostHad):] {
			f.Received = append(f.Received, m.mid)
			d.has[m.mid] = true
		}
	}
	return f, false
}

func (l *line) read(ctx context.Context, frames chan<- frame.Frame) {
	for {
		_, text, err := l.ws.Read(ctx)
		if err != nil {
			return
		}
		var f frame.Frame
		if err := json.Unmarshal(text, &f); err != nil {
			l.w.books.wrong("%s is sent %q: %v", l.from, text, err)
			return
		}
		select {
		case frames <- f:
		case <-ctx.Done():
			return
		}
	}
}

func (l *line) write(ctx context.Context, f frame.Frame) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return l.ws.Write(ctx, websocket.MessageText, marshal(f)) == nil
}

// serve talks until either side ends it, or the device's patience does.
func (l *line) serve(ctx context.Context, frames <-chan frame.Frame, life time.Duration) {
	over := time.NewTimer(life)
	defer over.Stop()
	for {
		if !l.fill(ctx) {
			return
		}
		due := time.NewTimer(time.Hour)
		if len(l.acks) > 0 {
			due.Reset(time.Until(l.acks[0].at))
		}
		select {
		case f, ok := <-frames:
			due.Stop()
			if !ok || !l.handle(ctx, f) {
				return
			}
			continue
		case <-due.C:
		case <-l.kick:
		case <-over.C:
			if chance(l.r, 50) {
				l.ws.Close(websocket.StatusNormalClosure, "") //nolint:errcheck // it is over
			}
			due.Stop()
			return
		}
		due.Stop()
	}
}

// fill sends what may go.
func (l *line) fill(ctx context.Context) bool {
	for len(l.acks) > 0 && !time.Now().Before(l.acks[0].at) {
		id := l.acks[0].id
		l.acks = l.acks[1:]
		l.inFlight = slices.DeleteFunc(l.inFlight, func(other string) bool { return other == id }) // from now on it may send another
		if !l.write(ctx, frame.Frame{Type: frame.TypeAck, MessageID: id}) {
			return false
		}
	}
	l.mu.Lock()
	queue, receipts := slices.Clone(l.queue), slices.Clone(l.receipts)
	l.mu.Unlock()
	if len(queue) > 0 && len(l.owed) < frame.MaxUnacked && l.faulty(l.r, 3) {
		if !l.send(ctx, asked{forged: true, up: &upstream{message: frame.Message{MessageID: "forged", From: l.from + "x", Category: "com.alpha"}}}) {
			return false
		}
	}
	for _, u := range queue {
		if len(l.owed) >= frame.MaxUnacked || slices.ContainsFunc(l.owed, func(a asked) bool { return a.up == u }) {
			continue
		}
		a := asked{up: u, known: l.w.books.heard(u)}
		if !l.send(ctx, a) || len(l.owed) < frame.MaxUnacked && l.faulty(l.r, 10) && !l.send(ctx, a) {
			return false
		}
	}
	for _, r := range receipts {
		if len(l.owed) < frame.MaxUnacked && !slices.ContainsFunc(l.owed, func(a asked) bool { return a.receipt == r }) && !l.send(ctx, asked{receipt: r}) {
			return false
		}
	}
	return true
}

func (l *line) send(ctx context.Context, a asked) bool {
	f := frame.Frame{Type: frame.TypeReceipt, Original: a.receipt.OriginalMessageID, Status: a.receipt.Status, Timestamp: a.receipt.Timestamp}
	if a.up != nil {
		m := a.up.message
		f = frame.Frame{Type: frame.TypeUpstream, MessageID: m.MessageID, From: m.From, Category: m.Category, Data: m.Data}
	}
	l.owed = append(l.owed, a)
	return l.write(ctx, f)
}

// handle does what a frame asks for.
func (l *line) handle(ctx context.Context, f frame.Frame) bool {
	switch f.Type {
	case frame.TypeAck, frame.TypeNack:
		return l.answered(f)
	case frame.TypeDownstream:
		l.takes(f)
	case frame.TypePing:
		return l.faulty(l.r, 10) || l.write(ctx, frame.Frame{Type: frame.TypePong})
	}
	return true
}

// answered checks an answer: it is the one to the oldest that was sent here (P1).
func (l *line) answered(f frame.Frame) bool {
	b := l.w.books
	if len(l.owed) == 0 {
		b.wrong("P1: %s gets an answer on a connection that has asked nothing: %+v", l.from, f)
		return false
	}
	a := l.owed[0]
	l.owed = l.owed[1:]
	ok := f.Original == a.receipt.OriginalMessageID && f.Status == a.receipt.Status
	if a.up != nil {
		ok = f.MessageID == a.up.message.MessageID && f.Original == ""
	}
	switch {
	case !ok:
		b.wrong("P1: %s gets %+v, and the oldest that is not answered on this connection is %+v", l.from, f, a)
		return false
	case f.Temporary:
		l.broken = true
		seen.add("gateway: temporary nacks", 1)
	case l.broken && f.Type == frame.TypeAck:
		b.wrong("P1: after a temporary nack %s gets %+v", l.from, f)
	case a.forged && f.Type == frame.TypeAck:
		b.wrong("P10: %s sends as %s", l.from, a.up.message.From)
	case a.forged:
		seen.add("gateway: forged, refused", 1)
	case a.up == nil:
		l.proved(a.receipt, f.Type == frame.TypeAck, f.Error)
	case f.Type == frame.TypeNack:
		b.wrong("P1: %s of %s is refused: %+v", a.up.id, l.from, f)
	default:
		l.stored(a.up, true, a.known) // an ack does not say whether it is stored anew
	}
	return true
}

// takes handles a downstream, and plans its ack.
func (l *line) takes(f frame.Frame) {
	l.mu.Lock()
	_, again := l.has[f.MessageID]
	if !again {
		l.has[f.MessageID] = false
	}
	l.arrivals = append(l.arrivals, arrival{f.MessageID, again})
	l.mu.Unlock()
	seen.add("gateway: downstreams", 1)
	if slices.Contains(l.inFlight, f.MessageID) {
		l.w.books.wrong("P3: %s gets %s, which it has not acked yet on this connection", l.from, f.MessageID)
	}
	if l.inFlight = append(l.inFlight, f.MessageID); len(l.inFlight) > l.window {
		l.w.books.wrong("P3: %s has %d downstreams that it has not acked, and its receive_max is %d", l.from, len(l.inFlight), l.window)
	}
	if l.faulty(l.r, 5) {
		return // never
	}
	at := time.Now()
	if l.lateness > 0 && !l.w.calm.Load() {
		at = at.Add(upTo(l.r, l.lateness))
	}
	i := len(l.acks)
	for i > 0 && at.Before(l.acks[i-1].at) {
		i--
	}
	l.acks = slices.Insert(l.acks, i, late{f.MessageID, at})
}
