// Package outbox knows the downstreams that wait, and picks those that go next:
// due, first of their group, to no target that rests, oldest first. It keeps P2
// (only what the ledger holds goes out), P4 (each ends in one recorded
// outcome), P5 for groups, and its half of P3: what a connection left
// unanswered goes again with the same id. It holds no message (P0): its index
// is rebuilt from the ledger at every start.
//
// A downstream waits in the queue of its sender. A connection of the sender's transport
// takes it ([Outbox.Take]), and says what became of it ([Outbox.Answered]), or that it
// ended before there was an answer ([Outbox.Return]). The outbox knows no transport and
// none of its codes: an answer comes with its verdict. Package flow has the verdict on an
// end, and decides which downstreams have to go alone. A device that is connected by
// itself has a route ([Outbox.Attach]): meanwhile its downstreams go by that alone.
//
// [Outbox.Run] is the only goroutine here. It reads what is new, and looks after
// what is due or has expired. Transports call the other methods from their
// goroutines, and the ledger calls back from its own; mu guards all that they
// share. Start at [Outbox.Take], then see
// route.go.
package outbox

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/flow"
	"balhost/host/internal/span"
	"balhost/sdk/message"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// Ledger is what the outbox needs of the ledger. A done function may be called
// from any goroutine, after the commit.
type Ledger interface { //house:wide what is read of a downstream and how it ends: every user needs both
	Downstreams(after uint64, max int) []entry.Downstream
	DownstreamsChanged() <-chan struct{}
	DownstreamSince(seq uint64) time.Time // from when on it could go; zero: it is not pending any more
	Canceled() (seqs []uint64)            // that ended since the last call, because they were canceled or replaced
	Take(seq uint64) (message.Checked, error)
	Finish(e entry.End, done func(error))
	Postpone(p entry.Postponement, done func(error))
}

// Options are the parts that an Outbox works with; only Ledger is needed.
type Options struct {
	Ledger   Ledger
	Attempts int                  // attempts that count until a downstream fails; 0 is 15
	Retry    backoff.Policy       // wait after a refusal that time heals; zero is 1 s to 10 min
	Slow     backoff.Policy       // rest of a target that is sent too much; zero is 1 min to 15 min
	Halt     time.Duration        // rest of a sender whose account is refused; 0 is 5 min
	Senders  func() entry.Senders // their names, for log lines, and which have a gateway; nil: the lines show ids
	Log      hclog.Logger
	Metrics  prometheus.Registerer
	Feed     *feed.Hub                         // hears of the downstreams that go out; nil: nobody does
	Tracer   *span.Tracer                      // hears of sendings; nil: nothing is traced
	TraceOf  func(seq uint64) *entry.TraceSpan // with a Tracer: what made a pending downstream; nil if it is not traced
}

// lastSecond passes before a downstream expires, see [flow.Expired]: one with a
// TTL of zero, "now or never", goes if a connection has room within it.
const lastSecond = time.Second

// Outbox is the one outbox of a host. Its methods may be called from any goroutine.
type Outbox struct {
	o       Options
	log     hclog.Logger
	metrics *metrics
	wake    chan struct{} // hint for Run: the next due time may have changed
	asking  chan struct{} // Run receives from it in each round
	over    chan struct{} // closed when Run has ended

	mu       sync.Mutex // guards what follows and everything reachable from it
	rnd      *rand.Rand
	cursor   uint64 // the highest seq read
	items    map[uint64]*item
	queues   map[string]*queue           // by sender id
	attached int                         // routes so far; the last one's number
	reports  map[string]*report          // by code
	traced   map[uint64]*entry.TraceSpan // what made those that were handed out and are traced, by seq
}

// New makes an Outbox; Run starts it.
func New(o Options) *Outbox {
	o.Attempts = cmp.Or(o.Attempts, 15)
	o.Retry = cmp.Or(o.Retry, backoff.Policy{Min: time.Second, Max: 10 * time.Minute})
	o.Slow = cmp.Or(o.Slow, backoff.Policy{Min: time.Minute, Max: 15 * time.Minute})
	o.Halt = cmp.Or(o.Halt, 5*time.Minute)
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	b := &Outbox{
		o:       o,
		log:     o.Log,
		wake:    make(chan struct{}, 1),
		asking:  make(chan struct{}),
		over:    make(chan struct{}),
		rnd:     rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		items:   map[uint64]*item{},
		queues:  map[string]*queue{},
		reports: map[string]*report{},
		traced:  map[uint64]*entry.TraceSpan{},
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
	if _, expired := b.advance(time.Now()); expired > 0 { // by the wall clock, which may be wrong after a start of the machine
		b.log.Warn("downstreams have expired while no host ran", "count", expired)
	}
	for {
		more := b.o.Ledger.DownstreamsChanged() // before looking, so that no hint is lost
		b.load()
		b.drop(b.o.Ledger.Canceled()) // after load, which may have found them pending
		next, _ := b.advance(time.Now())
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

// hint makes Run look again.
func (b *Outbox) hint() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Alive returns as soon as Run goes round: at once, unless Run hangs. It may be
// called before Run and after its end.
func (b *Outbox) Alive() {
	select {
	case b.asking <- struct{}{}:
	case <-b.over:
	}
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

// advance ends what has expired, makes ready what is due, and says when to look
// again, and how many have expired.
func (b *Outbox) advance(now time.Time) (next time.Time, expired int) {
	next = now.Add(time.Hour)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	var ends []entry.End
	b.mu.Lock()
	for _, q := range b.queues {
		ends = append(ends, q.advance(now, sooner)...)
		q.forget(now, b.o.Slow.Max)
	}
	said := b.reported(now, sooner)
	b.mu.Unlock()
	for _, say := range said {
		say()
	}
	for _, e := range ends {
		b.record(e)
	}
	return next, len(ends)
}

// Changed is closed when Take may find more for a sender; fetch it before calling Take.
func (b *Outbox) Changed(sender string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queue(sender)
	if q.changed == nil {
		q.changed = make(chan struct{})
	}
	return q.changed
}

// Take hands out up to n downstreams of a sender that may go now, oldest first,
// to one of its connections; conn is that one's number. The connection has each
// until it says what became of it, or returns it. The number matters only where one
// downstream may end a connection that others share. A transport whose requests can't
// harm each other gives a new one at each call.
func (b *Outbox) Take(sender string, conn, n int) []entry.Outgoing {
	return b.hand(n, func(n int, now time.Time) []*item { return b.queue(sender).pick(conn, n, now) })
}

// hand hands out n of what pick picks, as long as it picks any. pick is called with mu.
func (b *Outbox) hand(n int, pick func(n int, now time.Time) []*item) []entry.Outgoing {
	var out []entry.Outgoing
	for len(out) < n {
		b.mu.Lock()
		picked := pick(n-len(out), time.Now())
		b.mu.Unlock()
		if len(picked) == 0 {
			break
		}
		for _, it := range picked {
			m, err := b.o.Ledger.Take(it.Seq) // from here on nobody cancels it; may read the disk: not under mu
			if err != nil {
				b.unreadable(it, err)
				continue
			}
			g := entry.Outgoing{Seq: it.Seq, Message: m, Attempt: int(it.writes)} // its taker alone changes writes
			if m.Options.TTL != nil {
				g.TTL = flow.Remaining(time.Now(), it.Expires.Add(lastSecond-1)) // rounded up: a fresh one goes as it was given
			}
			out = append(out, g)
			if b.o.Tracer.On() {
				b.follow(it)
			}
			if b.o.Feed.On() {
				b.o.Feed.Tell(b.sent(it, m))
			}
		}
	}
	return out
}

// drop forgets what was canceled or replaced: its outcome is on disk.
func (b *Outbox) drop(canceled []uint64) {
	if len(canceled) == 0 {
		return
	}
	b.metrics.outcomes.WithLabelValues(message.Canceled.String()).Add(float64(len(canceled)))
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, seq := range canceled {
		if it := b.items[seq]; it != nil {
			b.remove(it, now)
		}
	}
}

// unreadable deals with a picked item that the ledger does not have, does not give out any
// more, or can't read now.
func (b *Outbox) unreadable(it *item, err error) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case it.state != taken: // it was acked meanwhile, or dropped
		return
	case errors.Is(err, entry.ErrUnknown):
		b.remove(it, now)
		return
	case errors.Is(err, entry.ErrCanceled): // it holds its group until that is on disk, see drop
		it.queue.release(it, now)
		it.state = ending
		return
	}
	b.log.Error("downstream can't be read; it waits", "seq", it.Seq, "msg_id", it.MessageID, "err", err)
	it.Due, it.unread = now.Add(b.o.Retry.Max), true
	it.queue.putBack(it, now)
}
