package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/dgraph-io/ristretto/v2/z"

	"balhost/host/internal/state"
)

// filter recognizes most new messages without a read of the store. It holds the dedup
// keys of the last window in Bloom filters. A message that may be known is looked up
// in the store. The committer owns it.
//
// Each generation holds a fixed number of keys. The oldest is reused when its newest key
// has left the window. If none is that old, new keys are not added. As long as such a
// missing key is in the window, every message is looked up.
type filter struct {
	window      time.Duration
	generations []*generation // oldest first; the last is being filled
	most, each  int           // how many generations there may be, and keys in one
	missing     time.Time     // when the newest missing key was stored; zero: none is missing
	began       time.Time
}

// generation is a Bloom filter: a key is not in it, or may be in it.
type generation struct {
	keys   *z.Bloom
	n      int
	newest time.Time // of its keys
}

// All generations take 4 MiB; each is made when it is needed. When they are full, one
// new message in twelve is looked up for nothing (TestFilterIsMostlyRight). More bits for
// each key would make that rarer, but then fewer keys fit.
const (
	maxGenerations = 4
	generationKeys = 1 << 20
	bitsForAKey    = 8
	bitsOfAKey     = 5 // set for each key; more are no better
)

// newFilter makes a filter without the keys that were stored before. It reserves space
// for them until learn.
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

// add adds the key of a message that is stored now. Time never goes back between calls.
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

// learn adds the keys from before f began. Keys that old lacks stay missing.
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

// hash is a part of the digest at the end of the key.
func hash(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// The keys from before the start are read while the ledger is in use, in portions with a
// pause between them. Until all are read, every message is looked up.
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
			l.o.Log.Warn("read dedup keys: every message is looked up on disk", "err", err)
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

// dedupKeys gives f a portion of the keys from start on, and returns where to continue,
// nil at the end. f gets all keys that batch.known can find, and maybe more.
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

// learn gives the filter the keys from before the start, in its owner's goroutine.
type learn struct{ old *filter }

func (o *learn) weigh() (bytes, records int) { return 0, 0 }

func (o *learn) apply(b *batch) error {
	b.l.dedup.learn(o.old)
	return nil
}
