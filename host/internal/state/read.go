package state

import (
	"errors"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// Get gives the value of a key to f, valid until f returns, and reports whether there is one.
func (s *State) Get(key []byte, f func(value []byte) error) (found bool, err error) {
	if !s.reading.enter() {
		return false, ErrClosed
	}
	defer s.reading.leave()
	s.mu.RLock()
	r, known := s.active.records[text(key)]
	if !known && s.frozen != nil {
		r, known = s.frozen.records[text(key)]
	}
	s.mu.RUnlock()
	if known {
		if r.value == nil {
			return false, nil
		}
		return true, f(r.value) // a frame's: it stays
	}
	err = s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		found = true
		return item.Value(f)
	})
	return found, err
}

// View is the state as the committer sees it between two calls of Apply. Values
// are valid until End.
type View struct {
	s              *State
	active, frozen *layer
	txn            *badger.Txn // nil: badger was not asked yet
}

// View makes a view for the committer; Begin starts it.
func (s *State) View() *View { return &View{s: s} }

// Begin looks at the state as it is now.
func (v *View) Begin() {
	v.s.mu.RLock()
	defer v.s.mu.RUnlock()
	v.active, v.frozen = v.s.active, v.s.frozen
}

// End lets go of what was read.
func (v *View) End() {
	if v.txn != nil {
		v.txn.Discard()
	}
	v.active, v.frozen, v.txn = nil, nil, nil
}

// Get reads a record. It takes no lock: the layers that Begin found are changed by the committer alone.
func (v *View) Get(key []byte) (value []byte, found bool, err error) {
	r, known := v.active.records[text(key)]
	if !known && v.frozen != nil {
		r, known = v.frozen.records[text(key)]
	}
	if known {
		return r.value, r.value != nil, nil
	}
	item, err := v.badger().Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, err
	}
	err = item.Value(func(b []byte) error { value = b; return nil }) // valid until End: nothing is in the value log
	return value, err == nil, err
}

// GetExpired reads a record that badger takes for expired, by a wall clock that
// is ahead: until it rewrites the table, the record is there.
func (v *View) GetExpired(key []byte) (value []byte, found bool, err error) {
	it := v.badger().NewKeyIterator(key, badger.IteratorOptions{AllVersions: true})
	defer it.Close()
	if it.Rewind(); !it.Valid() {
		return nil, false, nil
	}
	value, err = it.Item().ValueCopy(nil)
	return value, err == nil, err
}

func (v *View) badger() *badger.Txn {
	if v.txn == nil {
		v.txn = v.s.db.NewTransaction(false)
	}
	return v.txn
}

// Moment is the state of one moment.
type Moment struct{ txn *badger.Txn }

// Moment writes what there is to badger, and gives that moment to f, all of each commit or
// nothing of it. While f runs badger makes no room of what is deleted.
func (s *State) Moment(f func(*Moment) error) error {
	if !s.reading.enter() {
		return ErrClosed
	}
	defer s.reading.leave()
	txn, err := s.moment()
	if err != nil {
		return err
	}
	defer txn.Discard()
	return f(&Moment{txn})
}

// moment looks at badger between two layers: of one that is being written it would see a part.
func (s *State) moment() (*badger.Txn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looking++ // Apply begins no layer that we would have to wait for
	defer func() {
		s.looking--
		s.ended.Broadcast()
	}()
	if err := s.flush(); err != nil {
		return nil, err
	}
	return s.db.NewTransaction(false), nil
}

// Get gives the value of a key to f, valid until f returns, and reports whether there is one.
func (m *Moment) Get(key []byte, f func(value []byte) error) (found bool, err error) {
	item, err := m.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, item.Value(f)
}

// Scan gives the records from start on to f, in the order of keys, while they have
// the prefix and f returns true. Keys and values are valid until f returns.
func (m *Moment) Scan(prefix, start []byte, f func(key, value []byte) (more bool, err error)) error {
	it := m.txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	for it.Seek(start); it.Valid(); it.Next() {
		item := it.Item()
		more := false
		err := item.Value(func(v []byte) (err error) {
			more, err = f(item.Key(), v)
			return err
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// Keys gives the keys from start on to f as Scan does, and among them those of records
// that are deleted or that badger takes for expired, see GetExpired.
func (m *Moment) Keys(prefix, start []byte, f func(key []byte) (more bool)) {
	it := m.txn.NewIterator(badger.IteratorOptions{Prefix: prefix, AllVersions: true})
	defer it.Close()
	for it.Seek(start); it.Valid() && f(it.Item().Key()); it.Next() {
	}
}

// gate lets readers of badger in until it is shut, and shut wait for those inside:
// badger must not be closed under them.
type gate struct {
	mu     sync.RWMutex
	isShut bool
}

func (g *gate) enter() bool {
	g.mu.RLock()
	if g.isShut {
		g.mu.RUnlock()
		return false
	}
	return true
}

func (g *gate) leave() { g.mu.RUnlock() }

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isShut = true
}
