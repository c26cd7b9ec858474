package state

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"unsafe"

	"github.com/dgraph-io/badger/v4"
)

// mark pairs a version of badger with a commit: when its tables hold the version, they hold
// everything up to the commit.
type mark struct{ commit, version uint64 }

// freeze hands the active layer to the writer. State.mu is held, and no layer is frozen.
func (s *State) freeze() {
	s.frozen = s.active
	s.active = newLayer(s.frozen)
	frozen := s.frozen
	s.writers.Go(func() error {
		err := s.write(frozen)
		s.mu.Lock()
		if err == nil {
			s.frozen = nil
		} else if s.err == nil {
			s.err = err
		}
		s.ended.Broadcast()
		s.mu.Unlock()
		if err != nil {
			s.o.Bad(err)
		}
		return nil
	})
}

// Flush writes all layers to badger.
func (s *State) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flush()
}

// flush writes all layers to badger; none is being written when it returns. State.mu is held.
func (s *State) flush() error {
	s.writing()
	if s.err == nil && s.active.bytes > 0 {
		s.freeze()
		s.writing()
	}
	return s.err
}

// writing waits until no layer is being written. State.mu is held.
func (s *State) writing() {
	for s.frozen != nil && s.err == nil {
		s.ended.Wait()
	}
}

// together is how many keys go into one transaction of badger.
const together = 128

// write puts a layer into badger, its commit last, and checks what has become durable. Badger
// inserts the keys of a transaction into its skiplist in any order. So a transaction has only a
// few neighbouring keys, and their places in the skiplist are in the processor's cache.
func (s *State) write(l *layer) error {
	var err error
	for keys := range slices.Chunk(slices.Sorted(maps.Keys(l.records)), together) {
		if err = s.writeSome(l, keys); err != nil {
			break
		}
	}
	if err == nil {
		err = s.db.Update(func(txn *badger.Txn) error {
			return txn.Set(keyApplied, binary.BigEndian.AppendUint64(nil, l.commit))
		})
	}
	if err != nil {
		return fmt.Errorf("apply commits up to %d: %w", l.commit, err)
	}
	s.since += l.bytes
	return s.look(l.commit)
}

func (s *State) writeSome(l *layer, keys []string) error {
	batch := s.db.NewWriteBatch()
	defer batch.Cancel()
	for _, key := range keys {
		r := l.records[key]
		b := unsafe.Slice(unsafe.StringData(key), len(key)) // badger copies it
		var err error
		if r.value == nil {
			err = batch.Delete(b)
		} else {
			err = batch.SetEntry(&badger.Entry{Key: b, Value: r.value, ExpiresAt: r.expires})
		}
		if err != nil {
			return err
		}
	}
	return batch.Flush()
}

// look reports which commits have become durable, and makes old ones durable if needed.
// Everything up to applied has been written.
func (s *State) look(applied uint64) error {
	durable := uint64(0)
	for _, t := range s.db.Tables() {
		durable = max(durable, t.MaxVersion)
	}
	if durable < s.mark.version {
		if s.since < s.o.Rotate {
			return nil
		}
		return s.rotate(applied)
	}
	if err := SyncFolder(s.o.Dir); err != nil { // badger doesn't do it for the first tables
		return err
	}
	if err := s.o.Durable(s.mark.commit); err != nil {
		return err
	}
	s.mark, s.since = mark{applied, s.db.MaxVersion()}, 0
	return nil
}

// rotate fills the memtable up, so that it becomes a table: badger has no call for that. The next
// compaction removes what it writes.
func (s *State) rotate(applied uint64) error {
	key, filler := []byte{0xff, 'f'}, make([]byte, min(256<<10, s.o.MemTable/16))
	s.mark, s.since = mark{applied, s.db.MaxVersion()}, 0
	for n := 0; n <= s.o.MemTable; n += len(filler) {
		if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(key, filler) }); err != nil {
			return fmt.Errorf("fill a memtable up: %w", err)
		}
	}
	return nil
}
