// Package outbox knows the downstreams that wait to go and picks which may go
// next: due, first of their group, not slowed down, oldest first. It keeps P2
// (only what the ledger holds goes out), P4 (each ends in one recorded
// outcome), P5 for groups, and the outbox's half of P3: what a connection left
// unanswered goes again with the same id. It holds no message (P0): its index
// is rebuilt from the ledger at every start.
//
// [Outbox.Run] is its only goroutine: it reads what is new, and wakes what
// fell due or expired. Transports call the other methods from theirs, and the
// ledger calls back from its own; mu guards all that they share. Start at
// [Outbox.Take].
package outbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// Ledger is what the outbox needs of the ledger. A done function may be called
// from any goroutine, after the commit.
type Ledger interface {
	Downstreams(after uint64, max int) []entry.Downstream
	DownstreamsChanged() <-chan struct{}
	Downstream(seq uint64) (message.Checked, error)
	Finish(e entry.End, done func(error))
	Postpone(seq uint64, due time.Time, attempts int, code string, done func(error))
}

// Options are the parts that an Outbox works with; only Ledger is needed.
type Options struct {
	Ledger   Ledger
	Attempts int                  // nacks that count until a downstream fails; 0 is 15
	Retry    backoff.Policy       // wait after a nack that time heals; zero is 1 s to 10 min
	Slow     backoff.Policy       // rest of a target that is sent too much; zero is 1 min to 15 min
	Halt     time.Duration        // rest of a whole session after an account error; 0 is 5 min
	Senders  func() entry.Senders // their names, for log lines; nil: the lines show ids
	Log      hclog.Logger
	Metrics  prometheus.Registerer
}

// lastSecond is waited out before a downstream expires, see [flow.Expired]: a
// TTL of zero, "now or never", is tried if a connection has room within it.
const lastSecond = time.Second

// Outbox is the one outbox of a host. Its methods may be called from any goroutine.
type Outbox struct {
	o       Options
	log     hclog.Logger
	metrics *metrics
	wake    chan struct{} // hint for Run: the next due time may have changed
	asking  chan struct{} // Run takes from it whenever it comes by
	over    chan struct{} // closed when Run has ended

	mu       sync.Mutex // guards what follows and everything reachable from it
	rnd      *rand.Rand
	cursor   uint64 // the highest seq read
	items    map[uint64]*item
	sessions map[string]*session // by sender id, as every session here
	expiring heap                // by the time they expire; not those in flight
	reports  map[string]*report  // by code
	refused  []refusedEnd        // that the ledger did not take
}

// New makes an Outbox; Run starts it.
func New(o Options) *Outbox {
	if o.Attempts == 0 {
		o.Attempts = 15
	}
	if o.Retry == (backoff.Policy{}) {
		o.Retry = backoff.Policy{Min: time.Second, Max: 10 * time.Minute}
	}
	if o.Slow == (backoff.Policy{}) {
		o.Slow = backoff.Policy{Min: time.Minute, Max: 15 * time.Minute}
	}
	if o.Halt == 0 {
		o.Halt = 5 * time.Minute
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	b := &Outbox{
		o:        o,
		log:      o.Log,
		wake:     make(chan struct{}, 1),
		asking:   make(chan struct{}),
		over:     make(chan struct{}),
		rnd:      rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		items:    map[uint64]*item{},
		sessions: map[string]*session{},
		expiring: heap{less: endsFirst, index: expiryIndex},
		reports:  map[string]*report{},
	}
	b.metrics = newMetrics(o.Metrics, b)
	return b
}

// Run keeps the index in step with the ledger and the clock until ctx ends.
func (b *Outbox) Run(ctx context.Context) error {
	defer close(b.over)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	b.load()
	if n := b.late(time.Now()); n > 0 { // by the wall clock, which may be wrong after a start of the machine
		b.log.Warn("downstreams have expired while no host ran", "count", n)
	}
	for {
		more := b.o.Ledger.DownstreamsChanged() // take the hint before looking, so that none is lost
		b.load()
		next := b.advance(time.Now())
		timer.Reset(time.Until(next))
		select {
		case <-more:
		case <-b.wake:
		case <-b.asking:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Alive returns when Run has come by: at once, unless it stands still. It may be
// called before Run and after its end.
func (b *Outbox) Alive() {
	select {
	case b.asking <- struct{}{}:
	case <-b.over:
	}
}

// late counts what has expired and is still here.
func (b *Outbox) late(now time.Time) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, it := range b.expiring.items {
		if flow.Expired(now, it.Expires) {
			n++
		}
	}
	return n
}

// load takes over what the ledger accepted since the last time.
func (b *Outbox) load() {
	const batch = 1000
	for {
		b.mu.Lock()
		after := b.cursor
		b.mu.Unlock()
		found := b.o.Ledger.Downstreams(after, batch)
		now := time.Now()
		b.mu.Lock()
		for _, d := range found {
			b.cursor = d.Seq
			b.add(d, now)
		}
		b.mu.Unlock()
		if len(found) < batch {
			return
		}
		select {
		case <-b.asking: // after a start there may be very many
		default:
		}
	}
}

// advance ends what has expired, makes ready what fell due, and says when to
// look again.
func (b *Outbox) advance(now time.Time) time.Time {
	next := now.Add(time.Hour)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	var ends []entry.End
	b.mu.Lock()
	for it := b.expiring.top(); it != nil; it = b.expiring.top() {
		if !flow.Expired(now, it.Expires) {
			sooner(it.Expires.Add(lastSecond))
			break
		}
		ends = append(ends, b.end(it, message.Expired, "", ""))
	}
	for _, s := range b.sessions {
		for it := s.later.top(); it != nil; it = s.later.top() {
			if it.when.After(now) {
				sooner(it.when)
				break
			}
			b.place(it, now)
		}
		s.resume(now)
		if !s.halted.IsZero() {
			sooner(s.halted)
		}
		if again := s.lapse(now); !again.IsZero() {
			sooner(again)
		}
		s.forget(now, b.o.Slow.Max)
	}
	again := b.untold(now, sooner)
	said := b.reported(now, sooner)
	b.mu.Unlock()
	for _, say := range said {
		say()
	}
	for _, e := range ends {
		b.finish(e)
	}
	for _, e := range again {
		b.record(e)
	}
	return next
}

// Changed is closed when Take may find more for session; fetch it before calling Take.
func (b *Outbox) Changed(session string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session(session).hint()
}

// mostRead is how many bodies one Take reads at most: what turns out to rest is
// passed over, and the caller, a connection's writer, has acks to write too.
const mostRead = 256

// Take hands out up to n downstreams of session that may go now, oldest first,
// to one of its connections; conn is that one's number. Each is the caller's
// until it is answered (Acked, Nacked, Refused) or given back (Return).
func (b *Outbox) Take(session string, conn, n int) []entry.Outgoing {
	var out []entry.Outgoing
	for read := 0; len(out) < n; {
		picked := b.pick(session, conn, n-len(out), read >= mostRead)
		if len(picked) == 0 {
			break
		}
		read += len(picked)
		for _, it := range picked { // reading may go to the disk: not under mu
			m, err := b.o.Ledger.Downstream(it.Seq)
			if g, ok := b.checked(it, m, err); ok {
				out = append(out, g)
			}
		}
	}
	return out
}

// pick takes up to n that are ready; enough: none, but a hint to come again.
func (b *Outbox) pick(session string, conn, n int, enough bool) []*item {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.session(session)
	if enough {
		s.signal()
		return nil
	}
	picked := s.pick(conn, n, time.Now())
	for _, it := range picked {
		b.expiring.remove(it) // in flight it does not expire
		it.writes++
	}
	return picked
}

// checked is the last look at a picked item, now that its body is known: it
// goes out unless the body is gone or its target rests.
func (b *Outbox) checked(it *item, m message.Checked, err error) (entry.Outgoing, bool) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case errors.Is(err, entry.ErrUnknown):
		b.remove(it)
		return entry.Outgoing{}, false
	case err != nil:
		b.log.Error("downstream can't be read; it waits", "seq", it.Seq, "msg_id", it.MessageID, "err", err)
		it.Due = now.Add(b.o.Retry.Max)
		b.putBack(it, now)
		return entry.Outgoing{}, false
	}
	it.target = target(m.To)
	if !it.session.resting(it.target, now, b.rnd).IsZero() {
		b.putBack(it, now)
		return entry.Outgoing{}, false
	}
	g := entry.Outgoing{Seq: it.Seq, Message: m}
	if m.Options.TTL != nil {
		g.TTL = flow.Remaining(now, it.Expires.Add(lastSecond-1)) // rounded up: a fresh one goes as it was given
	}
	return g, true
}

// target is the key under which a target is slowed down.
func target(t message.Target) string {
	switch {
	case t.Topic != "":
		return "/topics/" + t.Topic
	case t.Condition != "":
		return t.Condition
	}
	return t.Token
}

// Acked says that CCS took the downstream; newToken replaces its target's when
// not empty. Unknown ones, answered before, are ignored.
func (b *Outbox) Acked(session string, seq uint64, newToken string) {
	now := time.Now()
	b.mu.Lock()
	it := b.items[seq]
	if it == nil || it.state == ending {
		b.mu.Unlock()
		return
	}
	it.session.answers++
	if it.session.recovered(it.target, now) {
		b.log.Info("CCS takes this sender again: downstreams go on", "session", b.named(it.session.id))
	}
	e := b.end(it, message.Acked, "", "")
	e.NewToken = newToken
	b.mu.Unlock()
	b.finish(e)
}

// end takes it out of every queue for good; only its group still waits, for
// the commit. The caller hands what it returns to finish, without holding mu.
func (b *Outbox) end(it *item, status message.OutcomeStatus, code, description string) entry.End {
	b.expiring.remove(it)
	it.session.release(it)
	it.state = ending
	return entry.End{Seq: it.Seq, Status: status, Code: code, Description: description, Attempts: it.writes}
}
