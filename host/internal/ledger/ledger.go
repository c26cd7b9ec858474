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
	"balhost/host/internal/feed"
	"balhost/host/internal/keyfile"
	"balhost/host/internal/mend"
	"balhost/host/internal/span"
	"balhost/host/internal/state"
)

// Options says where a ledger is and which limits it has. Only Dir is required.
type Options struct {
	Dir         string        // made if it is missing; only one process at a time can use it
	DedupWindow time.Duration // how long a repeated upstream is recognized (P6); 48 h when 0
	Retention   time.Duration // how long summaries of ended messages are kept; 24 h when 0

	// Key encrypts the ledger's files; nil: they are not encrypted. Open refuses a ledger that is
	// encrypted otherwise; see Rekey.
	Key *keyfile.Key

	DiskSoft int64  // intake stops (ErrFull) when fewer bytes plus the ledger's current size are free; 1 GiB when 0
	DiskHard int64  // the ledger stops for good when fewer bytes are free; 256 MiB when 0, or half of DiskSoft when that is less
	Ballast  int64  // size of a spare file, which the next start deletes if the disk is full; 0: none
	Inodes   uint64 // intake stops when fewer inodes are free; below a tenth of it the ledger stops for good; 10,000 when 0

	Log     hclog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: none
	Feed    *feed.Hub             // hears of the steps of messages; nil: nobody does
	Tracer  *span.Tracer          // hears of spans; nil: nothing is traced
	// Poison is called once, from any goroutine, when a commit failed or the store can't
	// be trusted any more. Nothing is acked afterwards (P10). The process should end, so
	// that the next Open recovers. nil: the failure is only logged.
	Poison func(error)
	Now    func() time.Time                       // the wall clock; nil: time.Now
	Uptime func() (boot string, up time.Duration) // a clock that nobody can set, such as [Uptime]; nil: none
	Statfs func(dir string) (Space, error)        // nil: the operating system

	// Light and Commit are for simulations. A Light store opens in milliseconds. It has
	// small files, never compacts, and syncs nothing, so a power cut loses commits. Commit
	// is called for each commit. It makes it by calling commit; it may wait, or fail before
	// or after that. nil: commits are just made.
	Light  bool
	Commit func(commit func() error) error
	Sizes  Sizes
}

// Sizes are the sizes, in bytes, at which a file or buffer is full; 0: a good size for a
// server. Tests make them small, so that it happens often.
type Sizes struct {
	Segment  int // one file of the journal
	Layer    int // frames of commits, after which their changes are written to badger
	MemTable int // one of badger's memtables
	Rotate   int // frames of commits, after which their changes become a table
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
	dedup   *filter // the messages that were stored in the window
	metrics *metrics
	limits  searchLimits
	folders []folder // the folders of the files, as they were opened

	replayed atomic.Bool // whether the journal has been applied
	closing  atomic.Bool
	backing  sync.Mutex // held while a backup is taken
	erasing  sync.Mutex // held by Erase
	// examining has room for the one that examines the ledger.
	examining chan struct{}
	stopping  chan struct{} // closed when the ledger closes

	// append makes a commit durable: Log.Append, or a test's replacement.
	append func(commit uint64, frame []byte) error
	stamp  func() stamp // makes the stamp of a batch that begins now

	full       *room
	intake     intake
	failure    atomic.Pointer[error] // why the ledger is poisoned
	poisoned   sync.Once
	lastUsed   atomic.Int64
	searched   atomic.Uint64             // records that searches and lists have read
	committing atomic.Pointer[time.Time] // when the current commit began; nil: there is none

	cache                *pageCache
	deepSent, deepEvents atomic.Pointer[deepPage]
	leases               leases
	claims               claims
	stop                 context.CancelFunc
	keepers              errgroup.Group // stop ends them
	committer            errgroup.Group // box.close ends it
	closed               sync.Once
	closeErr             error

	// mu guards the fields below. Only the committer changes events, sent, tally, freed,
	// owners and forgottens, so it reads them without mu.
	mu            sync.RWMutex
	events        index
	sent          index
	owners        map[string]string
	forgottens    map[string]forgotten // by plugin; replaced, never changed
	tally         tally
	freed         int64 // bytes of records deleted since the last Flatten
	eventsChanged changed
	sentChanged   changed
	timersChanged changed
	soon          soon
	late          *soon    // timers that were set since readSoon began; nil: it does not run
	canceled      []uint64 // see Canceled
	alarms        []string
}

// How much memory pending entries and their bodies may take, in bytes: 32 MiB in total.
const (
	hotEvents = 24 << 20
	hotSent   = 8 << 20
)

// cachedBytes is how much memory the pages may take that were read from the disk, in bytes.
const cachedBytes = 16 << 20

// Open opens or makes the ledger in o.Dir, and recovers it after a crash. Its goroutines
// end with Close.
func Open(ctx context.Context, o Options) (_ *Ledger, err error) {
	l := &Ledger{
		o: o.withDefaults(), box: newMailbox(), stopping: make(chan struct{}), full: newRoom(), owners: map[string]string{},
		cache:  newPageCache(cachedBytes),
		events: index{kind: kindEvent, limit: hotEvents}, sent: index{kind: kindDownstream, limit: hotSent},
		limits: usualLimits, examining: make(chan struct{}, 1),
		leases: leases{by: map[uint64]uint64{}}, claims: claims{by: map[uint64]claim{}},
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
	l.claims.upTo, l.claims.start = l.tally.seq, now.UnixNano()
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
	l.keepers.Go(func() error { return l.ring(ctx) })
	return l, nil
}

// closeTime is how long Close waits. A badger that cannot write never ends; one that
// compacts on a busy machine may take more than ten seconds.
const closeTime = 20 * time.Second

// Close commits all waiting operations, calls their callbacks, and closes the files.
// Later operations get entry.ErrClosed. A callback must not call Close. Its error is the
// ledger's failure, if there is one.
func (l *Ledger) Close() error {
	l.closed.Do(func() {
		ended := make(chan error, 1)
		go func() { ended <- l.shutdown() }() //house:go awaited below, unless badger hangs
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
	close(l.stopping)
	l.stop()
	l.box.close()      // before waiting for the keepers: one may wait for a commit that will not be made
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

// poison ends the ledger. From now on every callback gets an error, so that nobody acks a
// message that may not be on disk (P10).
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

// Alarms lists signs of lost data that were found at the start or by Verify. A person
// must know them.
func (l *Ledger) Alarms() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return append([]string(nil), l.alarms...)
}

// Full reports whether the disk is at its soft limit. Then Accept and Update give
// entry.ErrFull; operations that end, retry or delete still work.
func (l *Ledger) Full() bool { return l.full.is() }

// Room returns a channel that is closed while the ledger is not full.
func (l *Ledger) Room() <-chan struct{} { return l.full.wait() }
