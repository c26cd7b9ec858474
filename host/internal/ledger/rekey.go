package ledger

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"balhost/host/internal/journal"
	"balhost/host/internal/keyfile"
	"balhost/host/internal/state"
)

// Rekeyed describes what Rekey did.
type Rekeyed struct {
	Already bool   `json:"already"` // the ledger was encrypted like this, and was not changed
	Records uint64 `json:"records"` // that were written again
	Commit  uint64 `json:"commit"`  // the last one
	// Problems are those that the ledger has; they were copied as they are.
	Problems []string `json:"problems"`
}

// The new files beside the old ones. written is a file that says that the new ones are whole. From
// then on they are the ledger, and the old ones are removed.
const (
	newFiles = ".rekeyed"
	oldFiles = ".old"
)

func (o *Options) written() string { return filepath.Join(o.Dir, "rekeyed") }

// rekeying reports whether a Rekey runs, or has not ended.
func (o *Options) rekeying() bool {
	for _, path := range []string{o.written(), o.db() + newFiles, o.log() + newFiles} {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	return false
}

var errRekeying = errors.New("its key is being changed: wait until balhost rekey has ended")

// Rekey writes all of a ledger again, encrypted by o.Key (nil: not encrypted). from is the key that
// it is encrypted by now (nil: it is not). No host may run. It draws new data keys, so the old key
// opens no file of the ledger any more, not even with a copy of the old data keys.
//
// A power cut leaves the ledger as it was, or as it is to be: the new files are made beside the old
// ones, and count from the moment when a marker is on disk. The next Open or Rekey ends what
// was begun. The old files are removed, and not written over.
func Rekey(ctx context.Context, o Options, from *keyfile.Key) (did Rekeyed, err error) {
	o = o.withDefaults()
	defer func() {
		if err != nil {
			err = fmt.Errorf("change the key of ledger %s: %w", o.Dir, err)
		}
	}()
	if err := o.unfinished(); err != nil {
		return did, err
	}
	if found, err := state.Schema(o.db()); err == nil && found == 0 && !o.rekeying() {
		return did, errors.New("there is no ledger: a new one is encrypted from its first start on, as the config says")
	}
	if err := o.settleRekey(); err != nil {
		return did, err
	}
	unlock, err := o.lockRekey()
	if err != nil {
		return did, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if state.CheckKey(o.db(), o.Key) == nil {
		return Rekeyed{Already: true, Problems: []string{}}, nil
	}
	was := o
	was.Key = from
	switch err := state.CheckKey(o.db(), from); {
	case errors.Is(err, keyfile.ErrPlain):
		return did, fmt.Errorf("%w: leave it out", err)
	case errors.Is(err, keyfile.ErrKey):
		return did, fmt.Errorf("%w: say the key file that it has now (--from)", err)
	case err != nil:
		return did, err
	}
	if err := was.copyTo(ctx, &o, &did); err != nil {
		return did, errors.Join(err, o.dropNew())
	}
	return did, o.replace()
}

// copyTo makes the new files of a ledger, and the marker. The old ones are locked until the marker
// is there, and then no host opens them.
func (o *Options) copyTo(ctx context.Context, to *Options, did *Rekeyed) (err error) {
	l := &Ledger{o: *o}
	l.o.Poison = func(error) {} // the error is told by what follows it
	if err := l.openStore(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.state.Close(), l.journal.Close()) }()
	size := l.state.Size()
	if free, err := o.Statfs(o.Dir); err != nil {
		return err
	} else if o.soft(free, size) {
		return fmt.Errorf("its disk has %d MiB and %d inodes free, which is too little: all of it is written again, which needs %d MiB besides what ledger.disk_soft and ledger.inodes keep free", free.Bytes>>20, free.Inodes, size>>20)
	}
	at := state.Options{Dir: o.db() + newFiles, Schema: schema, Light: o.Light, Key: to.Key, Log: o.Log.Named("badger"), MemTable: o.Sizes.MemTable}
	v := newVerifier(ctx)
	var counters []byte
	did.Commit = l.state.Commit()
	err = state.Load(at, did.Commit, func(put func(state.Change) error) error {
		return l.state.Moment(func(m *state.Moment) error {
			return m.Each(func(c state.Change) error {
				if err := cmp.Or(v.see(c), ctx.Err()); err != nil {
					return err
				}
				if bytes.Equal(c.Key, keyCounter) {
					counters = bytes.Clone(c.Value)
				}
				return put(c)
			})
		})
	})
	if err != nil {
		return err
	}
	v.end()
	did.Records, did.Problems = v.Records, v.Problems
	if counters == nil || v.Commit != did.Commit {
		return fmt.Errorf("the counters are those of commit %d, but the last commit is %d: restore a backup", v.Commit, did.Commit)
	}
	beside := to.journal()
	beside.Dir += newFiles
	j, err := journal.Open(beside)
	if err != nil {
		return err
	}
	if err := errors.Join(beginJournal(j, did.Commit, counters), j.Close(), state.SyncFolder(o.Dir)); err != nil {
		return err
	}
	return o.mark()
}

// mark makes the marker durable.
func (o *Options) mark() error {
	f, err := os.OpenFile(o.written(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), state.SyncFolder(o.Dir))
}

// settleRekey ends what an interrupted Rekey has left: with the marker the new files become the
// ledger's, and without it they are removed.
func (o *Options) settleRekey() (err error) {
	if !o.rekeying() {
		return nil
	}
	unlock, err := o.lockRekey()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := os.Lstat(o.written()); errors.Is(err, fs.ErrNotExist) {
		return o.dropNew()
	} else if err != nil {
		return err
	}
	return o.replace()
}

// dropNew removes new files that do not count, if there is no marker.
func (o *Options) dropNew() error {
	if _, err := os.Lstat(o.written()); err == nil {
		return nil // they count
	}
	return errors.Join(os.RemoveAll(o.db()+newFiles), os.RemoveAll(o.log()+newFiles), state.SyncFolder(o.Dir))
}

// replace makes the new files the ledger's. It can be repeated, from any point. One rename is
// durable before the next begins: else a power cut could keep the later one only.
func (o *Options) replace() error {
	if state.Busy(o.db()) {
		return errors.New("another process has it open: stop it")
	}
	for _, path := range []string{o.db(), o.log()} {
		if _, err := os.Lstat(path + newFiles); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := os.RemoveAll(path + oldFiles); err != nil {
			return err
		}
		if err := os.Rename(path, path+oldFiles); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := state.SyncFolder(o.Dir); err != nil {
			return err
		}
		if err := os.Rename(path+newFiles, path); err != nil {
			return err
		}
		if err := state.SyncFolder(o.Dir); err != nil {
			return err
		}
	}
	for _, path := range []string{o.db() + oldFiles, o.log() + oldFiles} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := state.SyncFolder(o.Dir); err != nil {
		return err
	}
	if err := os.Remove(o.written()); err != nil {
		return err
	}
	return state.SyncFolder(o.Dir)
}

// lockRekey keeps other processes from changing the key of the ledger, or from ending that.
func (o *Options) lockRekey() (unlock func() error, err error) {
	f, err := os.Open(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errRekeying
		}
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// CheckKey is an error, which says what to do, if a ledger is encrypted otherwise than o says. It
// changes nothing.
func CheckKey(o Options) error {
	if o.rekeying() { // the next Open ends it first
		return nil
	}
	if err := o.checkKey(); err != nil {
		return fmt.Errorf("the ledger in %s: %w", o.Dir, err)
	}
	return nil
}

// checkKey says what to do if the ledger is encrypted otherwise than o says. It changes nothing.
func (o *Options) checkKey() error {
	switch err := state.CheckKey(o.db(), o.Key); {
	case errors.Is(err, keyfile.ErrPlain):
		return fmt.Errorf("%w (ledger.encryption_key_file): to encrypt it, stop the host and use balhost rekey; to go on as before, take the key out of the config", err)
	case errors.Is(err, keyfile.ErrKey):
		return fmt.Errorf("%w: give the right file in ledger.encryption_key_file; or, to change the key to that of the config, stop the host and use balhost rekey --from with the old key file", err)
	default:
		return err
	}
}

// Encrypted reports whether the ledger's files are encrypted.
func (l *Ledger) Encrypted() bool { return l.o.Key != nil }
