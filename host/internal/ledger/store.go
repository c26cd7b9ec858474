package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/journal"
	"balhost/host/internal/mend"
	"balhost/host/internal/state"
)

// Log makes commits durable, in the order of their numbers, which have no gaps.
// [journal.Journal] is a Log on this machine's disk.
type Log interface { //house:wide a log that can only be written, or only be read, is of no use
	// Append returns nil when the commit is durable. After an error the commit may be
	// durable or not, and nothing may be appended any more.
	Append(commit uint64, frame []byte) error
	// Read gives f the commits from the number from on, in order. A frame is valid until f returns.
	Read(from uint64, f func(commit uint64, frame []byte) error) error
	// Trim may give up the commits up to upTo. Nobody will read them.
	Trim(upTo uint64) error
	// Renew has its files hold nothing of the commits so far, see [journal.Journal.Renew].
	Renew(ctx context.Context, commit, give func() error) error
	// Search names its files that have a record, decrypted, of which is is true; none if they
	// are not encrypted.
	Search(ctx context.Context, is func(record []byte) bool) (files []string, err error)
	First() uint64 // the first commit that it has; 0: it has none
	Last() uint64
	Close() error
}

// schema is the version of keys and records. Badger's MANIFEST has it, so that an older
// program does not open what it cannot read. A record of the ledger has it too. Besides,
// each record has a format of its own.
//
// Schema 2 had no journal. Schema 3 knew neither FIDs nor outcomes whose target is gone;
// its records are read as they are. Schema 4 did not know to whom a message id was sent.
// Schema 5 knew no timers, and no downstreams that wait for their time, are canceled or
// replaced. Schema 6 kept of a message only how it ended.
const (
	schema      = 7
	sameRecords = 3 // the oldest schema whose records are read as they are
)

// db and log are the folders of badger's files and of the journal's.
func (o *Options) db() string  { return filepath.Join(o.Dir, "db") }
func (o *Options) log() string { return filepath.Join(o.Dir, "journal") }

func (o *Options) journal() journal.Options {
	return journal.Options{Dir: o.log(), SegmentSize: int64(o.Sizes.Segment), Light: o.Light, Key: o.Key}
}

// folder is a folder that must stay where it is while its files are open.
type folder struct {
	path, file string // file is one that must stay in it; "": none must
	info       fs.FileInfo
}

// openStore opens the state, which has what its tables hold, and the journal. It applies
// the commits that the tables do not hold. A power cut may come at any moment.
func (l *Ledger) openStore() (err error) {
	if err := l.o.unfinished(); err != nil {
		return err
	}
	if err := l.o.settleRekey(); err != nil {
		return err
	}
	if err := l.o.checkKey(); err != nil {
		return err
	}
	if err := l.upgrade(); err != nil {
		return err
	}
	l.state, err = state.Open(state.Options{
		Dir: l.o.db(), Schema: schema, Light: l.o.Light, Key: l.o.Key, Log: l.o.Log.Named("badger"), Bad: l.poison, Durable: l.trim,
		Layer: l.o.Sizes.Layer, MemTable: l.o.Sizes.MemTable, Rotate: l.o.Sizes.Rotate,
		Ordered: ordered,
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.state.Abandon())
		}
	}()
	if l.o.rekeying() { // it began before this process had locked the state
		return errRekeying
	}
	applied := l.state.Commit()
	if _, err := os.Stat(l.o.log()); errors.Is(err, fs.ErrNotExist) && applied > 0 { // else Open makes it
		return fmt.Errorf("%s is missing: it has the commits after commit %d; put it back, or restore a backup", l.o.log(), applied)
	}
	j, err := journal.Open(l.o.journal())
	if err != nil {
		return err
	}
	l.journal = j
	defer func() {
		if err != nil {
			err = errors.Join(err, l.journal.Close())
		}
	}()
	if err := l.replay(applied); err != nil {
		return err
	}
	if !l.o.Light {
		if err := state.SyncFolder(l.o.Dir); err != nil { // which has the names of both folders
			return err
		}
	}
	l.replayed.Store(true)
	l.append = l.journal.Append
	if commit := l.o.Commit; commit != nil {
		l.append = func(n uint64, frame []byte) error { return commit(func() error { return l.journal.Append(n, frame) }) }
	}
	for _, f := range []folder{{path: l.o.db(), file: "MANIFEST"}, {path: l.o.log()}} {
		if f.info, err = os.Stat(f.path); err != nil {
			return err
		}
		l.folders = append(l.folders, f)
	}
	return nil
}

// replay applies the commits after applied. Up to that one the tables have all.
func (l *Ledger) replay(applied uint64) error {
	first, last := l.journal.First(), l.journal.Last()
	switch {
	case first > applied+1:
		return fmt.Errorf("the tables of %s have all up to commit %d, but the journal begins with commit %d: the commits between them are missing; restore a backup", l.o.db(), applied, first)
	case last < applied:
		return fmt.Errorf("the tables of %s have all up to commit %d, but the journal ends with commit %d: it is damaged, or older than the tables; put the right one back, or restore a backup", l.o.db(), applied, last)
	case last == applied:
		return nil
	}
	start := time.Now() // for the log
	err := l.journal.Read(applied+1, func(commit uint64, frame []byte) error {
		return l.state.Replay(commit, append([]byte(nil), frame...))
	})
	if err != nil {
		return fmt.Errorf("apply the journal from commit %d on: %w", applied+1, err)
	}
	l.o.Log.Debug("journal applied", "commits", last-applied, "took", time.Since(start))
	return nil
}

// trim lets the journal give up the commits up to commit, which synced tables hold.
func (l *Ledger) trim(commit uint64) error {
	if !l.replayed.Load() { // Open still reads the journal
		return nil
	}
	if err := l.journal.Trim(commit); err != nil {
		return fmt.Errorf("trim the journal: %w", err)
	}
	return nil
}

// there returns an error when the folders of the store, or badger's list of files, are not
// where they were opened any more. What is written to a file without a name is lost when
// the file is closed, so nothing may be acked for it. A folder that can't be looked at
// does not count as gone.
func (l *Ledger) there() error {
	for _, f := range l.folders {
		now, err := os.Stat(f.path)
		if err == nil && !os.SameFile(now, f.info) {
			return fmt.Errorf("%s was replaced by another folder while it was in use: put the right one there before the next start", f.path)
		}
		if err == nil && f.file != "" {
			_, err = os.Stat(filepath.Join(f.path, f.file))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: it was removed or moved while it was in use; put it back before the next start, or that start makes an empty ledger", err)
		}
	}
	return nil
}

// read gives one record to f; errGone when there is none.
func (l *Ledger) read(key []byte, f func(*reader) error) error {
	found, err := l.state.Get(key, func(record []byte) error {
		r, err := unseal(key, record)
		if err != nil {
			return err
		}
		return f(&r)
	})
	if err == nil && !found {
		err = errGone
	}
	return closedAs(err)
}

// scan gives f the records from start on, while they have the prefix and f returns true.
// Keys and values are valid until f returns. It reads one moment of the state, for at
// most scanTime, because badger can't free space meanwhile.
func (l *Ledger) scan(prefix, start []byte, f func(key, record []byte) (bool, error)) error {
	until := time.Now().Add(scanTime)
	return closedAs(l.state.Moment(func(m *state.Moment) error {
		return m.Scan(prefix, start, func(key, record []byte) (bool, error) {
			more, err := f(key, record)
			return more && time.Now().Before(until), err
		})
	}))
}

// scanTime is how long one scan may take.
const scanTime = 5 * time.Second

func closedAs(err error) error {
	if errors.Is(err, state.ErrClosed) {
		return entry.ErrClosed
	}
	return err
}

// upgrade turns a ledger of an older schema into one of this schema.
func (l *Ledger) upgrade() error {
	found, err := state.Schema(l.o.db())
	switch {
	case err != nil || found == 0 || found == schema:
		return err
	case found == 2:
		return l.addJournal()
	case found < sameRecords || found > schema:
		return errSchema(found)
	}
	if err := state.Relabel(l.o.db(), schema); err != nil {
		return fmt.Errorf("upgrade from schema %d to %d: %w", found, schema, mend.With(err))
	}
	l.o.Log.Info("ledger upgraded", "schema", schema)
	return nil
}

// addJournal turns a ledger of schema 2, which had no journal, into one of this schema.
func (l *Ledger) addJournal() error {
	start := time.Now() // for the log
	j, err := journal.Open(l.o.journal())
	if err != nil {
		return err
	}
	err = state.Upgrade(state.Options{Dir: l.o.db(), Schema: schema, Light: l.o.Light, Log: l.o.Log.Named("badger")}, func(m *state.Moment) (uint64, error) {
		var t tally
		var counters []byte
		found, err := m.Get(keyCounter, func(record []byte) error {
			r, err := unseal(keyCounter, record)
			if err != nil {
				return err
			}
			t, counters = readTally(&r), bytes.Clone(record)
			return r.done()
		})
		if err == nil && !found {
			err = errors.New("its counters are missing: restore a backup")
		}
		if err == nil {
			err = beginJournal(j, t.commit, counters)
		}
		return t.commit, err
	})
	if err = errors.Join(err, j.Close()); err != nil {
		return fmt.Errorf("upgrade from schema 2 to %d: %w", schema, mend.With(err))
	}
	if err := os.Remove(filepath.Join(l.o.Dir, "commits")); err != nil && !errors.Is(err, fs.ErrNotExist) { // schema 2's
		l.o.Log.Warn("remove a file of the old schema", "err", err)
	}
	l.o.Log.Info("ledger upgraded", "schema", schema, "took", time.Since(start))
	return nil
}

// beginJournal makes an empty journal go on where tables end that were made without it.
// It appends one commit, with the counters as they are. An earlier try may have done it.
func beginJournal(j Log, commit uint64, counters []byte) error {
	switch last := j.Last(); last {
	case commit:
		return nil
	case 0:
		return j.Append(commit, state.Frame([]state.Change{{Key: keyCounter, Value: counters}}))
	default:
		return fmt.Errorf("the tables end with commit %d and were made without a journal, but there is a journal that ends with commit %d: it belongs to another ledger; move it away", commit, last)
	}
}

func errSchema(found uint16) error {
	if found > schema {
		return fmt.Errorf("it was written by a newer balhost (schema %d, this one knows %d): run that one", found, schema)
	}
	return fmt.Errorf("it was written by a balhost from before the first release (schema %d, this one reads 2 to %d): finish its messages with that balhost, then move the folder away", found, schema)
}
