package flow

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var t0 = time.Unix(1_700_000_000, 0)

// P3: whatever comes in whatever order, the window holds what is unanswered,
// oldest first, and never more than its limit.
func TestWindowHoldsWhatIsUnanswered(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		const limit = 10
		w := NewWindow(limit)
		var want []uint64 // the model: a list
		next := uint64(1)
		for step := range 500 {
			id := fmt.Sprint("d-", rnd.Uint64N(next+2)) // known, answered, or never sent
			switch {
			case w.Room() > 0 && rnd.IntN(2) == 0:
				w.Add(fmt.Sprint("d-", next), "tokA", next, t0.Add(time.Duration(next)))
				want = append(want, next)
				next++
			default:
				seq, since, ok := w.Answer(id)
				i := slices.IndexFunc(want, func(s uint64) bool { return fmt.Sprint("d-", s) == id })
				if ok != (i >= 0) || ok && (seq != want[i] || !since.Equal(t0.Add(time.Duration(seq)))) {
					t.Fatalf("seed %d step %d: Answer(%s) = %d, %v", seed, step, id, seq, ok)
				}
				if ok {
					want = slices.Delete(want, i, i+1)
				}
			}
			oldest, any := w.Oldest()
			if !slices.Equal(w.Unanswered(), want) || w.Room() != limit-len(want) || w.Empty() != (len(want) == 0) ||
				any != (len(want) > 0) || any && !oldest.Equal(t0.Add(time.Duration(want[0]))) {
				t.Fatalf("seed %d step %d: %v, room %d, oldest %v; want %v", seed, step, w.Unanswered(), w.Room(), oldest, want)
			}
		}
	}
}

// P3: one more than the limit, or the same id twice, is a broken invariant.
func TestWindowRefusesOneTooMany(t *testing.T) {
	panics := func(f func()) (yes bool) {
		defer func() { yes = recover() != nil }()
		f()
		return false
	}
	w := NewWindow(2)
	w.Add("a", "tokA", 1, t0)
	if !panics(func() { w.Add("a", "tokA", 2, t0) }) {
		t.Error("an id that is unanswered went in again")
	}
	w.Add("b", "tokA", 2, t0)
	if !panics(func() { w.Add("c", "tokA", 3, t0) }) {
		t.Error("a third went into a window of two")
	}
	w.Answer("a")
	w.Add("a", "tokA", 4, t0)
	if got := w.Unanswered(); !slices.Equal(got, []uint64{2, 4}) {
		t.Errorf("got %v", got)
	}
}

// Attempts count for the verdicts that time heals, and for no other.
func TestAfter(t *testing.T) {
	for v := range Acked + 1 {
		for _, attempts := range []int{1, 14, 15, 1000} {
			want := v
			if attempts >= 15 && (v == Retry || v == SlowDown) {
				want = Fail
			}
			if got := v.After(attempts, 15); got != want {
				t.Errorf("%v after %d of 15 attempts: %v, want %v", v, attempts, got, want)
			}
			if got := v.After(attempts, 0); got != v {
				t.Errorf("%v after %d attempts without a limit: %v", v, attempts, got)
			}
		}
	}
}

func TestVerdictNames(t *testing.T) {
	if got := fmt.Sprint(Retry, Resend, Isolate, Hold, SlowDown, Fail, Halt, Rest, Acked, Verdict(0)); got != "retry resend isolate hold slow down fail halt rest acked unknown" {
		t.Error(got)
	}
}

func TestExpiry(t *testing.T) {
	for _, c := range []struct {
		name    string
		after   time.Duration // of its expiry
		expired bool
		remains time.Duration
	}{
		{"an hour left", -time.Hour, false, time.Hour},
		{"part of a second is not sent", -1500 * time.Millisecond, false, time.Second},
		{"now or never, now", 0, false, 0},
		{"now or never, a moment later", 999 * time.Millisecond, false, 0},
		{"over", time.Second, true, 0},
		{"long over", time.Hour, true, 0},
	} {
		now := t0.Add(c.after)
		if got := Expired(now, t0); got != c.expired {
			t.Errorf("%s: expired %v", c.name, got)
		}
		if got := Remaining(now, t0); got == nil || *got != c.remains {
			t.Errorf("%s: remaining %v, want %v", c.name, got, c.remains)
		}
	}
	if Expired(t0, time.Time{}) || Remaining(t0, time.Time{}) != nil {
		t.Error("without an expiry there is nothing to expire, and no TTL to send")
	}
}

func BenchmarkWindow(b *testing.B) {
	w := NewWindow(100)
	ids := make([]string, 200)
	for i := range ids {
		ids[i] = fmt.Sprintf("01J0000000000000000000%04d", i)
	}
	for i := range 99 {
		w.Add(ids[i], "tokA", uint64(i), t0)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w.Add(ids[(i+99)%200], "tokA", 1, t0)
		w.Answer(ids[i%200])
	}
}
