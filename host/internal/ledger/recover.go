package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/oklog/ulid/v2"
)

// schema is the version of keys and records. It stands in badger's MANIFEST,
// so that an older program does not open what it cannot read, and in the
// ledger's own record. Records carry a format of their own besides.
const schema = 2

// badgerOptions are reasoned in notes/badger.md §4: one sync for each commit,
// values in the tree and never in the value log, small memtables for a small
// log and quick recovery, checksums read when a table is opened.
func badgerOptions(dir string) badger.Options {
	return badger.DefaultOptions(dir).WithSyncWrites(true).WithDetectConflicts(false).WithNumVersionsToKeep(1).
		WithMemTableSize(16 << 20).WithNumMemtables(3).WithNumLevelZeroTables(2).WithNumLevelZeroTablesStall(8).WithNumCompactors(2).
		WithBaseTableSize(4 << 20).WithBaseLevelSize(10 << 20).WithValueThreshold(1 << 20).WithValueLogFileSize(16 << 20).
		WithCompression(options.None).WithBlockCacheSize(0).WithIndexCacheSize(0).
		WithChecksumVerificationMode(options.OnTableRead).WithNumGoroutines(1).WithMetricsEnabled(false).
		WithCompactL0OnClose(false).WithExternalMagic(schema)
}

// light makes a store's options those of Options.Light.
func light(o badger.Options) badger.Options {
	return o.WithSyncWrites(false).WithMemTableSize(1 << 20).WithValueThreshold(128 << 10).WithValueLogFileSize(1 << 20).
		WithNumCompactors(0).WithNumLevelZeroTablesStall(1000)
}

// openBadger checks what would make badger panic or leave tables out, then opens it.
func openBadger(l Options, w *watch) (_ *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("badger cannot read its files (restore a backup, or ask for help with a copy): %v", p)
		}
	}()
	dir := l.db()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	o := badgerOptions(dir).WithLogger(w)
	if l.Light {
		o = light(o)
	}
	if err := preflight(dir, o); err != nil {
		return nil, err
	}
	db, err := badger.Open(o)
	if err != nil && strings.Contains(err.Error(), "directory lock") {
		return nil, fmt.Errorf("another balhost runs on this data_dir, or may not yet have ended: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if err := w.seen(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// logName is what badger calls the files that keep it from opening when they are empty.
var logName = regexp.MustCompile(`^([0-9]{5,}\.mem|[0-9]{6,}\.vlog|` + badger.KeyRegistryFileName + `)$`)

// preflight looks for damage of which badger makes too much or too little:
// empty files, which hold nothing, keep it from opening; a damaged table makes it
// panic where nobody can recover, or is left out with what it holds.
func preflight(dir string, o badger.Options) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !logName.MatchString(f.Name()) {
			continue
		}
		if info, err := f.Info(); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	manifest, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return noTables(files)
	} else if err != nil {
		return err
	}
	defer manifest.Close()
	if err := checkMagic(manifest); err != nil {
		return err
	}
	m, _, err := badger.ReplayManifestFile(manifest, schema, o)
	if err != nil {
		return fmt.Errorf("read MANIFEST (restore a backup): %w", err)
	}
	for id := range m.Tables {
		if err := checkTable(table.NewFilename(id, dir), o); err != nil {
			return fmt.Errorf("table %06d.sst is damaged (restore a backup): %w", id, err)
		}
	}
	return nil
}

// noTables refuses a store whose MANIFEST is gone: badger would delete its tables.
func noTables(files []os.DirEntry) error {
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".sst") {
			return errors.New("MANIFEST is missing but tables are there: restore a backup")
		}
	}
	return nil
}

// checkMagic refuses other schemas before badger does, in words that help.
// MANIFEST begins with "Bdgr", our version, badger's version.
func checkMagic(manifest *os.File) error {
	var head [8]byte
	if _, err := manifest.ReadAt(head[:], 0); err != nil || string(head[:4]) != "Bdgr" {
		return errors.New("MANIFEST is damaged: restore a backup")
	}
	return checkSchema(uint64(binary.BigEndian.Uint16(head[4:])))
}

func checkSchema(found uint64) error {
	if found > schema {
		return fmt.Errorf("it was written by a newer balhost (schema %d, this one knows %d): run that one", found, schema)
	}
	if found < schema {
		return fmt.Errorf("it was written by a balhost of before the first release (schema %d, this one reads %d): finish its messages with that one, then move the folder away", found, schema)
	}
	return nil
}

// checkTable opens a table as badger will, where a panic can be caught.
func checkTable(path string, o badger.Options) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New(clip(strings.Join(strings.Fields(fmt.Sprint(p)), " "), maxNote))
		}
	}()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() < 16 {
		return errors.New("it is cut off")
	}
	f, err := z.OpenMmapFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close(-1) //nolint:errcheck // read only
	_, err = table.OpenTable(f, table.Options{
		TableSize: uint64(o.BaseTableSize), BlockSize: o.BlockSize, BloomFalsePositive: o.BloomFalsePositive,
		ChkMode: o.ChecksumVerificationMode, Compression: o.Compression,
	})
	return err
}

// recover makes memory say what the disk says, and checks that against what
// the ledger was told to remember.
func (l *Ledger) recover(ctx context.Context) error {
	if err := l.loadMeta(); err != nil {
		return err
	}
	if err := l.startClock(); err != nil {
		return err
	}
	seen, err := l.commits.read()
	if err != nil {
		return err
	}
	if seen.commit > l.tally.commit {
		l.alarm(fmt.Sprintf("commit %d was acknowledged, the last on disk is %d; what CCS was told is stored may be gone", seen.commit, l.tally.commit))
		l.tally.seq = max(l.tally.seq, seen.seq) + 1<<16 // no seq is given out twice
		l.tally.commit = seen.commit
	}
	l.ids = newIDs(l.tally.lastID)
	err = l.db.View(func(txn *badger.Txn) error {
		for _, load := range []func(context.Context, *badger.Txn) error{l.loadEvents, l.loadDownstreams, l.loadStates, l.loadOwners} {
			if err := load(ctx, txn); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"pending events", l.events.live, l.tally.counts.Events},
		{"pending downstreams", l.sent.live, l.tally.counts.Downstreams},
	} {
		if c.got != c.want {
			l.alarm(fmt.Sprintf("%d %s are on disk, %d should be", c.got, c.what, c.want))
		}
	}
	l.tally.counts.Events, l.tally.counts.Downstreams = l.events.live, l.sent.live
	return nil
}

// loadMeta reads the schema and the tally, or makes them in a new store.
func (l *Ledger) loadMeta() error {
	return l.db.Update(func(txn *badger.Txn) error {
		get := func(key []byte) (r reader, err error) {
			item, err := txn.Get(key)
			if err != nil {
				return reader{}, err
			}
			record, err := item.ValueCopy(nil)
			if err != nil {
				return reader{}, err
			}
			return unseal(key, record)
		}
		r, err := get(keySchema)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return l.makeMeta(txn)
		} else if err != nil {
			return err
		}
		if err := checkSchema(r.uvarint()); err != nil {
			return err
		}
		if r, err = get(keyCounter); err != nil {
			return fmt.Errorf("read the counters: %w", err)
		}
		l.tally = readTally(&r)
		return r.done()
	})
}

func (l *Ledger) makeMeta(txn *badger.Txn) error {
	now := l.o.Now()
	id := newIDs(ulid.ULID{}).next(now)
	record := binary.AppendUvarint([]byte{format}, schema)
	record = appendTime(record, now)
	record = append(record, id[:]...) // the store's own
	if err := txn.Set(keySchema, sealRecord(record, 0, keySchema)); err != nil {
		return err
	}
	record = appendTally(nil, l.tally, now)
	return txn.Set(keyCounter, sealRecord(record, 0, keyCounter))
}

// load gives each record of a kind, from start on, to f.
func load(ctx context.Context, txn *badger.Txn, start []byte, f func(key []byte, r *reader) error) error {
	return scan(txn, start[:1], start, forever, func(key, record []byte) (bool, error) {
		r, err := unseal(key, record)
		if err != nil {
			return false, err
		}
		if err := f(key, &r); err != nil {
			return false, err
		}
		return true, errors.Join(r.done(), ctx.Err())
	})
}

func seqOf(key []byte) (uint64, error) {
	if len(key) != 9 {
		return 0, corrupt(key)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

// loadPages lists the pages of one kind, and counts what of them is pending.
func (l *Ledger) loadPages(ctx context.Context, txn *badger.Txn, x *index, low uint64) error {
	return load(ctx, txn, appendSeqKey(nil, x.kind, low), func(key []byte, r *reader) error {
		first, err := seqOf(key)
		if err != nil {
			return err
		}
		s := stub{seq: first}
		r.slots(first, func(int, uint64, lent) bool { s.n++; return true })
		if s.live = s.n; s.n > 1 { // else it would be gone
			item, err := txn.Get(appendSeqKey(nil, kindEnded, first))
			if err == nil {
				s.marked = true
				err = item.Value(func(v []byte) error {
					er, err := unseal(item.Key(), v)
					p := page{ended: readEnded(&er)}
					for slot := range int(s.n) {
						if !p.has(slot) {
							s.live--
						}
					}
					return errors.Join(err, er.done())
				})
			}
			if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
				return err
			}
		}
		if s.live > 0 {
			x.list(s)
		} else if !r.bad {
			l.alarm(fmt.Sprintf("page %d holds nothing pending", first))
		}
		return nil
	})
}

func (l *Ledger) loadEvents(ctx context.Context, txn *badger.Txn) error {
	return l.loadPages(ctx, txn, &l.events, l.tally.lowEvents)
}

func (l *Ledger) loadDownstreams(ctx context.Context, txn *badger.Txn) error {
	return l.loadPages(ctx, txn, &l.sent, l.tally.lowSent)
}

// loadStates notes of which pages entries may have been tried. Whose each is
// shows when the page is read: pages of events and of downstreams lie among each other.
func (l *Ledger) loadStates(ctx context.Context, txn *badger.Txn) error {
	low := min(l.tally.lowEvents, l.tally.lowSent)
	return load(ctx, txn, appendSeqKey(nil, kindState, low), func(key []byte, r *reader) error {
		seq, err := seqOf(key)
		if err != nil {
			return err
		}
		readState(r)
		found := false
		for _, x := range []*index{&l.events, &l.sent} {
			if s := x.stub(seq); s != nil {
				s.tried, found = true, true
			}
		}
		if !found {
			l.alarm(fmt.Sprintf("entry %d has attempts but is not there", seq))
		}
		return nil
	})
}

func (l *Ledger) loadOwners(ctx context.Context, txn *badger.Txn) error {
	return load(ctx, txn, []byte{kindOwner}, func(key []byte, r *reader) error {
		l.owners[string(key[1:])] = string(r.take(uint64(len(r.b))))
		return nil
	})
}
