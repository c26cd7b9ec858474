package ledger

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"balhost/host/internal/entry"
)

// dedupKey is the key of the i-th message: as far from the others' as a digest is.
func dedupKey(i uint64) []byte {
	mixed := rand.NewPCG(i, 0)
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 9), kindDedup), mixed.Uint64())
}

// P6: whatever the filter forgets, has no room for or learns late, it never rules
// out a key that was stored within the window.
func TestFilterRulesOutNothingKnown(t *testing.T) {
	const window, each = 48 * time.Hour, 1 << 12
	rnd := rand.New(rand.NewPCG(9, 9))
	start := time.Unix(1_700_000_000, 0)
	now := start
	old := &filter{window: window, most: maxGenerations - 1, each: each}
	const before = each * 3 / 2 // stored before the start
	for i := range uint64(before) {
		old.add(dedupKey(i), now)
	}
	f := newFilter(window, now)
	f.each = each
	var stored []time.Time
	for range before {
		stored = append(stored, now)
	}
	look := func(i uint64) {
		if now.Sub(stored[i]) < window && f.rulesOut(dedupKey(i), now) {
			t.Fatalf("after %s: %d of %d, stored %s ago, is ruled out", now.Sub(start), i, len(stored), now.Sub(stored[i]))
		}
	}
	phase := func(name string, n int, pace time.Duration, useful bool) {
		t.Helper()
		ruledOut := 0
		for range n {
			now = now.Add(time.Duration(rnd.Int64N(int64(2*pace) + 1)))
			i := uint64(len(stored))
			if f.rulesOut(dedupKey(i), now) {
				ruledOut++
			}
			f.add(dedupKey(i), now)
			stored = append(stored, now)
			look(rnd.Uint64N(i + 1))
			look(i - rnd.Uint64N(min(i, 1000)))
		}
		if got := float64(ruledOut) > 0.8*float64(n); got != useful {
			t.Errorf("%s: %d of %d new ones are ruled out", name, ruledOut, n)
		}
	}
	phase("before it has learned", 1000, time.Second, false)
	f.learn(old)
	phase("learned", 1000, time.Second, true)
	phase("with room", each, 10*time.Second, true)
	phase("more than find room", 3*each, time.Second, false)
	phase("and in the window after", 1000, time.Minute, false)
	now = now.Add(window)
	phase("a window later", each, 10*time.Second, true)
	phase("a little more than find room", 8*each, 8500*time.Millisecond, false)
	now = now.Add(window)
	phase("for weeks", 10*each, time.Minute, true)
	if n := len(f.generations); n > maxGenerations {
		t.Errorf("%d generations", n)
	}
}

// P6: when more was stored before the start than finds room, all is looked up until
// that has left the window; then the filter serves what came since.
func TestFilterWithTooManyFromBefore(t *testing.T) {
	const window, each = time.Hour, 64
	now := time.Unix(1_700_000_000, 0)
	old := &filter{window: window, most: maxGenerations - 1, each: each}
	for i := range uint64(maxGenerations * each) {
		old.add(dedupKey(i), now)
	}
	f := newFilter(window, now)
	f.each = each
	f.add(dedupKey(1<<32), now)
	f.learn(old)
	ruledOut := func(from uint64) (n int) {
		for i := range uint64(maxGenerations * each) {
			if f.rulesOut(dedupKey(from+i), now) {
				n++
			}
		}
		return n
	}
	now = now.Add(window - 1)
	for i := range uint64(2 * each) {
		f.add(dedupKey(1<<33+i), now)
	}
	if n := ruledOut(0); n != 0 {
		t.Errorf("%d that were stored within the window are ruled out", n)
	}
	now = now.Add(1)
	if n := ruledOut(1 << 40); n < 3*each {
		t.Errorf("%d of %d new ones are ruled out", n, maxGenerations*each)
	}
	for i := range uint64(2 * each) {
		if f.rulesOut(dedupKey(1<<33+i), now) {
			t.Fatalf("the %d-th since the start is ruled out", i)
		}
	}
}

// A full filter still rules out eleven in twelve of what is new.
func TestFilterIsMostlyRight(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := &filter{window: time.Hour, most: maxGenerations, each: generationKeys / 16}
	for i := range uint64(maxGenerations * f.each) {
		f.add(dedupKey(i), now)
	}
	if !f.missing.IsZero() {
		t.Fatal("it has no room for its own size")
	}
	wrong, asked := 0, 200_000
	for i := range uint64(asked) {
		if !f.rulesOut(dedupKey(1<<40+i), now) {
			wrong++
		}
	}
	rate := float64(wrong) / float64(asked)
	t.Logf("%d keys in %d KiB: %.2f %% of new ones are not ruled out", maxGenerations*f.each, maxGenerations*f.each*bitsForAKey>>13, 100*rate)
	if rate > 0.09 {
		t.Errorf("%.2f %% of new ones are not ruled out", 100*rate)
	}
}

// P6: after a restart messages are known again before the filter has read the
// keys and after; then it rules out what is new.
func TestFilterLearnsAfterARestart(t *testing.T) {
	l := open(t, t.TempDir())
	const n = 250
	for i := range n {
		l.Accept(entry.Inbound{Upstream: upstream("tok", fmt.Sprint(i), `{}`)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	l = reopen(t, l)
	keys, looks := map[string]bool{}, 0
	for next := []byte{kindDedup}; next != nil; looks++ {
		var err error
		if next, err = l.dedupKeys(next, 100, func(key []byte) { keys[string(key)] = true }); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys) != n || looks != 3 {
		t.Errorf("%d keys in %d looks of 100; %d were stored", len(keys), looks, n)
	}
	again := func() {
		t.Helper()
		was := l.Counts().Duplicates
		for _, i := range []int{0, n / 2, n - 1} {
			if err := accept(t, l, "tok", fmt.Sprint(i), `{}`); err != nil {
				t.Fatal(err)
			}
		}
		if got := l.Counts().Duplicates - was; got != 3 {
			t.Fatalf("%d of 3 are known", got)
		}
	}
	again()
	ruledOut := func() (out int) {
		if err := l.wait(look(func(b *batch) {
			for i := range uint64(1000) {
				if b.l.dedup.rulesOut(dedupKey(i), b.now) {
					out++
				}
			}
		})); err != nil {
			t.Fatal(err)
		}
		return out
	}
	until(t, "it rules out what is new", func() bool { return ruledOut() > 900 })
	again()
}

// look is an operation that changes nothing.
type look func(*batch)

func (o look) weigh() (bytes, records int) { return 0, 0 }
func (o look) apply(b *batch) error        { o(b); return nil }

// BenchmarkFilter asks a full filter for what is new.
func BenchmarkFilter(b *testing.B) {
	now := time.Unix(1_700_000_000, 0)
	f := &filter{window: time.Hour, most: maxGenerations, each: generationKeys}
	keys := make([][]byte, 1<<16)
	for i := range uint64(maxGenerations*generationKeys - 1) {
		f.add(dedupKey(i), now)
	}
	for i := range keys {
		keys[i] = dedupKey(1<<40 + uint64(i))
	}
	i, wrong := 0, 0
	cpu := cpuTime(b)
	for b.Loop() {
		if !f.rulesOut(keys[i%len(keys)], now) {
			wrong++
		}
		i++
	}
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(i), "cpu-ns/op")
	b.ReportMetric(100*float64(wrong)/float64(i), "%looked-up")
}
