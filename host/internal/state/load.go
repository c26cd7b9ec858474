package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// ownKeys is the first byte of the keys that are the state's own.
const ownKeys = 0xff

// letGo is how many bytes Each reads before it begins a new iterator of the same moment. An old iterator
// keeps files and memtables that were replaced since.
const letGo = 32 << 20

// Each gives f all records as puts, in the order of keys. They are valid until f returns.
func (m *Moment) Each(f func(Change) error) error {
	var next []byte
	for more := true; more; {
		var err error
		if next, more, err = m.some(next, f); err != nil {
			return err
		}
	}
	return nil
}

// some gives f records from a key on, and returns where to continue.
func (m *Moment) some(from []byte, f func(Change) error) (next []byte, more bool, err error) {
	it := m.txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	seen := 0
	for it.Seek(from); it.Valid(); it.Next() {
		item := it.Item()
		c := Change{Key: item.Key(), Expires: item.ExpiresAt()}
		if len(c.Key) > 0 && c.Key[0] == ownKeys {
			return nil, false, nil
		}
		if seen > letGo {
			return append([]byte(nil), c.Key...), true, nil
		}
		err := item.Value(func(v []byte) error {
			c.Value = v
			return f(c)
		})
		if err != nil {
			return nil, false, err
		}
		seen += len(c.Key) + len(c.Value)
	}
	return nil, false, nil
}

// Size is about how many bytes the records of the state have, including recently deleted ones.
func (s *State) Size() (sum int64) {
	for _, t := range s.db.Tables() {
		sum += int64(t.UncompressedSize)
	}
	return sum
}

// Load makes a state in o.Dir from the records up to a commit. It first removes what is in that
// folder, the rest of an earlier try. fill calls put for each record; put copies it. The state is
// valid only when Load has returned nil; do not open it before.
func Load(o Options, commit uint64, fill func(put func(Change) error) error) (err error) {
	o = o.withDefaults()
	if err := empty(o.Dir); err != nil {
		return err
	}
	w := &watch{log: o.Log}
	db, err := open(badgerOptions(&o, w), w)
	if err != nil {
		return err
	}
	batch := db.NewWriteBatch()
	err = fill(func(c Change) error {
		if len(c.Key) == 0 || c.Key[0] == ownKeys || c.Delete {
			return fmt.Errorf("record %q can't be from a backup", c.Key)
		}
		return batch.SetEntry(&badger.Entry{Key: append([]byte(nil), c.Key...), Value: append([]byte(nil), c.Value...), ExpiresAt: c.Expires})
	})
	if err == nil {
		err = batch.Set(keyApplied, binary.BigEndian.AppendUint64(nil, commit))
	}
	if err == nil {
		err = batch.Flush()
	}
	batch.Cancel()
	if err = errors.Join(err, db.Close()); err != nil { // turns the memtables into tables
		return err
	}
	if err := w.seen(); err != nil {
		return err
	}
	return SyncFolder(o.Dir)
}

// empty makes a folder, or empties it while nobody else uses it.
func empty(dir string) (err error) {
	if err := MakeFolder(dir); err != nil {
		return err
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.RemoveAll(filepath.Join(dir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}
