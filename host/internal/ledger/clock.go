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

// clock is the ledger's own clock. It started as the wall clock, and nobody sets it.
// It counts on while the process runs, sleeps or restarts. All times in the store are
// from it, so setting the wall clock changes no wait, TTL, window or order. Callers
// get times of the wall clock as it is set now.
//
// Between two starts it counts by the kernel's uptime. After a restart of the machine
// it follows the wall clock, but only forwards.
type clock struct {
	wall   func() time.Time
	uptime func() (boot string, up time.Duration) // nil: not known
	file   string
	last   atomic.Int64 // the highest reading, in ns

	mu     sync.Mutex    // guards the fields below
	base   mark          // one moment by all clocks
	ahead  time.Duration // of the wall clock as it is set now; negative: behind it
	set    atomic.Uint64 // how often the wall clock was set since Open
	synced bool
}

// mark is one moment by all clocks. The clock's file holds all of it except real.
type mark struct {
	Boot   string        `json:"boot,omitempty"` // names the kernel's life
	Up     time.Duration `json:"up,omitempty"`   // its age
	Wall   time.Time     `json:"wall"`
	Ledger time.Time     `json:"ledger"`
	real   time.Time     // Wall with Go's monotonic reading
}

const (
	// settable is the largest difference between the wall clock and the others that is
	// normal (slewing, or a delayed reading). Above it, the wall clock counts as set.
	settable = 10 * time.Second
	// longAgo is the age of the last commit from which the clock may be wrong.
	longAgo = 90 * 24 * time.Hour
)

// read reads all clocks; it doesn't set Ledger.
func (c *clock) read() mark {
	m := mark{real: c.wall()}
	m.Wall = m.real.Round(0)
	if c.uptime != nil {
		m.Boot, m.Up = c.uptime()
	}
	return m
}

// since is how much time has passed from m to now, even if a clock was set.
func (now mark) since(m mark) time.Duration {
	if now.Boot != "" && now.Boot == m.Boot {
		return now.Up - m.Up
	}
	return now.real.Sub(m.real)
}

// start starts the clock. last is the last commit's time, zero for a new store. It
// returns a warning if the wall clock seems wrong.
func (c *clock) start(last time.Time) (warning string, err error) {
	var saved mark
	text, err := os.ReadFile(c.file)
	if err == nil {
		err = json.Unmarshal(text, &saved)
	}
	if errors.Is(err, fs.ErrNotExist) {
		saved, err = mark{}, nil
	}
	if err != nil { // continue as if there were no file
		saved, warning, err = mark{}, fmt.Sprintf("clock of the ledger can't be read (%v): it continues from the wall clock", err), nil
	}
	now := c.read()
	ahead := saved.Ledger.Sub(saved.Wall)
	now.Ledger = now.Wall.Add(ahead)
	known := now.Boot != "" && now.Boot == saved.Boot
	if known {
		counted := saved.Ledger.Add(now.since(saved))
		if set := now.Ledger.Sub(counted); set.Abs() > settable {
			now.Ledger = counted
			warning = fmt.Sprintf("the clock was set %s while the host was not running: this does not change how long messages in the ledger wait", by(set))
		}
	}
	switch gone := now.Ledger.Sub(last); {
	case last.IsZero():
	case gone < 0:
		now.Ledger = last
		if gone < -settable && !known {
			warning = fmt.Sprintf("the last commit is %s in the future: the clock is behind now, or was ahead then; check what sets it (chrony, systemd-timesyncd). Messages in the ledger continue to wait from where they were",
				-gone.Round(time.Second))
		}
	case gone > longAgo && !known:
		warning = fmt.Sprintf("the last commit was %d days ago: if this is not true, the clock is ahead, and messages have expired too early; check what sets it", int(gone.Hours()/24))
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

// now is the same moment by the ledger's clock and by the wall clock.
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

// today converts the ledger's times to the wall clock with a monotonic reading, for
// waiting.
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

// shown converts a ledger's time to the wall clock as it is set now, for showing. Each
// call gives the same time until the wall clock is set.
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

// look reports whether the wall clock was set, and by how much.
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

// save writes the clock's file, completely or not at all.
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

// startClock starts the ledger's clock after the counters were read.
func (l *Ledger) startClock() error {
	warning, err := l.clock.start(l.tally.at)
	if err != nil {
		return fmt.Errorf("save the ledger's clock: %w", err)
	}
	if warning != "" {
		l.o.Log.Warn(warning)
	}
	return nil
}

func newClock(o Options) *clock {
	return &clock{wall: o.Now, uptime: o.Uptime, file: filepath.Join(o.Dir, "clock"), synced: !o.Light}
}

// watchClock checks once whether the wall clock was set.
func (l *Ledger) watchClock() {
	set, err := l.clock.look()
	if set != 0 {
		what := "the clock was set " + by(set)
		if l.clock.uptime == nil || l.clock.base.Boot == "" {
			what += ", or the machine slept"
		}
		l.o.Log.Warn(what + ": this does not change when messages are tried or expire")
	}
	if err != nil {
		l.o.Log.Warn("save the clock after it was set", "err", err)
	}
}
