package ccs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a session with a simulated CCS on one side and a fake ledger and
// outbox on the other, in a synctest bubble: time passes at once.
type world struct {
	t      *testing.T
	srv    *ccssim.Server
	inbox  *inbox
	outbox *outbox
	log    *logs
	s      *Session
	stop   context.CancelFunc
	ended  chan error
}

// simulate runs do in a bubble with a session that has logged in, over
// net.Pipe, to a server made from so. change adjusts the session's options.
func simulate(t *testing.T, so ccssim.Options, change func(*Options), do func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := start(t, so, change)
		w.until("login", func(c ccssim.Counts) bool { return c.Logins > 0 })
		do(w)
		w.finish()
	})
}

// start starts both sides, and waits for nothing.
func start(t *testing.T, so ccssim.Options, change func(*Options)) *world {
	t.Helper()
	srv, err := ccssim.New(so)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, srv: srv, inbox: newInbox(), outbox: newOutbox(), log: &logs{}, ended: make(chan error, 1)}
	o := Options{
		Name: "main", Address: "ccs.test:5235", SenderID: srv.SenderID(), Key: srv.Key(),
		Inbox: w.inbox, Outbox: w.outbox,
		Dial: func(context.Context, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			srv.ServeConn(theirs)
			return ours, nil
		},
		Log: hclog.New(&hclog.LoggerOptions{Output: w.log, Level: hclog.Trace, DisableTime: true}),
	}
	if change != nil {
		change(&o)
	}
	w.s = New(o)
	var ctx context.Context
	ctx, w.stop = context.WithCancel(t.Context())
	go func() { w.ended <- w.s.Run(ctx) }()
	return w
}

// finish stops both sides; the session must end well.
func (w *world) finish() {
	w.t.Helper()
	w.stop()
	if err := <-w.ended; err != nil {
		w.t.Errorf("Run: %v", err)
	}
	w.srv.Close()
}

// until waits for the server's counts, an hour of the bubble's time at most.
func (w *world) until(what string, ok func(ccssim.Counts) bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Hour)
	defer cancel()
	if err := w.srv.Await(ctx, ok); err != nil {
		w.t.Fatalf("no %s: %v\ncounts %+v\nstatus %+v\n%s", what, err, w.srv.Counts(), w.s.Status(), w.log)
	}
	synctest.Wait()
}

// legal checks what must hold at the end of every test.
func (w *world) legal() {
	w.t.Helper()
	c := w.srv.Counts()
	if c.WrongAcks > 0 || c.BadAcks > 0 {
		w.t.Errorf("P1: %d acks on the wrong connection, %d malformed", c.WrongAcks, c.BadAcks)
	}
	if c.OverLimit > 0 {
		w.t.Errorf("P3: %d downstreams sent past the limit", c.OverLimit)
	}
}

// inbox is a ledger that stores at once, unless told otherwise.
type inbox struct {
	mu      sync.Mutex
	hold    bool // callbacks wait for release
	err     error
	refuse  func(entry.Inbound) error // in place of err
	seen    []entry.Inbound
	stored  []string // message ids, each time
	waiting []func()
	room    chan struct{}
}

func newInbox() *inbox { return &inbox{room: make(chan struct{})} }

func (b *inbox) Accept(in entry.Inbound, done func(error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, in)
	err := b.err
	if b.refuse != nil {
		err = b.refuse(in)
	}
	if in.Line != nil && in.Line.Broken {
		err = entry.ErrFull
	} else if in.Line != nil {
		in.Line.Broken = errors.Is(err, entry.ErrFull)
	}
	if err == nil {
		id := in.CCSMessageID
		if in.Upstream != nil {
			id = in.Upstream.MessageID
		}
		b.stored = append(b.stored, id)
	}
	if b.hold {
		b.waiting = append(b.waiting, func() { done(err) })
		return
	}
	done(err)
}

func (b *inbox) Room() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.room
}

// set changes the inbox under its lock.
func (b *inbox) set(change func(*inbox)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

// release calls back what was held, in order.
func (b *inbox) release() {
	b.mu.Lock()
	waiting := b.waiting
	b.waiting, b.hold = nil, false
	b.mu.Unlock()
	for _, f := range waiting {
		f()
	}
}

func (b *inbox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.seen)
}

// outbox is a queue of downstreams by seq.
type outbox struct {
	mu       sync.Mutex
	changed  chan struct{}
	ready    []entry.Outgoing // by seq
	taken    map[uint64]entry.Outgoing
	acked    []uint64
	tokens   map[uint64]string
	nacked   map[uint64]string       // code
	refused  map[uint64]flow.Verdict // of stanzas
	returned []uint64
	ends     []flow.End
	words    []string               // CCS's, of nacks and refusals
	answers  map[uint64]flow.Answer // the last of each
}

func newOutbox() *outbox {
	return &outbox{changed: make(chan struct{}), taken: map[uint64]entry.Outgoing{},
		tokens: map[uint64]string{}, nacked: map[uint64]string{}, refused: map[uint64]flow.Verdict{}, answers: map[uint64]flow.Answer{}}
}

// send queues n downstreams to token, with ids made of their seqs.
func (b *outbox) send(first, n int, token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for seq := first; seq < first+n; seq++ {
		b.ready = append(b.ready, entry.Outgoing{Seq: uint64(seq), Message: message.Checked{
			To: message.Token(token), MessageID: fmt.Sprintf("d-%d", seq),
			Data: json.RawMessage(fmt.Sprintf(`{"n":"%d"}`, seq)),
		}})
	}
	b.signal()
}

func (b *outbox) signal() {
	slices.SortFunc(b.ready, func(a, b entry.Outgoing) int { return cmp.Compare(a.Seq, b.Seq) })
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *outbox) Changed(string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

func (b *outbox) Take(_ string, _, n int) []entry.Outgoing {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.ready))
	out := slices.Clone(b.ready[:n])
	b.ready = b.ready[n:]
	for _, g := range out {
		if _, twice := b.taken[g.Seq]; twice {
			panic("a downstream is with two connections")
		}
		b.taken[g.Seq] = g
	}
	return out
}

func (b *outbox) Answered(_ string, seq uint64, a flow.Answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case a.Verdict == flow.Acked:
		b.acked = append(b.acked, seq)
		if a.NewToken != "" {
			b.tokens[seq] = a.NewToken
		}
	case a.Code == CodeStanza:
		b.refused[seq] = a.Verdict
	default:
		b.nacked[seq] = a.Code
	}
	b.words = append(b.words, a.Code, a.Description)
	b.answers[seq] = a
	if a.Verdict == flow.Resend {
		b.again(seq)
		return
	}
	delete(b.taken, seq)
}

func (b *outbox) Return(_ string, seqs []uint64, end flow.End) (blamed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.returned = append(b.returned, seqs...)
	b.ends = append(b.ends, end)
	b.again(seqs...)
	return end.Fault == flow.Bytes || end.Fault == flow.Policy
}

func (b *outbox) again(seqs ...uint64) {
	for _, seq := range seqs {
		b.ready = append(b.ready, b.taken[seq])
		delete(b.taken, seq)
	}
	b.signal()
}

// look reads the outbox under its lock.
func (b *outbox) look(at func(*outbox)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at(b)
}

// logs is what was logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
