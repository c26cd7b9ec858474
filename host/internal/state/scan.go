package state

import (
	"bytes"
	"slices"
	"strings"
	"unsafe"

	"github.com/dgraph-io/badger/v4"
)

// Span says which records a scan reads: at most Most of those whose keys have the prefix,
// from Start on. The prefix begins with one of the bytes of Options.Ordered.
type Span struct {
	Prefix, Start []byte
	Most          int
	// Back is for the opposite order: from the last key that is less than Start. With no
	// Start it is from the last one that has the prefix.
	Back bool
}

// Scan gives f the records of a span, in its order of keys, while f returns true. They are of
// one moment. Keys and values are valid until f returns. It writes no layer to badger, and
// doesn't hold up commits while f runs.
func (s *State) Scan(span Span, f func(key, value []byte) (more bool, err error)) error {
	if !s.reading.enter() {
		return ErrClosed
	}
	defer s.reading.leave()
	for {
		s.mu.RLock()
		active, recent := s.active, recentOf(s.active, s.frozen, span)
		s.mu.RUnlock()
		txn := s.db.NewTransaction(false)
		s.mu.RLock()
		same := s.active == active // so badger has nothing that came after recent
		s.mu.RUnlock()
		if same {
			defer txn.Discard()
			return span.merge(recent, txn, f)
		}
		txn.Discard()
	}
}

// Scan reads a span as State.Scan does, and sees what Get sees.
func (v *View) Scan(span Span, f func(key, value []byte) (more bool, err error)) error {
	return span.merge(recentOf(v.active, v.frozen, span), v.badger(), f)
}

// change is the last change of a key in the layers.
type change struct {
	key   string
	value []byte // nil: deleted
}

// recentOf returns what the layers say about a span, in its order. It has all that a scan
// needs to find Most records.
func recentOf(active, frozen *layer, span Span) []change {
	all := active.in(span, nil)
	if frozen == nil {
		return all
	}
	all = append(all, frozen.in(span, active)...)
	slices.SortFunc(all, func(a, b change) int { return span.compare(a.key, b.key) })
	return all
}

// merge gives f what badger has, with the recent changes over it.
func (span Span) merge(recent []change, txn *badger.Txn, f func(key, value []byte) (bool, error)) error {
	it := span.iterator(txn)
	defer it.Close()
	for left, more, err := span.Most, true, error(nil); left > 0 && more; left-- {
		for len(recent) > 0 && recent[0].value == nil && span.isNext(&recent[0], it) { // deleted
			recent[0].passed(it)
			recent = recent[1:]
		}
		switch {
		case len(recent) > 0 && span.isNext(&recent[0], it):
			c := recent[0]
			more, err = f(unsafe.Slice(unsafe.StringData(c.key), len(c.key)), c.value)
			c.passed(it)
			recent = recent[1:]
		case it.ValidForPrefix(span.Prefix):
			item := it.Item()
			err = item.Value(func(v []byte) (err error) {
				more, err = f(item.Key(), v)
				return err
			})
			it.Next()
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// iterator stands at the first key of the span that badger has.
func (span Span) iterator(txn *badger.Txn) *badger.Iterator {
	if !span.Back {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: span.Prefix})
		it.Seek(span.from())
		return it
	}
	it, end := txn.NewIterator(badger.IteratorOptions{Reverse: true}), span.from() // end may not have the prefix
	if it.Seek(end); it.Valid() && bytes.Equal(it.Item().Key(), end) {
		it.Next()
	}
	return it
}

// compare is less than 0 if a comes before b in the span.
func (span Span) compare(a, b string) int {
	if span.Back {
		return strings.Compare(b, a)
	}
	return strings.Compare(a, b)
}

// isNext reports whether the change is of a key that comes before all that the iterator has left,
// or is its next one.
func (span Span) isNext(c *change, it *badger.Iterator) bool {
	return !it.ValidForPrefix(span.Prefix) || span.compare(c.key, text(it.Item().Key())) <= 0
}

// passed moves the iterator on if it is at the change's key.
func (c *change) passed(it *badger.Iterator) {
	if it.Valid() && c.key == text(it.Item().Key()) {
		it.Next()
	}
}

// from is the first key that can be in the span; with Back, the first one that can't.
func (span Span) from() []byte {
	switch {
	case span.Back && (len(span.Start) == 0 || !bytes.HasPrefix(span.Start, span.Prefix) && bytes.Compare(span.Start, span.Prefix) > 0):
		return after(span.Prefix)
	case !span.Back && bytes.Compare(span.Start, span.Prefix) < 0:
		return span.Prefix
	}
	return span.Start
}

// after is the first key that is greater than all that have the prefix. The prefix has a byte
// that is not 0xff.
func after(prefix []byte) []byte {
	next := bytes.TrimRight(prefix, "\xff")
	next = bytes.Clone(next)
	next[len(next)-1]++
	return next
}

// in returns what the layer says about a span, up to the Most-th record. It leaves out what a
// newer layer says otherwise; nil: there is none.
func (l *layer) in(span Span, newer *layer) (out []change) {
	left, from := span.Most, text(span.from())
	each := func(key string) bool {
		if span.Back && key == from {
			return true
		}
		if left == 0 || !strings.HasPrefix(key, text(span.Prefix)) {
			return false
		}
		if newer != nil {
			if _, known := newer.records[key]; known {
				return true
			}
		}
		c := change{key, l.records[key].value}
		if c.value != nil {
			left--
		}
		out = append(out, c)
		return true
	}
	if span.Back {
		l.ordered.DescendLessOrEqual(from, each)
	} else {
		l.ordered.AscendGreaterOrEqual(from, each)
	}
	return out
}
