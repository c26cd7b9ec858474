package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/host/internal/frame"
	"balhost/sdk/message"

	"github.com/coder/websocket"
	"github.com/hashicorp/go-hclog"
)

// desktop is a desk for tests. A token is its device's from; "any" lets from be free. Others
// begin with "bad".
type desktop struct {
	mu    sync.Mutex
	until time.Time // the end of all credentials
	room  int       // messages that a device may send; 0: any number
	asked []string  // tokens
}

func (k *desktop) identify(_ context.Context, s shown, from, category string) (identity, *refusal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, s.bearer)
	switch {
	case s.bearer == "" || strings.HasPrefix(s.bearer, "bad"):
		return identity{}, &refusal{status: http.StatusUnauthorized, description: "no credential that fits"}
	case s.bearer == "any":
		return identity{from: from, category: category, until: k.until}, nil
	case from != "" && from != s.bearer:
		return identity{}, &refusal{status: http.StatusForbidden, description: "from is another device's"}
	}
	return identity{from: s.bearer, category: category, until: k.until}, nil
}

func (k *desktop) upstream(who identity, f *frame.Frame, wrong error) (entry.Inbound, *refusal) {
	if wrong != nil {
		return entry.Inbound{}, &refusal{status: http.StatusBadRequest, code: "INVALID", description: wrong.Error()}
	}
	return entry.Inbound{Upstream: &message.Upstream{From: who.from, Category: who.category, MessageID: f.MessageID, Data: f.Data}}, nil
}

func (k *desktop) receipt(who identity, f *frame.Frame, wrong error) (entry.Inbound, *refusal) {
	return entry.Inbound{FromDevice: true, Receipt: &message.Receipt{Device: who.from, OriginalMessageID: f.Original, Status: f.Status}}, wrongField(wrong)
}

func wrongField(err error) *refusal {
	if err == nil {
		return nil
	}
	return &refusal{status: http.StatusBadRequest, code: "INVALID", description: err.Error()}
}

func (k *desktop) allow(string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.room--
	return k.room != 0
}

// books is a ledger and an outbox for tests. It commits when it is told to, or at once, and
// notes what must never be: two routes for one device, a downstream that is out twice, an
// answer for one that is not out.
type books struct {
	mu      sync.Mutex
	hold    bool // commits wait for commit
	full    bool // no room
	asked   []stored1
	stored  []string       // ids of upstreams, "status of id" of receipts
	unsent  bool           // receipts are of nothing that was sent
	hints   map[int]func() // by route
	waiting []entry.Outgoing
	out     map[uint64]int // route by seq
	routes  map[int][]message.Target
	next    int
	ended   []string
	wrong   []string
}

type stored1 struct {
	in   entry.Inbound
	done func(error)
}

func newBooks() *books {
	return &books{hints: map[int]func(){}, out: map[uint64]int{}, routes: map[int][]message.Target{}}
}

func (b *books) Accept(in entry.Inbound, done func(error)) {
	b.mu.Lock()
	b.asked = append(b.asked, stored1{in, done})
	hold := b.hold
	b.mu.Unlock()
	if !hold {
		b.commit()
	}
}

// commit decides all that was asked.
func (b *books) commit() {
	b.mu.Lock()
	all := b.asked
	b.asked = nil
	errs := make([]error, len(all))
	for i, a := range all {
		switch in := a.in; {
		case b.full || in.Line != nil && in.Line.Broken:
			errs[i] = entry.ErrFull
			if in.Line != nil {
				in.Line.Broken = true
			}
		case in.Receipt != nil && b.unsent:
			errs[i] = entry.ErrNotSent
		case in.Receipt != nil:
			b.stored = append(b.stored, in.Receipt.Status+" of "+in.Receipt.OriginalMessageID)
		case string(in.Upstream.Data) == `"big"`:
			errs[i] = entry.ErrTooLarge
		default:
			for _, id := range b.stored {
				*in.Again = *in.Again || id == in.Upstream.MessageID
			}
			if !*in.Again {
				b.stored = append(b.stored, in.Upstream.MessageID)
			}
		}
	}
	b.mu.Unlock()
	for i, a := range all {
		a.done(errs[i])
	}
}

func (b *books) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func (b *books) Attach(_ string, changed func(), to ...message.Target) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, other := range b.routes {
		if other[0] == to[0] {
			b.wrong = append(b.wrong, fmt.Sprintf("two routes of %v", to[0]))
		}
	}
	b.next++
	b.routes[b.next], b.hints[b.next] = to, changed
	return b.next
}

func (b *books) Detach(_ string, route int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for seq, r := range b.out {
		if r == route {
			b.wrong = append(b.wrong, fmt.Sprintf("%d is in flight on a route that is detached", seq))
		}
	}
	delete(b.routes, route)
	delete(b.hints, route)
}

func (b *books) TakeAt(_ string, route, n int) (taken []entry.Outgoing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var kept []entry.Outgoing
	for _, g := range b.waiting {
		if len(taken) == n || g.Message.To != b.routes[route][0] && g.Message.To != b.routes[route][1] {
			kept = append(kept, g)
			continue
		}
		if _, ok := b.out[g.Seq]; ok {
			b.wrong = append(b.wrong, fmt.Sprintf("%d is out twice", g.Seq))
		}
		b.out[g.Seq] = route
		taken = append(taken, g)
	}
	b.waiting = kept
	return taken
}

func (b *books) Pending(_ string, route int, id string) (m message.Checked, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.waiting {
		if g.Message.MessageID == id {
			return g.Message, true
		}
	}
	return m, false
}

func (b *books) Has(_ string, route int, id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, g := range b.waiting {
		if g.Message.MessageID == id {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			b.ended = append(b.ended, "has "+id)
			return true
		}
	}
	return false
}

func (b *books) end(seq uint64, what string) {
	if _, ok := b.out[seq]; !ok {
		b.wrong = append(b.wrong, fmt.Sprintf("%d %s, and is not out", seq, what))
	}
	delete(b.out, seq)
	b.ended = append(b.ended, fmt.Sprint(seq, " ", what))
}

func (b *books) Answered(_ string, seq uint64, a flow.Answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end(seq, a.Verdict.String())
}

func (b *books) Return(_ string, seqs []uint64, end flow.End) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, seq := range seqs {
		b.end(seq, "returned: "+end.Fault.String())
	}
	return false
}

// send makes downstreams wait, with these seqs; the id of 1 is d-1.
func (b *books) send(to string, seqs ...uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, seq := range seqs {
		b.waiting = append(b.waiting, entry.Outgoing{Seq: seq, Attempt: 1, Message: message.Checked{
			To: message.Token(to), MessageID: fmt.Sprint("d-", seq), Data: []byte(`{"n":"1"}`), Options: message.Options{ReceiptRequested: seq >= 100}}})
	}
	for _, changed := range b.hints {
		changed()
	}
}

// room is a gateway's sockets on a network in memory. All runs in a synctest bubble.
type room struct {
	t     *testing.T
	s     *sockets
	books *books
	desk  *desktop
	l     *memory
	ctx   context.Context
}

// inRoom runs f in a bubble, with sockets that drain at its end.
func inRoom(t *testing.T, f func(*testing.T, *room)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, desk := newBooks(), &desktop{}
		r := &room{t: t, books: b, desk: desk, l: &memory{conns: make(chan net.Conn), shut: make(chan struct{})}, ctx: t.Context()}
		r.s = &sockets{o: &Options{SenderID: "1", Inbox: b, Outbox: b, Log: hclog.NewNullLogger(), CORSOrigins: []string{"https://app.example"}},
			desk: desk, tally: &tally{}}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			shows := shown{bearer: strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer ")}
			if no := r.s.accept(context.Background(), w, q, shows); no != nil {
				http.Error(w, no.description, no.status)
			}
		})}
		var serving sync.WaitGroup
		serving.Go(func() { server.Serve(r.l) })
		defer serving.Wait()
		defer server.Close()
		defer r.s.registry.drain(time.Second)
		f(t, r)
		r.s.registry.drain(time.Second)
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.wrong) > 0 || len(b.out) > 0 || len(b.routes) > 0 {
			t.Errorf("books: wrong %q, out %v, routes %v", b.wrong, b.out, b.routes)
		}
		if n := r.s.tally.inFlight.Load(); n != 0 {
			t.Errorf("%d count as in flight", n)
		}
	})
}

// memory is a listener in memory.
type memory struct {
	conns chan net.Conn
	shut  chan struct{}
	once  sync.Once
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.shut:
		return nil, net.ErrClosed
	}
}
func (m *memory) Close() error   { m.once.Do(func() { close(m.shut) }); return nil }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (m *memory) dial() net.Conn {
	near, far := net.Pipe()
	m.conns <- far
	return near
}

// phone is a device of the tests.
type phone struct {
	t    *testing.T
	ws   *websocket.Conn
	conn net.Conn
}

// dial makes the handshake. The keys and values of headers alternate.
func (r *room) dial(headers ...string) (*phone, *http.Response, error) {
	p := &phone{t: r.t}
	h, protocols := http.Header{}, frame.Subprotocol
	for i := 0; i+1 < len(headers); i += 2 {
		if h.Set(headers[i], headers[i+1]); headers[i] == "Sec-WebSocket-Protocol" {
			protocols = headers[i+1]
		}
	}
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		p.conn = r.l.dial()
		return p.conn, nil
	}}
	defer transport.CloseIdleConnections()
	ws, answer, err := websocket.Dial(context.Background(), "ws://gateway/v1/ws", &websocket.DialOptions{
		HTTPHeader: h, HTTPClient: &http.Client{Transport: transport}, Subprotocols: strings.Split(protocols, ", ")})
	if ws != nil {
		ws.SetReadLimit(1 << 20)
	}
	p.ws = ws
	return p, answer, err
}

// connect makes a device that has been welcomed.
func (r *room) connect(from string) *phone {
	r.t.Helper()
	p, _, err := r.dial()
	if err != nil {
		r.t.Fatal(err)
	}
	p.send(frame.Frame{Type: frame.TypeHello, Token: "any", From: from})
	p.expect(frame.TypeWelcome)
	return p
}

func (p *phone) send(f frame.Frame) { p.text(string(f.Append(nil))) }

func (p *phone) text(s string) {
	p.ws.Write(context.Background(), websocket.MessageText, []byte(s))
}

func (p *phone) upstream(ids ...string) {
	for _, id := range ids {
		p.send(frame.Frame{Type: frame.TypeUpstream, MessageID: id, Data: []byte("{}")})
	}
}

func (p *phone) ack(ids ...string) {
	for _, id := range ids {
		p.send(frame.Frame{Type: frame.TypeAck, MessageID: id})
	}
}

func (p *phone) read() (f frame.Frame, err error) {
	_, b, err := p.ws.Read(context.Background())
	if err != nil {
		return f, err
	}
	return frame.DecodeFrame(b)
}

// expect reads frames of this type with these ids, and returns the last.
func (p *phone) expect(want frame.Type, ids ...string) (f frame.Frame) {
	p.t.Helper()
	for i := range max(1, len(ids)) {
		var err error
		if f, err = p.read(); err != nil || f.Type != want || i < len(ids) && f.MessageID != ids[i] {
			p.t.Fatalf("read %+v, %v; want %s %v", f, err, want, ids)
		}
	}
	return f
}

// closed reads until the close, and fails if its code is another.
func (p *phone) closed(want websocket.StatusCode) {
	p.t.Helper()
	for {
		_, err := p.read()
		if err == nil {
			continue
		}
		ce := websocket.CloseError{}
		if !errors.As(err, &ce) || ce.Code != want {
			p.t.Errorf("closed with %v, want %d", err, want)
		}
		return
	}
}

func websocketCode(n int) websocket.StatusCode { return websocket.StatusCode(n) }

// tape is what a phone that goes on by itself has heard. It answers pings, and acks
// downstreams if acks is true.
type tape struct {
	mu     sync.Mutex
	frames []frame.Frame
	code   websocket.StatusCode // of the close; 0: it is open
	at     time.Time            // when it was closed
	done   chan struct{}
}

func (p *phone) live(acks bool) *tape {
	t := &tape{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		for {
			f, err := p.read()
			t.mu.Lock()
			if err != nil {
				t.code, t.at = websocket.CloseStatus(err), time.Now()
				t.mu.Unlock()
				return
			}
			t.frames = append(t.frames, f)
			t.mu.Unlock()
			switch {
			case f.Type == frame.TypePing:
				p.send(frame.Frame{Type: frame.TypePong})
			case f.Type == frame.TypeDownstream && acks:
				p.ack(f.MessageID)
			}
		}
	}()
	return t
}

// heard is the types of what came, each with its id.
func (t *tape) heard() (all []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.frames {
		all = append(all, strings.TrimSuffix(string(f.Type)+" "+f.MessageID, " "))
	}
	return all
}

// raw writes empty WebSocket frames with these first bytes, n times, masked with zeros. It
// stops when the connection ends.
func (p *phone) raw(n int, first ...byte) {
	for range n {
		for _, b := range first {
			if _, err := p.conn.Write([]byte{b, 0x80, 0, 0, 0, 0}); err != nil {
				return
			}
		}
	}
}
