package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"balhost/host/internal/entry"
	"balhost/host/internal/mend"
	"balhost/host/internal/state"
)

// Options says where a ledger is and how careful it is. Only Dir is needed.
type Options struct {
	Dir         string        // made when it is missing; for one process at a time
	DedupWindow time.Duration // how long an upstream is known again (P6); 48 h when 0
	Retention   time.Duration // how long summaries of what ended are kept; 24 h when 0

	DiskSoft int64  // bytes that must be free besides as many as the ledger has now, or ErrFull; 1 GiB when 0
	DiskHard int64  // bytes that must be free, or the ledger stops for good; 256 MiB when 0, or half of DiskSoft when that is less
	Ballast  int64  // size of a file that the next start gives up when the disk is full; 0: none
	Inodes   uint64 // inodes that must be free, or ErrFull; with a tenth of them it stops for good; 10,000 when 0

	Log     hclog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: none
	// Poison is called once, from any goroutine, when a commit failed or the store
	// cannot be trusted any more. Nothing is acknowledged afterwards (P10): the
	// process should end, for the next Open to recover. nil: it is only logged.
	Poison func(error)
	Now    func() time.Time                       // the wall clock; nil: time.Now
	Uptime func() (boot string, up time.Duration) // a clock that nobody sets, such as [Uptime]; nil: none
	Statfs func(dir string) (Space, error)        // nil: the operating system

	// Light and Commit are for simulations. A Light store opens in milliseconds:
	// it syncs nothing, so that a power cut loses commits, has small files, and
	// never compacts. Commit is called for each commit, which it makes by calling
	// commit; it may take its time, or fail before or after. nil: commits are made.
	Light  bool
	Commit func(commit func() error) error
	Sizes  Sizes
}

// Sizes are how much of what there is before it becomes something else, in bytes;
// 0: as is good for a server. Tests make them small, so that it happens often.
type Sizes struct {
	Segment  int // a file of the journal
	Layer    int // frames of commits, before what they changed is written to badger
	MemTable int // one of badger's
	Rotate   int // frames of commits, before what they changed is made a table
}

func (o Options) withDefaults() Options {
	o.DedupWindow = cmp.Or(o.DedupWindow, 48*time.Hour)
	o.Retention = cmp.Or(o.Retention, 24*time.Hour)
	o.DiskSoft = cmp.Or(o.DiskSoft, 1<<30)
	o.DiskHard = cmp.Or(o.DiskHard, min(256<<20, o.DiskSoft/2))
	o.Inodes = cmp.Or(o.Inodes, 10_000)
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Poison == nil {
		o.Poison = func(error) {}
	}
	if o.Light {
		o.Sizes.Segment = cmp.Or(o.Sizes.Segment, 5<<20) // the largest commit fits
		o.Sizes.Layer = cmp.Or(o.Sizes.Layer, 256<<10)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Statfs == nil {
		o.Statfs = statfs
	}
	return o
}

// Ledger is the store. Its methods may be called from any goroutine.
type Ledger struct {
	o       Options
	journal Log
	state   *state.State
	box     *mailbox
	calls   *callbacks
	clock   *clock
	dedup   *filter // what was stored within the window
	metrics *metrics
	folders []folder // of the files, as they were opened

	replayed atomic.Bool // the journal is
	closing  atomic.Bool
	backing  sync.Mutex // held while a backup is taken

	// append makes a commit durable: Log.Append, or what a test wants of it.
	append func(commit uint64, frame []byte) error
	stamp  func() stamp // for a batch that begins now

	full       *room
	failure    atomic.Pointer[error] // why the ledger is poisoned
	poisoned   sync.Once
	lastUsed   atomic.Int64
	committing atomic.Pointer[time.Time] // when the commit under way began; nil: none is

	lastSent, lastEvents atomic.Pointer[lastPage]
	deepSent, deepEvents atomic.Pointer[deepPage]
	leases               leases
	stop                 context.CancelFunc
	keepers              errgroup.Group // stop ends them
	committer            errgroup.Group // box.close ends it
	closed               sync.Once
	closeErr             error

	// mu guards what follows. The committer alone changes events, sent, tally,
	// freed and owners, and so reads them without it.
	mu            sync.RWMutex
	events        index
	sent          index
	owners        map[string]string
	tally         tally
	freed         int64 // bytes of records deleted since the last Flatten
	eventsChanged changed
	sentChanged   changed
	alarms        []string
}

// What memory may hold of pending entries and their bodies, in bytes: 32 MiB in all.
const (
	hotEvents = 24 << 20
	hotSent   = 8 << 20
)

// Open opens or makes the ledger in o.Dir, and recovers what a crash left. Its
// goroutines end with Close.
func Open(ctx context.Context, o Options) (_ *Ledger, err error) {
	l := &Ledger{
		o: o.withDefaults(), box: newMailbox(), full: newRoom(), owners: map[string]string{},
		events: index{kind: kindEvent, limit: hotEvents}, sent: index{kind: kindDownstream, limit: hotSent},
		leases: leases{by: map[uint64]uint64{}},
	}
	l.clock = newClock(l.o)
	l.stamp = l.stampNow
	l.calls = newCallbacks(l.veto)
	defer func() {
		if err != nil {
			err = fmt.Errorf("open ledger %s: %w", o.Dir, err)
		}
	}()
	if err := l.openDisk(); err != nil {
		return nil, err
	}
	if err := l.openStore(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.state.Abandon(), l.journal.Close())
		}
	}()
	if err := l.recover(ctx); err != nil {
		return nil, err
	}
	now, _ := l.clock.now()
	l.dedup = newFilter(l.o.DedupWindow, now)
	if l.metrics, err = newMetrics(l); err != nil {
		return nil, err
	}
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.committer.Go(l.run)
	l.keepers.Go(func() error { return l.watchDisk(ctx) })
	l.keepers.Go(func() error { return l.watchCommits(ctx) })
	l.keepers.Go(func() error { return l.tidy(ctx) })
	l.keepers.Go(func() error { return l.remember(ctx) })
	return l, nil
}

// closeTime is how long Close waits. A badger that cannot write never ends; one that
// compacts on a busy machine may take more than ten seconds.
const closeTime = 20 * time.Second

// Close commits what is waiting, calls what is to be called back, and closes
// the files. What comes later gets entry.ErrClosed. It must not be called from
// a callback. Its error is the ledger's failure, if it has one.
func (l *Ledger) Close() error {
	l.closed.Do(func() {
		ended := make(chan error, 1)
		go func() { ended <- l.shutdown() }() //house:go awaited below, but for a badger that hangs
		limit := time.NewTimer(closeTime)
		defer limit.Stop()
		select {
		case l.closeErr = <-ended:
		case <-limit.C:
			l.closeErr = fmt.Errorf("close ledger %s: badger has not ended after %s", l.o.Dir, closeTime)
		}
	})
	return l.closeErr
}

func (l *Ledger) shutdown() error {
	l.closing.Store(true) // ends a backup
	l.stop()
	l.box.close()      // before the keepers are awaited: one may wait for a commit that is not made any more
	l.keepers.Wait()   //nolint:errcheck // they return nil
	l.committer.Wait() //nolint:errcheck // it returns nil
	l.calls.wait()
	l.metrics.close()
	var err error
	if l.failed() == nil {
		err = l.state.Close()
	} else {
		err = l.state.Abandon()
	}
	return errors.Join(l.failed(), err, l.journal.Close())
}

// put hands an operation to the committer.
func (l *Ledger) put(o op, done func(error)) {
	if !l.box.put(letter{op: o, done: done}) {
		l.calls.push(call{done, entry.ErrClosed})
	}
}

// poison ends the ledger: from here on no callback hears of success, so that
// nobody acks what may not be on disk (P10).
func (l *Ledger) poison(err error) {
	l.poisoned.Do(func() {
		l.failure.Store(&err)
		l.o.Log.Error("ledger stops, and recovers when it is opened again", "err", mend.With(err))
		l.o.Poison(err)
	})
}

func (l *Ledger) failed() error {
	if p := l.failure.Load(); p != nil {
		return *p
	}
	return nil
}

func (l *Ledger) veto(err error) error {
	if err == nil && l.failed() != nil {
		return entry.ErrClosed
	}
	return err
}

// alarm records a sign of lost data.
func (l *Ledger) alarm(text string) {
	l.o.Log.Error("ledger may have lost data: "+text, "code", "ALARM")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alarms = append(l.alarms, text)
}

// Alarms tells what a person must know: signs of lost data that were found at
// the start or by Verify.
func (l *Ledger) Alarms() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return append([]string(nil), l.alarms...)
}

// Full reports whether the disk is at its soft limit: Accept and Update give
// entry.ErrFull, what ends, retries or deletes goes on.
func (l *Ledger) Full() bool { return l.full.is() }

// Room returns a channel that is closed as soon as, or while, the ledger is not full.
func (l *Ledger) Room() <-chan struct{} { return l.full.wait() }
