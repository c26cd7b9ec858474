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
	"balhost/host/internal/keyfile"
	"balhost/host/internal/state"
)

// restoring is the folder where a restore makes the tables. While it exists, no ledger opens.
func (o *Options) restoring() string { return o.db() + ".restoring" }

// seqsAhead is how many seqs a restore skips: the lost ledger may have used them after the
// backup. At 45,000 a second it would have needed 282 days to use that many.
const seqsAhead = 1 << 40

// Restored describes what a restore has made.
type Restored struct {
	backup.Info
	Problems []string `json:"problems"` // problems that the ledger had at the time of the backup
}

// Restore makes a ledger in o.Dir from a backup. There must be no ledger. The new one appears
// by one rename, after everything was read, found complete, and synced. If it ends earlier,
// nothing is left that opens, and it can be repeated. The journal begins with the backup's commit.
//
// What the lost ledger used after the backup is not used again: seqs continue far above its last
// one, and ids from a random one. The ledger's clock continues, too.
//
// The ledger is encrypted as o says. key is that of the backup; nil if it is not encrypted.
func Restore(ctx context.Context, o Options, r io.Reader, key *keyfile.Key) (_ Restored, err error) {
	o = o.withDefaults()
	defer func() {
		if err != nil {
			err = fmt.Errorf("restore a ledger to %s: %w", o.Dir, err)
		}
	}()
	b, err := newReader(r, key)
	if err != nil {
		return Restored{}, err
	}
	if err := o.vacant(); err != nil {
		return Restored{}, err
	}
	if err := state.MakeFolder(o.Dir); err != nil {
		return Restored{}, err
	}
	about := b.Header().About
	if free, err := o.Statfs(o.Dir); err != nil {
		return Restored{}, err
	} else if o.soft(free, about) {
		return Restored{}, fmt.Errorf("its disk has %d MiB and %d inodes free, which is too little: it needs %d MiB for records, besides what ledger.disk_soft and ledger.inodes keep free", free.Bytes>>20, free.Inodes, about>>20)
	}
	at := state.Options{Dir: o.restoring(), Schema: schema, Light: o.Light, Key: o.Key, Log: o.Log.Named("badger"), MemTable: o.Sizes.MemTable}
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
		mine = true // no other process uses it: badger has locked it
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
	mine = false // after a failure from here on, the folder stays for the next try
	if known {   // else it continues from the wall clock
		if err := newClock(o).save(clock); err != nil {
			return Restored{}, err
		}
	}
	if err := o.reveal(b.Header().Commit, counters); err != nil {
		return Restored{}, err
	}
	return Restored{b.Info(), v.Problems}, nil
}

// CheckBackup reads a backup to its end, and checks it like Examine. key is that of the backup; nil if
// it is not encrypted.
func CheckBackup(ctx context.Context, r io.Reader, key *keyfile.Key) (backup.Info, Examined, error) {
	v := newVerifier(ctx)
	b, err := newReader(r, key)
	if err != nil {
		return backup.Info{}, v.Examined, err
	}
	err = readAll(b, v, func(state.Change) error { return nil })
	return b.Info(), v.Examined, err
}

func newReader(r io.Reader, key *keyfile.Key) (*backup.Reader, error) {
	b, err := backup.NewReader(r, key)
	if err == nil && (b.Header().Schema < sameRecords || b.Header().Schema > schema) {
		err = errSchema(b.Header().Schema)
	}
	return b, err
}

// readAll gives f the records of a backup, and returns nil if the backup is complete.
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
		return fmt.Errorf("%w (%d records up to commit %d, expected %d up to %d)", backup.ErrDamaged, v.Records, v.Commit, n, b.Header().Commit)
	}
	return nil
}

func clockOf(h backup.Header) (m mark, known bool) {
	known = json.Unmarshal(h.Clock, &m) == nil && !m.Wall.IsZero()
	return m, known
}

// ahead are the counters with which a restored ledger continues, at a time of its clock.
func ahead(record []byte, now time.Time) []byte {
	r, err := unseal(keyCounter, record)
	if err != nil {
		return record // Open will refuse it
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

// vacant is an error if the folder has a ledger or a part of one. The rest of an unfinished
// restore does not count: it began in a vacant folder.
func (o *Options) vacant() error {
	if o.rekeying() {
		return errRekeying
	}
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
		return fmt.Errorf("there is already a ledger (%s): stop the host if one runs, move the folder %s away, and restore again", path, o.Dir)
	}
	return nil
}

// Exists reports whether a folder has a ledger or a part of one.
func Exists(dir string) bool {
	o := Options{Dir: dir}
	return o.unfinished() != nil || o.vacant() != nil
}

// reveal makes the restored tables the ledger's, after all its other files are there. The
// journal begins with the last commit in the tables.
func (o *Options) reveal(commit uint64, counters []byte) error {
	if err := o.vacant(); err != nil {
		return fmt.Errorf("another host was started meanwhile: %w", err)
	}
	if err := cmp.Or(state.SyncFolder(o.Dir), os.RemoveAll(o.log())); err != nil {
		return err
	}
	j, err := journal.Open(o.journal())
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

// unfinished is an error if a restore in the folder has not ended.
func (o *Options) unfinished() error {
	if _, err := os.Lstat(o.restoring()); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return fmt.Errorf("a restore has not ended: wait for it, or repeat balhost restore; or remove %s to start with an empty ledger", o.restoring())
}
