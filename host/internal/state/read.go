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
		return true, f(r.value) // part of a frame: it stays valid
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

// View is the state that the committer sees between two calls of Apply. Values are
// valid until End.
type View struct {
	s              *State
	active, frozen *layer
	txn            *badger.Txn // nil: badger was not read yet
}

// View makes a view for the committer; Begin starts it.
func (s *State) View() *View { return &View{s: s} }

// Begin starts to read the state as it is now.
func (v *View) Begin() {
	v.s.mu.RLock()
	defer v.s.mu.RUnlock()
	v.active, v.frozen = v.s.active, v.s.frozen
}

// End releases what was read.
func (v *View) End() {
	if v.txn != nil {
		v.txn.Discard()
	}
	v.active, v.frozen, v.txn = nil, nil, nil
}

// Get reads a record. It takes no lock: only the committer changes the layers that Begin found.
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
	err = item.Value(func(b []byte) error { value = b; return nil }) // valid until End, because nothing is in the value log
	return value, err == nil, err
}

// GetExpired reads a record that badger considers expired, when the wall clock is ahead.
// The record is there until badger rewrites its table.
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

// Moment is the state at one moment.
type Moment struct{ txn *badger.Txn }

// Moment writes all layers to badger, and gives f the state at this moment. It has complete
// commits only. While f runs, badger can't free the space of deleted records.
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

// moment reads badger between two layers, because it would see only a part of a layer being written.
func (s *State) moment() (*badger.Txn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looking++ // Apply freezes no layer that this would have to wait for
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

// Scan gives f the records from start on, in the order of keys, while they have the
// prefix and f returns true. Keys and values are valid until f returns.
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

// Keys gives f the keys from start on, as Scan does. They include keys of records that are
// deleted, or that badger considers expired (see GetExpired).
func (m *Moment) Keys(prefix, start []byte, f func(key []byte) (more bool)) {
	it := m.txn.NewIterator(badger.IteratorOptions{Prefix: prefix, AllVersions: true})
	defer it.Close()
	for it.Seek(start); it.Valid() && f(it.Item().Key()); it.Next() {
	}
}

// gate lets readers use badger until it is shut. shut waits for those inside, because
// badger must not be closed while they read.
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
