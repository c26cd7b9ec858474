package outbox

import (
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

// What has a NotBefore waits for it, longer than any retry: on the transport and on a
// route, which are both woken when it is due. Its TTL begins then.
func TestNotBefore(t *testing.T) { // P4
	const month = 30 * 24 * time.Hour
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		for _, token := range []string{"tokA", "tokB", "tokC", "tokD"} {
			l.acceptIn(month, message.Token(token), 0, time.Minute)
		}
		l.accept("tokA", 0, -1)
		synctest.Wait()
		hints := make(hints, 1)
		a, d := attachHinting(b, hints, "tokA"), attach(b, "tokD")
		expect(t, "the others", takeAt(b, a, 10), 5)
		expect(t, "by the transport, nothing", take(b, 10))
		if s := b.Stats("main"); s.Early != 4 || s.Later != 4 || !s.Next.Equal(time.Now().Add(month)) {
			t.Errorf("%+v", s)
		}
		b.Detach("main", d)
		time.Sleep(month - time.Nanosecond)
		synctest.Wait()
		changed := b.Changed("main")
		hints.drain()
		expect(t, "not yet", append(takeAt(b, a, 10), take(b, 10)...))
		time.Sleep(time.Nanosecond)
		<-changed
		<-hints
		if s := b.Stats("main"); s.Early != 0 || s.Later != 0 || s.Ready != 4 {
			t.Errorf("%+v", s)
		}
		expect(t, "by the route", takeAt(b, a, 10), 1)
		expect(t, "by the transport", take(b, 2), 2, 3)
		b.Answered("main", 2, unavailable)
		c := attach(b, "tokB")
		expect(t, "a retry holds up no route", takeAt(b, c, 10), 2)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if e := l.end(t, 4); e.Status != message.Expired || len(l.outcomes()) != 1 {
			t.Errorf("%+v", l.outcomes())
		}
	})
}

// In a group the order wins: those behind it wait for its NotBefore, and may expire.
func TestNotBeforeInAGroup(t *testing.T) { // P5
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.acceptIn(time.Hour, message.Token("tokA"), 7, -1)
		l.accept("tokA", 7, -1)
		l.acceptIn(2*time.Hour, message.Token("tokA"), 7, -1)
		l.accept("tokA", 7, time.Minute)
		synctest.Wait()
		a := attach(b, "tokA")
		expect(t, "none", takeAt(b, a, 10))
		if s := b.Stats("main"); s.Early != 1 || s.Pending != 4 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Hour)
		expect(t, "the first", takeAt(b, a, 10), 1)
		b.Answered("main", 1, acked)
		expect(t, "the second", takeAt(b, a, 10), 2)
		b.Answered("main", 2, acked)
		expect(t, "the third waits", takeAt(b, a, 10))
		time.Sleep(time.Hour)
		expect(t, "the third", takeAt(b, a, 10), 3)
		if e := l.end(t, 4); e.Status != message.Expired {
			t.Errorf("%+v", e)
		}
	})
}

// A target that rests, a halt and a rest of the sender make none of it go earlier, and
// hold it up when it is due, but on no route.
func TestNotBeforeAndRests(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, -1)
		expect(t, "the first", take(b, 1), 1)
		b.Answered("main", 1, flow.Answer{Verdict: flow.SlowDown, Code: "SLOWER", RetryAfter: time.Hour})
		l.acceptIn(time.Minute, message.Token("tokA"), 0, -1)
		l.acceptIn(9*time.Hour, message.Token("tokA"), 0, -1)
		synctest.Wait()
		if s := b.Stats("main"); s.Early != 2 || s.Later != 3 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Minute)
		expect(t, "its target rests", take(b, 10))
		a := attach(b, "tokA")
		expect(t, "a route does not", takeAt(b, a, 10), 1, 2)
		b.Return("main", []uint64{1, 2}, ours)
		b.Detach("main", a)
		time.Sleep(2 * time.Hour)
		expect(t, "after the rest", take(b, 10), 1, 2)
		time.Sleep(7 * time.Hour)
		expect(t, "in its time", take(b, 10), 3)
	})
}

// One that is canceled leaves at once, wherever it waits, and frees the next of its group
// when that is on disk, not before: else a crash could turn the two round.
func TestCanceled(t *testing.T) { // P4, P5
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		for range 2 {
			l.accept("tokA", 7, -1)
		}
		l.acceptIn(time.Hour, message.Token("tokB"), 0, time.Hour)
		l.accept("tokC", 0, -1)
		synctest.Wait()
		l.mu.Lock()
		l.hold = true
		l.mu.Unlock()
		if !l.cancel(1) || !l.cancel(3) {
			t.Fatal("nobody has taken them")
		}
		expect(t, "the head is being canceled", take(b, 10), 4)
		expect(t, "and holds its group", take(b, 10))
		if l.cancel(4) {
			t.Error("P4: canceled, and gone out")
		}
		changed := b.Changed("main")
		l.release()
		<-changed
		expect(t, "the next", take(b, 10), 2)
		if s := b.Stats("main"); s.Pending != 2 || s.Early != 0 || s.Later != 0 || s.Taken != 2 {
			t.Errorf("%+v", s)
		}
		if len(b.items) != 2 {
			t.Errorf("%d are kept", len(b.items))
		}
		b.Return("main", []uint64{2, 4}, cut)
		if l.cancel(2) {
			t.Error("P4: it came back, and is canceled though it has gone out")
		}
		expect(t, "again", take(b, 10), 2, 4)
	})
}

// What expires or is had by its device while it is being canceled has one outcome.
func TestCanceledWhileItEnds(t *testing.T) { // P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, 0)
		l.accept("tokA", 0, -1)
		l.accept("tokA", 0, -1)
		synctest.Wait()
		a := attach(b, "tokA")
		l.mu.Lock()
		l.hold = true
		l.mu.Unlock()
		l.cancel(1)
		l.cancel(2)
		if !b.Has("main", a, "d-2") || !b.Has("main", a, "d-3") {
			t.Error("they are pending")
		}
		l.cancel(3)
		time.Sleep(time.Minute)
		synctest.Wait()
		l.release()
		synctest.Wait()
		for seq, want := range map[uint64]message.OutcomeStatus{1: message.Canceled, 2: message.Canceled, 3: message.Acked} {
			if e := l.end(t, seq); e.Status != want {
				t.Errorf("%d: %+v", seq, e)
			}
		}
		if s := b.Stats("main"); s.Pending != 0 || len(b.items) != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
}

// The oldest is the one that could go first and has not ended, whatever it waits for now.
// What waits for its NotBefore is not late: it counts from then on.
func TestOldest(t *testing.T) { // P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		want := func(what string, at time.Time) {
			t.Helper()
			synctest.Wait()
			if got := b.Stats("main").Oldest; !got.Equal(at) {
				t.Errorf("%s: the oldest could go at %v, want %v", what, got, at)
			}
		}
		want("nothing waits", time.Time{})
		start := time.Now()
		l.acceptIn(time.Hour, message.Token("tokA"), 0, -1)
		want("it waits for its time", time.Time{})
		time.Sleep(time.Minute)
		l.accept("tokB", 7, -1)
		time.Sleep(time.Minute)
		l.accept("tokC", 7, -1)
		want("behind nothing", start.Add(time.Minute))
		expect(t, "taken", take(b, 1), 2)
		want("in flight", start.Add(time.Minute))
		b.Answered("main", 2, unavailable)
		want("it is to be sent again", start.Add(time.Minute))
		time.Sleep(2 * time.Hour)
		expect(t, "taken", take(b, 2), 1, 2)
		b.Answered("main", 2, acked)
		want("in its group behind one that has ended", start.Add(2*time.Minute))
		expect(t, "taken", take(b, 1), 3)
		b.Answered("main", 3, acked)
		want("one whose time has come since", start.Add(time.Hour))
		b.Answered("main", 1, acked)
		want("all have ended", time.Time{})
	})
}
