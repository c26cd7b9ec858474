package fcmv1

import (
	"context"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/fcmsim"
	"balhost/host/internal/outbox"
	"balhost/sdk/message"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a session between a real outbox and a simulated FCM. It lives in a bubble of
// testing/synctest, and connections are pipes.
type world struct {
	t       *testing.T
	server  *fcmsim.Server
	net     *pipes
	ledger  *ledger
	outbox  *outbox.Outbox
	session *Session
	stop    func()
}

// newWorld starts all parts. change may change the session's options; nil changes nothing.
func newWorld(t *testing.T, o fcmsim.Options, change func(*Options)) *world {
	t.Helper()
	w := &world{t: t, net: newPipes(), ledger: &ledger{changed: make(chan struct{}), pending: map[uint64]entry.Downstream{}, bodies: map[uint64]message.Checked{}}}
	o.Listener = w.net
	var err error
	if w.server, err = fcmsim.NewServer(o); err != nil {
		t.Fatal(err)
	}
	w.outbox = outbox.New(outbox.Options{Ledger: w.ledger})
	w.session = w.newSession("main", w.outbox, change)
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { w.outbox.Run(ctx) }) //nolint:errcheck // it never fails
	stop := start(t, w.session)
	w.stop = sync.OnceFunc(func() { // before the bubble ends
		stop()
		cancel()
		parts.Wait()
		w.server.Close()
	})
	return w
}

// newSession is another session of the world.
func (w *world) newSession(name string, from Outbox, change func(*Options)) *Session {
	o := Options{
		Name: name, SenderID: w.server.SenderID(), Credentials: w.server.ServiceAccount(), Endpoint: w.server.URL(),
		Dial: w.net.dial, Rate: 1e6, Outbox: from,
	}
	if change != nil {
		change(&o)
	}
	s := New(o)
	plain := new(http.Protocols)
	plain.SetUnencryptedHTTP2(true)
	for _, on := range s.lanes.all {
		on.RoundTripper.(*http.Transport).Protocols = plain
	}
	return s
}

// rule makes the server answer requests so.
func (w *world) rule(m fcmsim.Match, r fcmsim.Response) {
	w.t.Helper()
	if err := w.server.Answer(m, r); err != nil {
		w.t.Fatal(err)
	}
}

// ended waits until n downstreams have an outcome. It returns all of them.
func (w *world) ended(n int, within time.Duration) map[uint64]entry.End {
	w.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		ends := w.ledger.outcomes()
		if len(ends) >= n {
			return ends
		}
		if time.Now().After(end) {
			w.t.Fatalf("%d of %d have an outcome after %v; %.300s; %+v", len(ends), n, within, fmt.Sprintf("%+v", w.session.Status()), w.server.Counts())
		}
	}
}

// acked waits until all n are acked, and reports how many attempts all took.
func (w *world) acked(n int, within time.Duration) (attempts int) {
	w.t.Helper()
	for seq, e := range w.ended(n, within) {
		if e.Status != message.Acked {
			w.t.Errorf("%d ended %v: %s %s", seq, e.Status, e.Code, e.Description)
		}
		attempts += e.Attempts
	}
	return attempts
}

// once checks that each of n devices t:1 to t:n acted on its message once.
func (w *world) once(n int) {
	w.t.Helper()
	for seq := range n {
		d, ok := w.server.Device(fmt.Sprint("t:", seq+1))
		if !ok || d.Effects != 1 {
			w.t.Errorf("device %d acted on %d messages", seq+1, d.Effects)
		}
	}
}

// sends are the requests with a message, oldest first.
func (w *world) sends() (all []fcmsim.Line) {
	for _, l := range w.server.Transcript() {
		if strings.HasSuffix(l.Path, ":send") && l.Target != "balhost-check" {
			all = append(all, l)
		}
	}
	return all
}

// ledger holds what the outbox asks for, in memory.
type ledger struct {
	mu      sync.Mutex // guards what follows
	changed chan struct{}
	last    uint64
	pending map[uint64]entry.Downstream
	bodies  map[uint64]message.Checked
	ends    map[uint64]entry.End
}

// accept stores one for a token, or another target.
func (l *ledger) accept(d message.Downstream) (seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	d.MessageID = fmt.Sprint("d-", l.last)
	if d.To == (message.Target{}) {
		d.To = message.Token(fmt.Sprint("t:", l.last))
	}
	if d.Data == nil {
		d.Data = map[string]string{"a": "b"}
	}
	m, err := d.Checked()
	if err != nil {
		panic(err)
	}
	e := entry.Downstream{Seq: l.last, Session: fcmsim.DefaultSenderID, MessageID: d.MessageID, Group: hashOf(d.Group), Target: hashOf(fmt.Sprintf("%q", d.To))}
	if ttl := d.Options.TTL; ttl != nil {
		e.Expires = time.Now().Add(*ttl)
	}
	l.pending[l.last], l.bodies[l.last] = e, m
	close(l.changed)
	l.changed = make(chan struct{})
	return l.last
}

func (l *ledger) acceptAll(n int) {
	for range n {
		l.accept(message.Downstream{})
	}
}

func hashOf(s string) uint64 {
	if s == "" {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(s)) //nolint:errcheck // it never fails
	return h.Sum64()
}

func (l *ledger) outcomes() map[uint64]entry.End {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[uint64]entry.End{}
	for seq, e := range l.ends {
		all[seq] = e
	}
	return all
}

func (l *ledger) Downstreams(after uint64, max int) (all []entry.Downstream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for seq := after + 1; seq <= l.last && len(all) < max; seq++ {
		if d, ok := l.pending[seq]; ok {
			all = append(all, d)
		}
	}
	return all
}

// DownstreamSince: these tests ask for no ages.
func (l *ledger) DownstreamSince(uint64) time.Time { return time.Time{} }

func (l *ledger) DownstreamsChanged() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *ledger) Canceled() []uint64 { return nil }

func (l *ledger) Take(seq uint64) (message.Checked, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := l.bodies[seq]
	if !ok {
		return m, entry.ErrUnknown
	}
	return m, nil
}

func (l *ledger) Finish(e entry.End, done func(error)) {
	l.mu.Lock()
	if l.ends == nil {
		l.ends = map[uint64]entry.End{}
	}
	_, twice := l.ends[e.Seq]
	if twice {
		panic(fmt.Sprintf("%d ends twice", e.Seq)) // P4
	}
	l.ends[e.Seq] = e
	delete(l.pending, e.Seq)
	delete(l.bodies, e.Seq)
	l.mu.Unlock()
	done(nil)
}

func (l *ledger) Postpone(p entry.Postponement, done func(error)) {
	l.mu.Lock()
	d := l.pending[p.Seq]
	d.Due, d.Attempts = p.Due, p.Attempts
	l.pending[p.Seq] = d
	l.mu.Unlock()
	done(nil)
}

// pipes is a network in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.close(); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }
