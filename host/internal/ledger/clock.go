package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// clock is the ledger's own. It began as the wall clock, counts on while the
// process runs, sleeps or is started anew, and is never set: all times in the
// store are its, so that no wait, TTL, window or order hangs on how a clock was
// set between two of them. Those who ask get times of today's wall clock.
//
// Between two starts it counts on by the kernel's uptime, and when the machine
// was started anew by the wall clock, which it follows ahead and never back.
type clock struct {
	wall   func() time.Time
	uptime func() (boot string, up time.Duration) // nil: not known
	file   string
	last   atomic.Int64 // the highest reading, in ns

	mu     sync.Mutex    // guards what follows
	base   mark          // a moment by all clocks
	ahead  time.Duration // of the wall clock as it is set now; negative: behind it
	set    atomic.Uint64 // how often the wall clock was set since Open
	synced bool
}

// mark is one moment by all clocks; but for real it stands in the clock's file.
type mark struct {
	Boot   string        `json:"boot,omitempty"` // names the kernel's life
	Up     time.Duration `json:"up,omitempty"`   // its age
	Wall   time.Time     `json:"wall"`
	Ledger time.Time     `json:"ledger"`
	real   time.Time     // Wall with Go's monotonic reading
}

const (
	// settable is by how much the wall clock may be off from what the others say
	// until it counts as set: less is slewed, or a reading that was held up.
	settable = 10 * time.Second
	// longAgo is when the last commit is so old that the clock may be wrong.
	longAgo = 90 * 24 * time.Hour
)

// read takes all clocks; Ledger is not set.
func (c *clock) read() mark {
	m := mark{real: c.wall()}
	m.Wall = m.real.Round(0)
	if c.uptime != nil {
		m.Boot, m.Up = c.uptime()
	}
	return m
}

// since is how much time has passed from m to now, whatever was set.
func (now mark) since(m mark) time.Duration {
	if now.Boot != "" && now.Boot == m.Boot {
		return now.Up - m.Up
	}
	return now.real.Sub(m.real)
}

// start sets the clock going: last is the last commit's time, zero for a new
// store. It says what a person should know about the wall clock.
func (c *clock) start(last time.Time) (warning string, err error) {
	var saved mark
	text, err := os.ReadFile(c.file)
	if err == nil {
		err = json.Unmarshal(text, &saved)
	}
	if errors.Is(err, fs.ErrNotExist) {
		saved, err = mark{}, nil
	}
	if err != nil { // as if there was none
		saved, warning, err = mark{}, fmt.Sprintf("clock of the ledger is not known (%v): it goes on by the wall clock", err), nil
	}
	now := c.read()
	ahead := saved.Ledger.Sub(saved.Wall)
	now.Ledger = now.Wall.Add(ahead)
	known := now.Boot != "" && now.Boot == saved.Boot
	if known {
		counted := saved.Ledger.Add(now.since(saved))
		if set := now.Ledger.Sub(counted); set.Abs() > settable {
			now.Ledger = counted
			warning = fmt.Sprintf("the clock was set %s while the host was not running: what waits in the ledger waits no longer or shorter for it", by(set))
		}
	}
	switch gone := now.Ledger.Sub(last); {
	case last.IsZero():
	case gone < 0:
		now.Ledger = last
		if gone < -settable && !known {
			warning = fmt.Sprintf("the last commit lies %s in the future: the clock is behind now, or was ahead then; check what sets it (chrony, systemd-timesyncd). What waits in the ledger goes on waiting from where it was",
				-gone.Round(time.Second))
		}
	case gone > longAgo && !known:
		warning = fmt.Sprintf("the last commit was %d days ago: if that can't be, the clock is ahead, and messages have expired by it; check what sets it", int(gone.Hours()/24))
	}
	c.base, c.ahead = now, now.Ledger.Sub(now.Wall)
	c.last.Store(now.Ledger.UnixNano())
	return warning, c.save(now)
}

func by(set time.Duration) string {
	if set < 0 {
		return "back by " + (-set).Round(time.Second).String()
	}
	return "ahead by " + set.Round(time.Second).String()
}

// now is the ledger's time and the wall clock's, of the same moment.
func (c *clock) now() (ledger, real time.Time) {
	now := c.read()
	c.mu.Lock()
	ns := c.base.Ledger.UnixNano() + int64(now.since(c.base))
	c.mu.Unlock()
	for {
		last := c.last.Load()
		if ns <= last {
			return time.Unix(0, last), now.real
		}
		if c.last.CompareAndSwap(last, ns) {
			return time.Unix(0, ns), now.real
		}
	}
}

// today makes times of the wall clock, with a monotonic reading, of the
// ledger's: for waiting.
func (c *clock) today() func(ns int64) time.Time {
	ledger, real := c.now()
	from := ledger.UnixNano()
	return func(ns int64) time.Time {
		if ns == 0 {
			return time.Time{}
		}
		return real.Add(time.Duration(ns - from))
	}
}

// shown is a time of the ledger's as the wall clock is set now: for showing. It
// is the same at every call, until that is set.
func (c *clock) shown(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.Add(-c.ahead)
}

// isAhead reports whether the wall clock is ahead of the ledger's by more than d.
func (c *clock) isAhead(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return -c.ahead > d
}

// look notices when the wall clock was set, and says by how much.
func (c *clock) look() (set time.Duration, err error) {
	ledger, real := c.now()
	now := c.read()
	now.Ledger, now.Wall = ledger, real.Round(0)
	ahead := ledger.Sub(now.Wall)
	c.mu.Lock()
	defer c.mu.Unlock()
	if set = c.ahead - ahead; set.Abs() <= settable {
		return 0, nil
	}
	c.ahead = ahead
	c.set.Add(1)
	return set, c.save(now)
}

// save writes the clock's file, whole or not at all.
func (c *clock) save(m mark) error {
	text, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return err
	}
	next, err := os.OpenFile(c.file+".next", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = next.Write(append(text, '\n'))
	if err == nil && c.synced {
		err = next.Sync()
	}
	if err = errors.Join(err, next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), c.file)
}

// startClock sets the ledger's clock going after the counters were read.
func (l *Ledger) startClock() error {
	warning, err := l.clock.start(l.tally.at)
	if err != nil {
		return fmt.Errorf("keep the ledger's clock: %w", err)
	}
	if warning != "" {
		l.o.Log.Warn(warning)
	}
	return nil
}

func newClock(o Options) *clock {
	return &clock{wall: o.Now, uptime: o.Uptime, file: filepath.Join(o.Dir, "clock"), synced: !o.Light}
}

// watchClock is one look at whether the wall clock was set.
func (l *Ledger) watchClock() {
	set, err := l.clock.look()
	if set != 0 {
		what := "the clock was set " + by(set)
		if l.clock.uptime == nil || l.clock.base.Boot == "" {
			what += ", or the machine slept"
		}
		l.o.Log.Warn(what + ": nothing waits or expires for that")
	}
	if err != nil {
		l.o.Log.Warn("note that the clock was set", "err", err)
	}
}
