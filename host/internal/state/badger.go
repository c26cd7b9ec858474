package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"golang.org/x/sys/unix"
)

// badgerOptions: notes/badger.md §4 has the reasons. Values are in the tree, never in the
// value log. Memtables are small, for little memory and quick recovery. Opening a table
// reads its checksums. No write is synced, because the journal is. Compaction waits for
// eight tables, since each one rewrites the whole level below: for a million messages that
// writes 250 MB of tables; with two tables it would be 470 MB.
func badgerOptions(o *Options, w *watch) badger.Options {
	b := badger.DefaultOptions(o.Dir).WithLogger(w).WithSyncWrites(false).WithDetectConflicts(false).WithNumVersionsToKeep(1).
		WithMemTableSize(int64(o.MemTable)).WithNumMemtables(2).WithNumLevelZeroTables(8).WithNumLevelZeroTablesStall(20).WithNumCompactors(2).
		WithBaseTableSize(2 << 20).WithBaseLevelSize(32 << 20).WithValueThreshold(min(1<<20, int64(o.MemTable)/8)).WithValueLogFileSize(1 << 20).
		WithCompression(options.None).WithBlockCacheSize(0).WithIndexCacheSize(0).
		WithChecksumVerificationMode(options.OnTableRead).WithNumGoroutines(1).WithMetricsEnabled(false).
		WithCompactL0OnClose(false).WithExternalMagic(o.Schema)
	if o.Light {
		b = b.WithNumCompactors(0).WithNumLevelZeroTablesStall(1000)
	}
	return encrypted(b, o.Key)
}

// openBadger removes files that prove nothing, checks for what would make badger panic or leave tables out, and opens it.
func openBadger(o *Options, w *watch) (_ *badger.DB, err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	found, err := Schema(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := CheckKey(o.Dir, o.Key); err != nil {
		return nil, err
	}
	if found == o.Schema {
		if err := dropLogs(o.Dir); err != nil {
			return nil, err
		}
	}
	return open(badgerOptions(o, w), w)
}

// open checks the files and opens them.
func open(o badger.Options, w *watch) (_ *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("badger cannot read its files (restore a backup, or ask for help with a copy): %v", p)
		}
	}()
	if err := preflight(o.Dir, o); err != nil {
		return nil, err
	}
	db, err := badger.Open(o)
	if err != nil && strings.Contains(err.Error(), "directory lock") {
		return nil, errBusy(err)
	}
	if err != nil {
		return nil, err
	}
	if err := w.seen(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func errBusy(err error) error {
	return fmt.Errorf("another balhost runs on this data_dir, or has not ended yet: %w", err)
}

// lock takes the lock that badger takes, for as long as badger does not run.
func lock(dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(errBusy(err), f.Close())
	}
	return f.Close, nil
}

// Busy reports whether another process has the database in a folder open.
func Busy(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // only locked
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// memtableLog matches badger's names for the logs of its memtables.
var memtableLog = regexp.MustCompile(`^[0-9]{5,}\.mem$`)

// dropLogs removes the logs of memtables, which prove nothing (see doc.go). It removes only badger's own names.
func dropLogs(dir string) (err error) {
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
		if memtableLog.MatchString(f.Name()) && f.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// logName matches badger's names for files that prevent opening when they are empty.
var logName = regexp.MustCompile(`^([0-9]{5,}\.mem|[0-9]{6,}\.vlog|` + badger.KeyRegistryFileName + `)$`)

// preflight looks for damage that badger handles badly. Empty files hold nothing, but
// prevent opening. With a damaged table badger panics where nobody can recover, or leaves
// the table out with all its records.
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
		if err := noTables(files); err != nil {
			return err
		}
		return newRegistry(o)
	} else if err != nil {
		return err
	}
	defer manifest.Close()
	found, err := schemaOf(manifest)
	if err == nil {
		err = checkSchema(found, o.ExternalMagicVersion)
	}
	if err != nil {
		return err
	}
	m, _, err := badger.ReplayManifestFile(manifest, found, o)
	if err != nil {
		return fmt.Errorf("read MANIFEST (restore a backup): %w", err)
	}
	read, err := newTableReader(o)
	if err != nil {
		return err
	}
	defer read.close()
	for id, of := range m.Tables {
		if err := read.check(table.NewFilename(id, dir), of.KeyID); err != nil {
			return fmt.Errorf("table %06d.sst is damaged (restore a backup): %w", id, err)
		}
	}
	return nil
}

// noTables is an error if MANIFEST is gone but tables exist: badger would delete them.
func noTables(files []os.DirEntry) error {
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".sst") || memtableLog.MatchString(f.Name()) {
			return errors.New("MANIFEST is missing but badger's other files are there: restore a backup")
		}
	}
	return nil
}

// schemaOf reads the schema from MANIFEST. The file begins with "Bdgr", our version and
// badger's version.
func schemaOf(manifest io.ReaderAt) (uint16, error) {
	var head [8]byte
	if _, err := manifest.ReadAt(head[:], 0); err != nil || string(head[:4]) != "Bdgr" {
		return 0, errors.New("MANIFEST is damaged: restore a backup")
	}
	return binary.BigEndian.Uint16(head[4:]), nil
}

// Schema is the version of keys and records of the state in a folder; 0 when there is none yet.
func Schema(dir string) (uint16, error) {
	manifest, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer manifest.Close()
	return schemaOf(manifest)
}

// checkSchema refuses other schemas before badger does, with an error that helps.
func checkSchema(found, known uint16) error {
	switch {
	case found > known:
		return fmt.Errorf("it was written by a newer balhost (schema %d, this one knows %d): run that one", found, known)
	case found < known:
		return fmt.Errorf("it was written by an older balhost (schema %d, this one reads %d)", found, known)
	}
	return nil
}
