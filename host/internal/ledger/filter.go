package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/dgraph-io/ristretto/v2/z"

	"balhost/host/internal/state"
)

// filter rules out that a message was stored before, for most that were not,
// without a look into the store: it has the dedup keys of the last window in Bloom
// filters. What it does not rule out is looked up. The committer owns it.
//
// Each generation takes so many keys. The oldest is used again when its newest key
// has left the window; when none is that old keys are left out, and as long as one
// of these is in the window, everything is looked up.
type filter struct {
	window      time.Duration
	generations []*generation // oldest first; the last is being filled
	most, each  int           // how many there may be, and keys in one
	missing     time.Time     // when the newest key was stored that is in none; zero: all are
	began       time.Time
}

// generation says of a key that it is not among its own, or may be.
type generation struct {
	keys   *z.Bloom
	n      int
	newest time.Time // of its keys
}

// They take 4 MiB in all, each made when it is needed. Once they are full, one new
// message in twelve is looked up for nothing (TestFilterIsMostlyRight); more bits
// to a key would make it fewer, and the messages that find room fewer too.
const (
	maxGenerations = 4
	generationKeys = 1 << 20
	bitsForAKey    = 8
	bitsOfAKey     = 5 // that it sets; more are no better
)

// newFilter has none of the keys that were stored until now. Until learn, it leaves
// room for them.
func newFilter(window time.Duration, now time.Time) *filter {
	return &filter{window: window, most: 1, each: generationKeys, missing: now, began: now}
}

// rulesOut reports that this key was not stored within the window.
func (f *filter) rulesOut(key []byte, now time.Time) bool {
	if now.Sub(f.missing) < f.window {
		return false
	}
	for _, g := range f.generations {
		if g.keys.Has(hash(key)) {
			return false
		}
	}
	return true
}

// add takes the key of what is stored now, which is never before the last one's.
func (f *filter) add(key []byte, now time.Time) {
	n := len(f.generations)
	if n == 0 || f.generations[n-1].n == f.each {
		switch {
		case n < f.most:
			f.generations = append(f.generations, &generation{keys: z.NewBloomFilter(float64(f.each*bitsForAKey), bitsOfAKey)})
		case now.Sub(f.generations[0].newest) >= f.window:
			oldest := f.generations[0]
			oldest.keys.Clear()
			oldest.n = 0
			copy(f.generations, f.generations[1:])
			f.generations[n-1] = oldest
		default:
			f.missing = now
			return
		}
	}
	g := f.generations[len(f.generations)-1]
	g.keys.Add(hash(key))
	g.n++
	g.newest = now
}

// learn takes over the keys from before f began. Does old lack some, they stay missing.
func (f *filter) learn(old *filter) {
	f.most = maxGenerations
	if !old.missing.IsZero() {
		return
	}
	f.generations = append(old.generations, f.generations...)
	if f.missing.Equal(f.began) {
		f.missing = time.Time{}
	}
}

// hash is a part of the digest in which the key ends.
func hash(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// The keys from before the start are read while the ledger is in use, in looks at
// so many, with a pause for others: until then everything is looked up.
const (
	rememberKeys  = 1 << 16
	rememberPause = 100 * time.Millisecond
)

// remember reads the dedup keys that were stored before the start, for the filter.
func (l *Ledger) remember(ctx context.Context) error {
	now, _ := l.clock.now()
	old := &filter{window: l.o.DedupWindow, most: maxGenerations - 1, each: generationKeys}
	for next := []byte{kindDedup}; ; time.Sleep(rememberPause) {
		var err error
		if next, err = l.dedupKeys(next, rememberKeys, func(key []byte) { old.add(key, now) }); err != nil {
			l.o.Log.Warn("read dedup keys, to know what is new: all is looked up", "err", err)
			return nil
		}
		if next == nil || !old.missing.IsZero() {
			_ = l.wait(&learn{old}) // an error: it closes
			return nil
		}
		if ctx.Err() != nil || l.failed() != nil {
			return nil
		}
	}
}

// dedupKeys gives so many keys from start on to f, and returns where to go on, nil
// at the end. It gives whatever batch.known could find, and may give more.
func (l *Ledger) dedupKeys(start []byte, most int, f func(key []byte)) (next []byte, err error) {
	err = closedAs(l.state.Moment(func(m *state.Moment) error {
		m.Keys(start[:1], start, func(key []byte) bool {
			if most--; most < 0 {
				next = bytes.Clone(key)
				return false
			}
			f(key)
			return true
		})
		return nil
	}))
	return next, err
}

// learn gives the filter, in its owner's goroutine, the keys from before the start.
type learn struct{ old *filter }

func (o *learn) weigh() (bytes, records int) { return 0, 0 }

func (o *learn) apply(b *batch) error {
	b.l.dedup.learn(o.old)
	return nil
}
