package ledger

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
)

// inBubble runs f with a ledger in a bubble. step sets its wall clock.
func inBubble(t *testing.T, f func(t *testing.T, l *Ledger, step func(time.Duration), options func(*Options))) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		start := time.Now()
		options := func(o *Options) {
			o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			o.Uptime = func() (string, time.Duration) { return "boot", time.Since(start) + time.Hour }
		}
		l := open(t, dir, options)
		f(t, l, func(d time.Duration) { ahead.Add(int64(d)) }, options)
	})
}

func schedule(key string, at time.Time, data string) entry.Schedule {
	return entry.Schedule{Key: key, At: at, Data: json.RawMessage(data), Session: "main", Device: "tokA", Lane: entry.Lane{Kind: entry.Upstream, Hash: 5, Key: 6}}
}

func mustSchedule(t testing.TB, l *Ledger, all ...entry.Schedule) (ended []uint64) {
	t.Helper()
	if err := updateAs(t, l, "p", entry.Changes{Schedules: all}); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Ended != 0 {
			ended = append(ended, s.Ended)
		}
	}
	return ended
}

// keys are those of the timers that are events, in order.
func keys(t testing.TB, l *Ledger) (all []string) {
	t.Helper()
	for _, ev := range l.Events(0, 10_000) {
		body, err := l.Body(ev.Seq)
		if err == entry.ErrVoid {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, body.Timer.Key)
	}
	return all
}

func wantKeys(t testing.TB, l *Ledger, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := keys(t, l); !slices.Equal(got, want) {
		t.Errorf("events of %q, should be of %q", got, want)
	}
	verify(t, l)
}

// A timer becomes an event when it is due, not before, with all that it was set with; at
// a restart it waits on. // P0 P8
func TestTimerLife(t *testing.T) {
	inBubble(t, func(t *testing.T, l *Ledger, _ func(time.Duration), options func(*Options)) {
		at := time.UnixMilli(time.Now().Add(10 * time.Minute).UnixMilli())
		mustSchedule(t, l, schedule("remind", at, `{"order":7}`))
		l = reopen(t, l, options)
		time.Sleep(time.Until(at) - time.Millisecond)
		wantKeys(t, l)
		if c := l.Counts(); c.Timers != 1 || c.Events != 0 {
			t.Errorf("counts %+v", c)
		}
		time.Sleep(2 * time.Millisecond)
		wantKeys(t, l, "remind")
		l = reopen(t, l, options)
		ev := lease(t, l, 3)
		body, err := l.Body(ev.Seq)
		if err != nil || body.Timer == nil {
			t.Fatalf("%+v, %v", body, err)
		}
		if ev.Kind != entry.Timer || ev.Plugin != "p" || ev.Session != "main" || ev.Lane != (entry.Lane{Kind: entry.Upstream, Hash: 5, Key: 6}) {
			t.Errorf("event %+v", ev)
		}
		if m := body.Timer; m.Key != "remind" || string(m.Data) != `{"order":7}` || !m.Due.Equal(at) || m.Session != "main" || m.Device != "tokA" || m.Attempt != 1 || len(m.ID) != 26 {
			t.Errorf("timer %+v", m)
		}
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 3, Verdict: entry.Done, Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
		verify(t, l)
		if c := l.Counts(); c.Timers != 0 || c.Events != 0 || c.Handled != 1 {
			t.Errorf("counts %+v", c)
		}
		if n := l.records(t, kindTimer) + l.records(t, kindWaiting); n != 0 {
			t.Errorf("%d records of timers are left", n)
		}
	})
}

// records counts the records of a kind.
func (l *Ledger) records(t testing.TB, kind byte) (n int) {
	t.Helper()
	if err := l.scan([]byte{kind}, []byte{kind}, func(_, _ []byte) (bool, error) { n++; return true, nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// What waits is set anew and canceled by its key, of its own plugin.
func TestTimerIsReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, l *Ledger, _ func(time.Duration), _ func(*Options)) {
		now := time.Now()
		mustSchedule(t, l, schedule("a", now.Add(time.Minute), "1"), schedule("b", now.Add(time.Minute), "1"), schedule("c", now.Add(3*time.Minute), "1"))
		if err := updateAs(t, l, "other", entry.Changes{Schedules: []entry.Schedule{schedule("a", now.Add(time.Minute), "1"), {Key: "b", Cancel: true}}}); err != nil {
			t.Fatal(err)
		}
		ended := mustSchedule(t, l, schedule("a", now.Add(2*time.Minute), "2"), entry.Schedule{Key: "b", Cancel: true}, schedule("c", now.Add(time.Second), "2"), entry.Schedule{Key: "none", Cancel: true})
		if ended != nil {
			t.Errorf("ended %d, nothing was pending", ended)
		}
		time.Sleep(90 * time.Second)
		wantKeys(t, l, "c", "a") // the other plugin's a
		time.Sleep(time.Hour)
		wantKeys(t, l, "c", "a", "a")
	})
}

// A timer that is an event already, even one that a handler has right now, ends when it is
// canceled or set anew: the handler commits nothing.
func TestPendingTimerIsCanceled(t *testing.T) {
	for _, how := range []string{"cancel", "replace", "cancel in the same batch"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *Ledger, _ func(time.Duration), options func(*Options)) {
				mustSchedule(t, l, schedule("a", time.Now(), "1"))
				synctest.Wait()
				ev := lease(t, l, 3)
				again := schedule("a", time.Now().Add(time.Minute), "2")
				again.Cancel = how != "replace"
				if ended := mustSchedule(t, l, again); len(ended) != 1 || ended[0] != ev.Seq {
					t.Errorf("ended %d, should be %d", ended, ev.Seq)
				}
				for _, v := range []entry.Verdict{entry.Done, entry.Retry, entry.Dead} {
					s := entry.Settlement{Seq: ev.Seq, Lease: 3, Verdict: v, Plugin: "p", Changes: entry.Changes{Writes: []entry.Write{{Key: "k", Value: json.RawMessage("1")}}}}
					wantErr(t, settleAs(t, l, s), entry.ErrLease)
				}
				if _, version, _ := l.Get("p", "k"); version != 0 {
					t.Error("the handler of a canceled timer has committed")
				}
				l = reopen(t, l, options)
				_, err := l.Body(ev.Seq)
				wantErr(t, err, entry.ErrVoid)
				if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Verdict: entry.Void, Plugin: "p"}); err != nil {
					t.Fatal(err)
				}
				wantKeys(t, l)
				if c := l.Counts(); c.Events != 0 || c.Handled != 0 || c.Dead != 0 {
					t.Errorf("counts %+v", c)
				}
				time.Sleep(time.Hour)
				if how == "replace" {
					wantKeys(t, l, "a")
				} else {
					wantKeys(t, l)
				}
			})
		})
	}
}

// A handler sets its own timer again, and the new one stays when the old one's event ends.
// What is not void can't be ended as that.
func TestTimerSetsItselfAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, l *Ledger, _ func(time.Duration), _ func(*Options)) {
		mustSchedule(t, l, schedule("a", time.Now(), "1"))
		for range 3 {
			synctest.Wait()
			ev := lease(t, l, 3)
			wantErr(t, settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 3, Verdict: entry.Void, Plugin: "p"}), entry.ErrLease)
			c := entry.Changes{Schedules: []entry.Schedule{schedule("a", time.Now().Add(time.Hour), "2"), {Key: "a", Cancel: true}, schedule("a", time.Now().Add(time.Minute), "3")}}
			if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 3, Verdict: entry.Done, Plugin: "p", Changes: c}); err != nil {
				t.Fatal(err)
			}
			if c.Schedules[0].Ended != 0 {
				t.Error("it has ended its own event")
			}
			wantKeys(t, l)
			time.Sleep(time.Minute)
		}
		wantKeys(t, l, "a")
	})
}

// A timer that died comes again when a person replays it, though its plugin has set its key
// anew meanwhile. // P8
func TestDeadTimer(t *testing.T) {
	inBubble(t, func(t *testing.T, l *Ledger, _ func(time.Duration), options func(*Options)) {
		mustSchedule(t, l, schedule("a", time.Now(), `{"n":1}`))
		synctest.Wait()
		ev := lease(t, l, 3)
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 3, Verdict: entry.Dead, Plugin: "p", Reason: "because"}); err != nil {
			t.Fatal(err)
		}
		mustSchedule(t, l, schedule("a", time.Now().Add(time.Minute), "2"))
		letters, err := l.Dead("", 10)
		if err != nil || len(letters) != 1 || letters[0].Kind != "timer" || letters[0].Key != "a" || letters[0].From != "tokA" || letters[0].Raw != nil {
			t.Fatalf("%+v, %v", letters, err)
		}
		if d, err := l.DeadLetter(letters[0].ID); err != nil || string(d.Raw) != `{"n":1}` {
			t.Errorf("%+v, %v", d, err)
		}
		if n, _, err := l.Replay([]string{letters[0].ID}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		wantKeys(t, l, "a")
		l = reopen(t, l, options)
		mustSchedule(t, l, entry.Schedule{Key: "a", Cancel: true})
		wantKeys(t, l, "a") // it is not that of the key
		ev = lease(t, l, 4)
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 4, Verdict: entry.Done, Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		wantKeys(t, l)
	})
}

// After an outage the late ones come at once, in the order in which they were due. Those
// in memory are few, and more are read when they have come.
func TestManyLateTimers(t *testing.T) {
	inBubble(t, func(t *testing.T, l *Ledger, _ func(time.Duration), options func(*Options)) {
		const n = 3*soonTimers + 17
		begin := time.Now()
		var all []entry.Schedule
		for i := range n {
			due := i * 7919 % n // in no order
			all = append(all, schedule(fmt.Sprint("k", due), begin.Add(time.Hour+time.Duration(due)*time.Millisecond), "1"))
			if len(all) == 500 || i == n-1 {
				mustSchedule(t, l, all...)
				all = nil
			}
		}
		if held := len(l.nearest()); held > soonTimers {
			t.Errorf("memory holds %d timers", held)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		l = open(t, l.o.Dir, options)
		synctest.Wait()
		var got []string
		for _, ev := range l.Events(0, 2*n) {
			got = append(got, ev.Kind.String())
			body, err := l.Body(ev.Seq)
			if want := fmt.Sprint("k", len(got)-1); err != nil || body.Timer.Key != want {
				t.Fatalf("event %d is of %+v, %v; it should be %s", len(got), body.Timer, err, want)
			}
		}
		if len(got) != n {
			t.Errorf("%d of %d timers have come", len(got), n)
		}
		if c := l.Counts(); c.Timers != 0 || c.Events != n {
			t.Errorf("counts %+v", c)
		}
		verify(t, l)
	})
}

// A wall clock that is set ahead or back, while the host runs or not, makes no timer come
// early, late or twice.
func TestTimersAndClockSteps(t *testing.T) {
	for _, by := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		for _, away := range []string{"running", "stopped"} {
			t.Run(fmt.Sprint(by, " ", away), func(t *testing.T) {
				inBubble(t, func(t *testing.T, l *Ledger, step func(time.Duration), options func(*Options)) {
					mustSchedule(t, l, schedule("a", l.o.Now().Add(time.Hour), "1"))
					if away == "stopped" {
						if err := l.Close(); err != nil {
							t.Fatal(err)
						}
					}
					step(by)
					if away == "stopped" {
						l = open(t, l.o.Dir, options)
					}
					mustSchedule(t, l, schedule("b", l.o.Now().Add(2*time.Hour), "1")) // by the clock as it is set now
					time.Sleep(time.Hour - time.Second)
					wantKeys(t, l)
					time.Sleep(2 * time.Second)
					wantKeys(t, l, "a")
					time.Sleep(time.Hour - 3*time.Second)
					wantKeys(t, l, "a")
					time.Sleep(3 * time.Second)
					wantKeys(t, l, "a", "b")
				})
			})
		}
	}
}

// At the disk's soft limit a handler's timers are taken, those of an update are not; and
// what is due comes. // P10
func TestTimersOfAFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, l *Ledger, _ func(time.Duration), _ func(*Options)) {
		mustSchedule(t, l, schedule("a", time.Now().Add(time.Minute), "1"), schedule("b", time.Now().Add(time.Hour), "1"))
		l.full.set(true)
		err := updateAs(t, l, "p", entry.Changes{Schedules: []entry.Schedule{schedule("c", time.Now(), "1")}})
		wantErr(t, err, entry.ErrFull)
		mustSchedule(t, l, entry.Schedule{Key: "b", Cancel: true})
		time.Sleep(time.Minute)
		l.full.set(true)
		wantKeys(t, l, "a")
		ev := lease(t, l, 3)
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 3, Verdict: entry.Done, Plugin: "p", Changes: entry.Changes{Schedules: []entry.Schedule{schedule("d", time.Now(), "1")}}}); err != nil {
			t.Fatal(err)
		}
		wantKeys(t, l, "d")
	})
}

// What no record can hold is refused, and all that comes with it.
func TestTimerTooLarge(t *testing.T) {
	l := open(t, t.TempDir())
	long := string(make([]byte, maxName+1))
	for want, s := range map[error]entry.Schedule{
		errNoKey:          {At: time.Now()},
		entry.ErrTooLarge: {Key: "k", Data: make([]byte, maxBody+1)},
	} {
		wantErr(t, updateAs(t, l, "p", entry.Changes{Schedules: []entry.Schedule{schedule("a", time.Now().Add(time.Hour), "1"), s}}), want)
	}
	for _, s := range []entry.Schedule{{Key: long}, {Key: "k", Session: long}, {Key: "k", Device: string(make([]byte, maxID+1))}} {
		wantErr(t, updateAs(t, l, "p", entry.Changes{Schedules: []entry.Schedule{s}}), entry.ErrTooLarge)
	}
	wantErr(t, updateAs(t, l, "", entry.Changes{Schedules: []entry.Schedule{schedule("a", time.Now(), "1")}}), errNoState)
	if c := l.Counts(); c.Timers != 0 {
		t.Errorf("counts %+v", c)
	}
	verify(t, l)
}

// Verify finds a timer whose name is gone, and a name whose timer is.
func TestVerifyFindsLostTimers(t *testing.T) {
	for name, key := range map[string]func(l *Ledger) []byte{
		"name":    func(*Ledger) []byte { return appendTimerKey(nil, "p", "a") },
		"waiting": func(l *Ledger) []byte { return appendDueKey(nil, l.nearest()[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, t.TempDir())
			mustSchedule(t, l, schedule("a", time.Now().Add(time.Hour), "1"), schedule("b", time.Now().Add(2*time.Hour), "1"))
			if err := l.wait(&losing{key(l)}); err != nil {
				t.Fatal(err)
			}
			if err := l.Verify(t.Context()); err == nil {
				t.Error("nothing was found")
			}
		})
	}
}

// nearest are the timers in memory.
func (l *Ledger) nearest() []dueAt {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.soon.timers)
}

// losing is an operation that loses a record.
type losing struct{ key []byte }

func (o *losing) weigh() (bytes, records int) { return recordExtra, 1 }
func (o *losing) apply(b *batch) error        { b.del(o.key, 0); return nil }
