package ledger

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// machine is a machine's clocks, which a test turns while the ledger reads them.
type machine struct {
	mu   sync.Mutex
	wall time.Time
	boot string
	up   time.Duration
	log  bytes.Buffer
}

func newMachine() *machine {
	return &machine{wall: time.UnixMilli(1_700_000_000_000), boot: "first", up: time.Hour}
}

func (w *machine) options(o *Options) {
	o.Now = w.now
	o.Uptime = w.age
	o.Log = hclog.New(&hclog.LoggerOptions{Output: w, Level: hclog.Warn})
}

func (w *machine) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wall
}

func (w *machine) age() (boot string, up time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.boot, w.up
}

// lives lets time pass.
func (w *machine) lives(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wall, w.up = w.wall.Add(d), w.up+d
}

// set sets the wall clock ahead or back.
func (w *machine) set(step time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wall = w.wall.Add(step)
}

// boots starts it anew.
func (w *machine) boots() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boot, w.up = "second", time.Second
}

// Write takes the log.
func (w *machine) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *machine) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// settings are what the clock is set by.
var settings = []time.Duration{
	-3 * 365 * 24 * time.Hour, -24 * time.Hour, -2 * time.Hour, -30 * time.Second,
	30 * time.Second, 2 * time.Hour, 24 * time.Hour, 3 * 365 * 24 * time.Hour,
}

// near is for what was reckoned by another reading of the clock.
func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if (got - want).Abs() > time.Second {
		t.Errorf("%s: %v, should be %v", what, got, want)
	}
}

// A clock that is set, ahead or back, while the host runs or between two starts
// of one machine, makes nothing wait, expire, or come twice; ids grow, and what
// is shown are times of the clock as it is set now. // P4 P5 P6
func TestClockIsSet(t *testing.T) {
	for _, running := range []bool{true, false} {
		for _, step := range settings {
			t.Run(fmt.Sprintf("running %v by %v", running, step), func(t *testing.T) {
				w := newMachine()
				l := open(t, t.TempDir(), w.options)
				mustAccept(t, l, "tokA", "1", `{}`)
				ev := lease(t, l, 5)
				if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 5, Verdict: entry.Retry, Due: w.now().Add(time.Minute), Reason: "later"}); err != nil {
					t.Fatal(err)
				}
				out := send("d-1", `{"a":"b"}`)
				out.Message.Options.TTL = message.TTL(time.Hour)
				if err := updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{out}}); err != nil {
					t.Fatal(err)
				}
				down := l.Downstreams(0, 1)[0]
				if err := await(t, func(done func(error)) {
					l.Postpone(entry.Postponement{Seq: down.Seq, Due: w.now().Add(2 * time.Minute), Attempts: 1, Tried: entry.Attempt{Code: "BUSY"}}, done)
				}); err != nil {
					t.Fatal(err)
				}
				received := w.now()

				if !running {
					l.Close() //nolint:errcheck // the reopening tells
				}
				w.lives(10 * time.Second)
				w.set(step)
				if running {
					l.watchClock()
				} else {
					l = open(t, l.o.Dir, w.options)
				}
				near(t, "the event waits on", l.Events(0, 1)[0].Due.Sub(w.now()), 50*time.Second)
				near(t, "the downstream waits on", l.Downstreams(0, 1)[0].Due.Sub(w.now()), 110*time.Second)
				near(t, "it lives on", l.Downstreams(0, 1)[0].Expires.Sub(w.now()), time.Hour-10*time.Second)
				body, err := l.Body(ev.Seq)
				if err != nil {
					t.Fatal(err)
				}
				near(t, "it is shown as received", w.now().Sub(body.Upstream.Received), 10*time.Second)
				near(t, "and as stored", w.now().Sub(l.EventSince(ev.Seq)), 10*time.Second)
				near(t, "the downstream too", w.now().Sub(l.DownstreamSince(down.Seq)), 10*time.Second)
				if running {
					near(t, "and was", body.Upstream.Received.Sub(received), step)
				}
				mustAccept(t, l, "tokA", "1", `{}`)
				if c := l.Counts(); c.Accepted != 1 || c.Duplicates != 1 {
					t.Errorf("the same again: %+v", c)
				}
				mustAccept(t, l, "tokA", "2", `{}`)
				later, err := l.Body(l.Events(ev.Seq, 1)[0].Seq)
				if err != nil || later.Upstream.ID <= body.Upstream.ID {
					t.Errorf("id %s follows %s: %v", later.Upstream.ID, body.Upstream.ID, err)
				}
				near(t, "the next is shown as received", w.now().Sub(later.Upstream.Received), 0)
				if text := w.logged(); strings.Count(text, "the clock was set "+by(step)) != 1 {
					t.Errorf("the log says %q", text)
				}
				if running && l.clock.set.Load() != 1 {
					t.Errorf("%d steps were counted", l.clock.set.Load())
				}
				verify(t, l)

				// Set right again, and a restart of host and machine.
				w.set(-step)
				l.watchClock()
				l.Close() //nolint:errcheck // as above
				w.lives(10 * time.Second)
				w.boots()
				l = open(t, l.o.Dir, w.options)
				near(t, "in the end the event waits on", l.Events(0, 1)[0].Due.Sub(w.now()), 40*time.Second)
				near(t, "and the downstream lives on", l.Downstreams(0, 1)[0].Expires.Sub(w.now()), time.Hour-20*time.Second)
			})
		}
	}
}

// After a restart of the machine the wall clock alone can tell how long it was
// away: back it is not believed, and that is said; ahead it is.
func TestClockIsSetWhileAway(t *testing.T) {
	for _, c := range []struct {
		step, due time.Duration
		says      string
	}{
		{-2 * time.Hour, time.Minute, "the last commit is 1h59m50s in the future"},
		{-3 * 365 * 24 * time.Hour, time.Minute, "in the future"},
		{-5 * time.Second, 55 * time.Second, ""},
		{30 * time.Second, 20 * time.Second, ""},
		{365 * 24 * time.Hour, 50*time.Second - 365*24*time.Hour, "the last commit was 365 days ago"},
	} {
		w := newMachine()
		l := open(t, t.TempDir(), w.options)
		mustAccept(t, l, "tokA", "1", `{}`)
		ev := lease(t, l, 5)
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 5, Verdict: entry.Retry, Due: w.now().Add(time.Minute), Reason: "later"}); err != nil {
			t.Fatal(err)
		}
		l.Close() //nolint:errcheck // the reopening tells
		w.lives(10 * time.Second)
		w.set(c.step)
		w.boots()
		l = open(t, l.o.Dir, w.options)
		near(t, fmt.Sprintf("%v: it waits on", c.step), l.Events(0, 1)[0].Due.Sub(w.now()), c.due)
		if text := w.logged(); !strings.Contains(text, c.says) || c.says == "" && text != "" {
			t.Errorf("%v: the log says %q", c.step, text)
		}
	}
}

// A store without the clock's file, or with a spoilt one, goes on by the wall clock.
func TestClockFileIsLost(t *testing.T) {
	for _, spoil := range []func(string) error{
		os.Remove, func(name string) error { return os.WriteFile(name, []byte("{"), 0o600) },
	} {
		w := newMachine()
		l := open(t, t.TempDir(), w.options)
		mustAccept(t, l, "tokA", "1", `{}`)
		ev := lease(t, l, 5)
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 5, Verdict: entry.Retry, Due: w.now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		l.Close() //nolint:errcheck // the reopening tells
		if err := spoil(filepath.Join(l.o.Dir, "clock")); err != nil {
			t.Fatal(err)
		}
		w.lives(10 * time.Second)
		l = open(t, l.o.Dir, w.options)
		near(t, "it waits on", l.Events(0, 1)[0].Due.Sub(w.now()), 50*time.Second)
	}
}

// Summaries are purged after their time whatever the clock was set to meanwhile.
func TestPurgeAfterSteps(t *testing.T) {
	for _, step := range settings {
		w := newMachine()
		l := open(t, t.TempDir(), w.options)
		w.set(step) // what ends now has a time that another clock wrote
		l.watchClock()
		mustAccept(t, l, "tokA", "1", `{}`)
		ev := lease(t, l, 5)
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 5, Verdict: entry.Done, Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
		w.set(-step)
		l.watchClock()
		var left []uint64
		for range 3 {
			if err := l.purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			left = append(left, l.tally.finished)
			w.lives(13 * time.Hour)
		}
		if !slices.Equal(left, []uint64{1, 1, 0}) {
			t.Errorf("%v: summaries left after 0, 13 and 26 hours: %v", step, left)
		}
	}
}

// A wall clock far ahead makes badger hide dedup keys; they count all the same. // P6
func TestKnownWhileAhead(t *testing.T) {
	w := newMachine()
	l := open(t, t.TempDir(), w.options)
	in := upstream("tokA", "1", `{}`)
	mustAccept(t, l, "tokA", "1", `{}`)
	hide := op(&hidden{sumUpstream(in, "", false)})
	if err := l.wait(hide); err != nil {
		t.Fatal(err)
	}
	w.set(3 * 365 * 24 * time.Hour)
	l.watchClock()
	mustAccept(t, l, "tokA", "1", `{}`)
	if c := l.Counts(); c.Accepted != 1 || c.Duplicates != 1 {
		t.Errorf("the same again: %+v", c)
	}
}

// hidden writes a dedup key that has expired by badger's clock.
type hidden struct{ sum digest }

func (o *hidden) weigh() (bytes, records int) { return recordExtra, 1 }

func (o *hidden) apply(b *batch) error {
	key := b.hashKey(kindDedup, o.sum)
	from := b.mark()
	b.arena = appendTime(append(b.arena, format), b.now)
	b.setUntil(key, from, 1)
	return nil
}
