package state

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/dgraph-io/ristretto/v2/z"
)

// tableReader reads badger's tables without badger.
type tableReader struct {
	o     badger.Options
	keys  *badger.KeyRegistry
	index *ristretto.Cache[uint64, *fb.TableIndex] // badger needs it for encrypted tables; else nil
}

func newTableReader(o badger.Options) (r *tableReader, err error) {
	r = &tableReader{o: o}
	if len(o.EncryptionKey) == 0 {
		return r, nil
	}
	if r.keys, err = badger.OpenKeyRegistry(registryOptions(o)); err != nil {
		return nil, fmt.Errorf("read %s: %w", badger.KeyRegistryFileName, err)
	}
	r.index, err = ristretto.NewCache(&ristretto.Config[uint64, *fb.TableIndex]{NumCounters: 1000, MaxCost: 4 << 20, BufferItems: 64})
	return r, err
}

func (r *tableReader) close() {
	if r.index != nil {
		r.index.Close()
	}
}

// latest is the id of the data key that new files get; 0: they are not encrypted.
func (r *tableReader) latest() (id uint64, err error) {
	if r.keys == nil {
		return 0, nil
	}
	k, err := r.keys.LatestDataKey()
	return k.GetKeyId(), err
}

// check opens a table like badger does, but here a panic can be caught.
func (r *tableReader) check(path string, key uint64) error {
	return r.open(path, os.O_RDWR, key, func(*table.Table) error { return nil })
}

// each gives f the keys and values of a table, those of deleted records too, until f returns false.
func (r *tableReader) each(path string, key uint64, f func(key, value []byte) bool) error {
	return r.open(path, os.O_RDONLY, key, func(t *table.Table) error {
		it := t.NewIterator(table.NOCACHE)
		for it.Rewind(); it.Valid() && f(y.ParseKey(it.Key()), it.Value().Value); it.Next() {
		}
		return it.Close()
	})
}

func (r *tableReader) open(path string, flag int, key uint64, f func(*table.Table) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			text := strings.Join(strings.Fields(fmt.Sprint(p)), " ")
			err = errors.New(text[:min(len(text), 1<<10)])
		}
	}()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() < 16 {
		return errors.New("it is cut off")
	}
	o := table.Options{
		TableSize: uint64(r.o.BaseTableSize), BlockSize: r.o.BlockSize, BloomFalsePositive: r.o.BloomFalsePositive,
		ChkMode: r.o.ChecksumVerificationMode, Compression: r.o.Compression, IndexCache: r.index,
	}
	if r.keys != nil {
		if o.DataKey, err = r.keys.DataKey(key); err != nil {
			return err
		}
	}
	file, err := z.OpenMmapFile(path, flag, 0)
	if err != nil {
		return err
	}
	defer file.Close(-1) //nolint:errcheck // read only
	t, err := table.OpenTable(file, o)
	if err != nil {
		return err
	}
	return f(t)
}
