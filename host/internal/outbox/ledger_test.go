package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"

	"go.uber.org/goleak"
)

// How connections end.
var (
	cut     = flow.End{Code: "CONNECTION_LOST", Why: "EOF"}
	garbled = flow.End{Fault: flow.Bytes, Code: "STREAM_ERROR", Why: "invalid-xml"}
	policy  = flow.End{Fault: flow.Policy, Code: "STREAM_ERROR", Why: "policy-violation (quota exceeded)"}
)

// What a transport says.
var (
	acked        = flow.Answer{Verdict: flow.Acked}
	unavailable  = flow.Answer{Verdict: flow.Retry, Code: "SERVICE_UNAVAILABLE"}
	internal     = flow.Answer{Verdict: flow.Retry, Code: "INTERNAL_SERVER_ERROR"}
	draining     = flow.Answer{Verdict: flow.Resend, Code: "CONNECTION_DRAINING"}
	tooFast      = flow.Answer{Verdict: flow.SlowDown, Code: "DEVICE_MESSAGE_RATE_EXCEEDED"}
	unregistered = flow.Answer{Verdict: flow.Fail, Code: "DEVICE_UNREGISTERED", Gone: true}
	malformed    = flow.Answer{Verdict: flow.Fail, Code: "BAD_REGISTRATION"}
	stanza       = flow.Answer{Verdict: flow.Fail, Code: "STANZA_ERROR"}
	denied       = flow.Answer{Verdict: flow.Halt, Code: "AUTHENTICATION_FAILED"}
)

// saying is a with the peer's words.
func saying(a flow.Answer, words string) flow.Answer {
	a.Description = words
	return a
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ledger is a fake: it commits at once, unless told to hold.
type ledger struct {
	mu        sync.Mutex
	changed   chan struct{}
	last      uint64
	pending   map[uint64]entry.Downstream
	bodies    map[uint64]message.Checked
	since     map[uint64]time.Time
	ends      []entry.End
	postponed []postponed
	hold      bool // Finish commits at release
	refuse    int  // so many times Finish fails
	refused   int
	reads     int // of Take
	held      []func()
	out       map[uint64]bool // gone out; false: is being canceled
	canceled  []uint64
}

type postponed struct {
	seq      uint64
	due      time.Time
	attempts int
	code     string
}

func newLedger() *ledger {
	return &ledger{changed: make(chan struct{}), pending: map[uint64]entry.Downstream{}, bodies: map[uint64]message.Checked{}, since: map[uint64]time.Time{}, out: map[uint64]bool{}}
}

// accept stores one for token in group; ttl < 0 is none.
func (l *ledger) accept(token string, group uint64, ttl time.Duration) uint64 {
	return l.acceptTo(message.Token(token), group, ttl)
}

func (l *ledger) acceptTo(to message.Target, group uint64, ttl time.Duration) uint64 {
	return l.acceptIn(0, to, group, ttl)
}

// acceptIn stores one that does not go out for wait.
func (l *ledger) acceptIn(wait time.Duration, to message.Target, group uint64, ttl time.Duration) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	d := entry.Downstream{Seq: l.last, Session: "main", MessageID: fmt.Sprint("d-", l.last), Group: group, Target: entry.TargetHash("main", to)}
	m := message.Checked{To: to, MessageID: d.MessageID}
	if ttl >= 0 {
		m.Options.TTL = message.TTL(ttl)
		d.Expires = time.Now().Add(wait + ttl)
	}
	if wait > 0 {
		d.Due, d.Early = time.Now().Add(wait), true
	}
	l.pending[d.Seq], l.bodies[d.Seq], l.since[d.Seq] = d, m, time.Now()
	if d.Early {
		l.since[d.Seq] = d.Due
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return d.Seq
}

func (l *ledger) Downstreams(after uint64, max int) []entry.Downstream {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []entry.Downstream
	for seq := after + 1; seq <= l.last && len(out) < max; seq++ {
		if d, ok := l.pending[seq]; ok {
			out = append(out, d)
		}
	}
	return out
}

func (l *ledger) DownstreamsChanged() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *ledger) DownstreamSince(seq uint64) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, pending := l.pending[seq]; !pending {
		return time.Time{}
	}
	return l.since[seq]
}

func (l *ledger) Take(seq uint64) (message.Checked, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	m, ok := l.bodies[seq]
	if !ok {
		return m, entry.ErrUnknown
	}
	if out, known := l.out[seq]; known && !out {
		return message.Checked{}, entry.ErrCanceled
	}
	l.out[seq] = true
	return m, nil
}

// cancel reports whether it has won against Take. It commits at once, or at release.
func (l *ledger) cancel(seq uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.out[seq]; known || l.bodies[seq].MessageID == "" {
		return false
	}
	l.out[seq] = false
	commit := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, pending := l.pending[seq]; !pending {
			return // it has ended otherwise
		}
		delete(l.pending, seq)
		delete(l.bodies, seq)
		l.ends = append(l.ends, entry.End{Seq: seq, Status: message.Canceled})
		l.canceled = append(l.canceled, seq)
		close(l.changed)
		l.changed = make(chan struct{})
	}
	if l.hold {
		l.held = append(l.held, commit)
	} else {
		l.mu.Unlock()
		commit()
		l.mu.Lock()
	}
	return true
}

func (l *ledger) Canceled() (seqs []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seqs, l.canceled = l.canceled, nil
	return seqs
}

func (l *ledger) Finish(e entry.End, done func(error)) {
	l.mu.Lock()
	if l.refuse > 0 {
		l.refuse--
		l.refused++
		l.mu.Unlock()
		done(errors.New("not today"))
		return
	}
	commit := func() {
		l.mu.Lock()
		_, known := l.pending[e.Seq]
		delete(l.pending, e.Seq)
		delete(l.bodies, e.Seq)
		if known {
			l.ends = append(l.ends, e)
		}
		l.mu.Unlock()
		if known {
			done(nil)
		} else {
			done(entry.ErrUnknown)
		}
	}
	if l.hold {
		l.held = append(l.held, commit)
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	commit()
}

func (l *ledger) release() {
	l.mu.Lock()
	held := l.held
	l.held, l.hold = nil, false
	l.mu.Unlock()
	for _, commit := range held {
		commit()
	}
}

func (l *ledger) Postpone(p entry.Postponement, done func(error)) {
	seq, due, attempts, code := p.Seq, p.Due, p.Attempts, p.Tried.Code
	l.mu.Lock()
	l.postponed = append(l.postponed, postponed{seq, due, attempts, code})
	d := l.pending[seq]
	d.Due, d.Attempts, d.Early = due, attempts, false
	l.pending[seq] = d
	l.mu.Unlock()
	done(nil)
}

// end is the recorded outcome of seq; there must be exactly one (P4).
func (l *ledger) end(t *testing.T, seq uint64) entry.End {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.ends, func(e entry.End) bool { return e.Seq == seq })
	if i < 0 {
		t.Fatalf("P4: %d has no outcome; there are %+v", seq, l.ends)
	}
	for _, e := range l.ends[i+1:] {
		if e.Seq == seq {
			t.Fatalf("P4: %d has two outcomes: %+v", seq, l.ends)
		}
	}
	return l.ends[i]
}

// outcomes are all that were recorded, in order.
func (l *ledger) outcomes() []entry.End {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ends)
}

// simulate runs do with an outbox in a synctest bubble.
func simulate(t *testing.T, do func(t *testing.T, l *ledger, b *Outbox)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		b := New(Options{Ledger: l})
		stop := run(b)
		do(t, l, b)
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// run runs b in a bubble until stop is called.
func run(b *Outbox) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-ended
	}
}

// take takes on connection 1 and returns the seqs.
func take(b *Outbox, n int) []uint64 { return takeOn(b, 1, n) }

func takeOn(b *Outbox, conn, n int) []uint64 {
	synctest.Wait()
	seqs := []uint64{}
	for _, g := range b.Take("main", conn, n) {
		seqs = append(seqs, g.Seq)
	}
	return seqs
}

func expect(t *testing.T, what string, got []uint64, want ...uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// lines is a log that a test reads while others write to it.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}
