package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// Upgrade turns a state of an older schema into one of o.Schema. In the old one the memtable
// logs were synced and hold commits; in the new one only tables count. last finds the number
// of the last commit. The last write changes the schema. A power cut before it leaves a
// state of the old schema, which is upgraded again.
func Upgrade(o Options, last func(*Moment) (commit uint64, err error)) error {
	o = o.withDefaults()
	old, err := Schema(o.Dir)
	if err != nil {
		return err
	}
	w := &watch{log: o.Log}
	was := badgerOptions(&o, w).WithExternalMagic(old).WithSyncWrites(true)
	// As it was written: a log of a memtable of 16 MiB must be read whole.
	was = was.WithMemTableSize(max(int64(o.MemTable), 16<<20)).WithValueThreshold(1 << 20).WithNumMemtables(3)
	db, err := open(was, w)
	if err != nil {
		return err
	}
	err = db.Update(func(txn *badger.Txn) error {
		commit, err := last(&Moment{txn})
		if err != nil {
			return err
		}
		return txn.Set(keyApplied, binary.BigEndian.AppendUint64(nil, commit))
	})
	// Close makes tables of the memtables.
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := w.seen(); err != nil {
		return err
	}
	if err := SyncFolder(o.Dir); err != nil {
		return err
	}
	return setSchema(o.Dir, o.Schema)
}

// Relabel gives a state another schema, and changes nothing else: the program of that schema
// reads the records as they are. A power cut leaves the old schema or the new one.
func Relabel(dir string, schema uint16) error { return setSchema(dir, schema) }

// setSchema writes the schema's two bytes in MANIFEST; no checksum covers them.
func setSchema(dir string, schema uint16) error {
	f, err := os.OpenFile(filepath.Join(dir, badger.ManifestFilename), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.BigEndian.AppendUint16(nil, schema), 4)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the new schema: %w", err)
	}
	return nil
}
