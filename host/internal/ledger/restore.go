package ledger

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/backup"
	"balhost/host/internal/journal"
	"balhost/host/internal/state"
)

// restoring is where a restore makes the tables. While it is there no ledger opens.
func (o *Options) restoring() string { return o.db() + ".restoring" }

// seqsAhead is how many seqs a restore leaves out: the ledger that was lost may
// have given them out after the backup was taken. It takes 282 days at 45,000 a second to use so many.
const seqsAhead = 1 << 40

// Restored is what a restore has made.
type Restored struct {
	backup.Info
	Problems []string `json:"problems"` // those that the ledger had when the backup was taken
}

// Restore makes a ledger in o.Dir, where there must be none, of a backup. It appears by one
// rename, after all was read, found whole, and synced: whatever ends it before leaves nothing
// that opens, and it can be done again. The journal begins with the backup's commit.
//
// What the lost ledger gave out after the backup is not given out again: seqs go on far behind
// its last one, ids from a random one. Where it was in its clock is restored, too.
func Restore(ctx context.Context, o Options, r io.Reader) (_ Restored, err error) {
	o = o.withDefaults()
	defer func() {
		if err != nil {
			err = fmt.Errorf("restore a ledger to %s: %w", o.Dir, err)
		}
	}()
	b, err := newReader(r)
	if err != nil {
		return Restored{}, err
	}
	if err := o.vacant(); err != nil {
		return Restored{}, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return Restored{}, err
	}
	about := b.Header().About
	if free, err := o.Statfs(o.Dir); err != nil {
		return Restored{}, err
	} else if o.soft(free, about) {
		return Restored{}, fmt.Errorf("its disk has %d MiB and %d inodes free, which is not enough for %d MiB of records and what ledger.disk_soft and ledger.inodes keep free", free.Bytes>>20, free.Inodes, about>>20)
	}
	at := state.Options{Dir: o.restoring(), Schema: schema, Light: o.Light, Log: o.Log.Named("badger"), MemTable: o.Sizes.MemTable}
	v := newVerifier(ctx)
	now := o.Now()
	clock, known := clockOf(b.Header())
	if known {
		now = now.Add(clock.Ledger.Sub(clock.Wall))
	}
	var counters []byte
	mine := false
	defer func() {
		if err != nil && mine {
			err = errors.Join(err, os.RemoveAll(at.Dir))
		}
	}()
	err = state.Load(at, b.Header().Commit, func(put func(state.Change) error) error {
		mine = true // and nobody else's: badger has its lock
		return readAll(b, v, func(c state.Change) error {
			if string(c.Key) == string(keyCounter) {
				c.Value = ahead(c.Value, now)
				counters = bytes.Clone(c.Value)
			}
			return put(c)
		})
	})
	if err != nil {
		return Restored{}, err
	}
	mine = false // what fails from here on is left, for the next try
	if known {   // else it goes on by the wall clock
		if err := newClock(o).save(clock); err != nil {
			return Restored{}, err
		}
	}
	if err := o.reveal(b.Header().Commit, counters); err != nil {
		return Restored{}, err
	}
	return Restored{b.Info(), v.Problems}, nil
}

// CheckBackup reads a backup to its end, and looks for what Examine looks for.
func CheckBackup(ctx context.Context, r io.Reader) (backup.Info, Examined, error) {
	v := newVerifier(ctx)
	b, err := newReader(r)
	if err != nil {
		return backup.Info{}, v.Examined, err
	}
	err = readAll(b, v, func(state.Change) error { return nil })
	return b.Info(), v.Examined, err
}

func newReader(r io.Reader) (*backup.Reader, error) {
	b, err := backup.NewReader(r)
	if err == nil && b.Header().Schema != schema {
		err = errSchema(b.Header().Schema)
	}
	return b, err
}

// readAll gives the records of a backup to f, and returns nil when it was whole.
func readAll(b *backup.Reader, v *verifier, f func(state.Change) error) error {
	for {
		block, err := b.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		var failed error
		if err := state.Changes(block, func(c state.Change) {
			if failed == nil {
				failed = v.see(c)
			}
			if failed == nil {
				failed = f(c)
			}
		}); err != nil {
			return fmt.Errorf("%w: %w", backup.ErrDamaged, err)
		}
		if failed != nil {
			return failed
		}
	}
	v.end()
	if n := b.Info().Records; n != v.Records || v.Commit != b.Header().Commit {
		return fmt.Errorf("%w (%d records up to commit %d, there should be %d up to %d)", backup.ErrDamaged, v.Records, v.Commit, n, b.Header().Commit)
	}
	return nil
}

func clockOf(h backup.Header) (m mark, known bool) {
	known = json.Unmarshal(h.Clock, &m) == nil && !m.Wall.IsZero()
	return m, known
}

// ahead are the counters from which a restored ledger goes on, at a time of its clock.
func ahead(record []byte, now time.Time) []byte {
	r, err := unseal(keyCounter, record)
	if err != nil {
		return record // which Open refuses
	}
	t := readTally(&r)
	t.seq += seqsAhead
	var entropy [10]byte
	rand.Read(entropy[:]) // never fails, by its contract
	last := t.lastID.Time()
	if t.lastID.SetTime(max(last+1, ulid.Timestamp(now))) == nil {
		copy(t.lastID[6:], entropy[:])
	}
	return sealRecord(appendTally(nil, t, t.at), 0, keyCounter)
}

// vacant refuses a folder in which there is a ledger, or a part of one. What an
// unfinished restore has left is none: it began in a vacant one.
func (o *Options) vacant() error {
	parts := []string{o.db(), o.log(), filepath.Join(o.Dir, "commits")} // the last is schema 2's
	if o.unfinished() != nil {
		parts = parts[:1]
	}
	for _, path := range parts {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if info.IsDir() {
			files, err := os.ReadDir(path)
			if err != nil {
				return err
			}
			if len(files) == 0 {
				continue
			}
		}
		return fmt.Errorf("there is a ledger already (%s): stop the host if one runs, move the folder %s away, and restore again", path, o.Dir)
	}
	return nil
}

// Exists reports whether there is a ledger in a folder, or a part of one.
func Exists(dir string) bool {
	o := Options{Dir: dir}
	return o.unfinished() != nil || o.vacant() != nil
}

// reveal makes the restored tables the ledger's. All else of it is there before
// they are. The journal begins with the commit that they end with.
func (o *Options) reveal(commit uint64, counters []byte) error {
	if err := o.vacant(); err != nil {
		return fmt.Errorf("another host was started meanwhile: %w", err)
	}
	if err := cmp.Or(state.SyncFolder(o.Dir), os.RemoveAll(o.log())); err != nil {
		return err
	}
	j, err := journal.Open(journal.Options{Dir: o.log(), SegmentSize: int64(o.Sizes.Segment), Light: o.Light})
	if err != nil {
		return err
	}
	err = beginJournal(j, commit, counters)
	if err := errors.Join(err, j.Close(), state.SyncFolder(o.Dir)); err != nil {
		return err
	}
	if err := os.Rename(o.restoring(), o.db()); err != nil {
		return err
	}
	return cmp.Or(state.SyncFolder(o.Dir), state.SyncFolder(filepath.Dir(o.Dir)))
}

// unfinished refuses a folder in which a restore has not ended.
func (o *Options) unfinished() error {
	if _, err := os.Lstat(o.restoring()); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return fmt.Errorf("a restore has not ended: let it end, or repeat balhost restore; or remove %s to begin with an empty ledger", o.restoring())
}
