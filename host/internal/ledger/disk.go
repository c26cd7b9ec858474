package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"balhost/host/internal/state"
)

// Space is what a file system has left for an unprivileged user.
type Space struct {
	Bytes  int64
	Inodes uint64 // math.MaxUint64 if the file system has no limit
}

func statfs(dir string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Space{}, fmt.Errorf("statfs %s: %w", dir, err)
	}
	free := Space{Bytes: int64(s.Bavail) * int64(s.Bsize), Inodes: s.Ffree}
	if s.Files == 0 {
		free.Inodes = math.MaxUint64 // btrfs and others make inodes when they need them
	}
	return free, nil
}

// On a full disk badger gets no error: the process dies (SIGBUS in a mapped file). On a
// disk without inodes, compaction silently loses keys. So intake stops long before that
// (soft), and later everything stops (hard).
func (o *Options) soft(s Space, used int64) bool {
	return s.Bytes < o.DiskSoft+used || s.Inodes < o.Inodes
}

func (o *Options) hard(s Space) error {
	switch {
	case s.Bytes < o.DiskHard:
		return fmt.Errorf("the disk of %s has %d MiB free, less than the %d MiB of ledger.disk_hard: free some and start again", o.Dir, s.Bytes>>20, o.DiskHard>>20)
	case s.Inodes < o.Inodes/10:
		return fmt.Errorf("the disk of %s has %d inodes free, less than %d (a tenth of ledger.inodes): free some and start again", o.Dir, s.Inodes, o.Inodes/10)
	}
	return nil
}

// roomy is the limit at which intake starts again: half above soft, so it doesn't flap.
func (o *Options) roomy(s Space, used int64) bool {
	return s.Bytes >= o.DiskSoft+o.DiskSoft/2+used && s.Inodes/3 >= o.Inodes/2
}

// room says whether the ledger is full, and has a channel to wait for space.
type room struct {
	mu   sync.Mutex
	full bool
	c    chan struct{} // closed while not full
}

func newRoom() *room {
	c := make(chan struct{})
	close(c)
	return &room{c: c}
}

func (r *room) is() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

// set changes full to the other value.
func (r *room) set(full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full = full; full {
		r.c = make(chan struct{})
	} else {
		close(r.c)
	}
}

func (r *room) wait() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.c
}

// MakeFolder makes a folder and those above it, as far as they are missing, with their
// names durable.
func MakeFolder(dir string) error { return state.MakeFolder(dir) }

// Busy reports whether another process has the ledger in a folder open. It holds the ledger's
// own lock for a moment, shared: a host that opens the ledger just then has to try again.
func Busy(dir string) bool { return state.Busy((&Options{Dir: dir}).db()) }

// FreeSpace is what the file system of a folder has left.
func FreeSpace(dir string) (Space, error) { return statfs(dir) }

// openDisk prepares the folder. It deletes the ballast if badger could not open
// otherwise, and makes it when there is plenty of space.
func (l *Ledger) openDisk() (err error) {
	if err := state.MakeFolder(l.o.Dir); err != nil {
		return err
	}
	free, err := l.o.Statfs(l.o.Dir)
	if err != nil {
		return err
	}
	if l.o.hard(free) != nil {
		if info, err := os.Lstat(l.ballast()); err == nil && info.Mode().IsRegular() && os.Remove(l.ballast()) == nil {
			l.o.Log.Warn("disk is full, ballast deleted: free some space", "state", "full")
		}
		if free, err = l.o.Statfs(l.o.Dir); err != nil {
			return err
		}
		if err := l.o.hard(free); err != nil {
			return err
		}
	}
	l.look(free)
	if !l.full.is() && free.Bytes-l.o.Ballast > l.o.DiskSoft+l.used() {
		if err := l.makeBallast(); err != nil {
			l.o.Log.Warn("make ballast", "err", err)
		}
	}
	return nil
}

func (l *Ledger) ballast() string { return filepath.Join(l.o.Dir, "ballast") }

// makeBallast makes a file of real blocks if there is none.
func (l *Ledger) makeBallast() error {
	if info, err := os.Stat(l.ballast()); l.o.Ballast == 0 || err == nil && info.Size() == l.o.Ballast {
		return nil
	}
	f, err := os.OpenFile(l.ballast(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f, l.o.Ballast), f.Close()); err != nil {
		return errors.Join(err, os.Remove(l.ballast()))
	}
	return nil
}

// fillZeros is fill for file systems that can't reserve blocks: it writes zeros.
func fillZeros(f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for size > 0 {
		n, err := f.Write(zeros[:min(size, int64(len(zeros)))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// used is how much disk the ledger's files take, in bytes; many have holes. If they
// can't be read, it is the last known size.
func (l *Ledger) used() (sum int64) {
	for _, dir := range []string{l.o.db(), l.o.log()} {
		files, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.o.Log.Warn("size of ledger", "err", err)
			return l.lastUsed.Load()
		}
		for _, f := range files {
			if info, err := f.Info(); err == nil { // an error: it was deleted meanwhile
				if s, ok := info.Sys().(*syscall.Stat_t); ok {
					sum += s.Blocks * 512
				}
			}
		}
	}
	l.lastUsed.Store(sum)
	return sum
}

// look decides between full and not full.
func (l *Ledger) look(free Space) {
	used := l.used()
	switch full := l.full.is(); {
	case !full && l.o.soft(free, used):
		l.o.Log.Error("disk is at its soft limit: no new messages are stored until there is space", "state", "full",
			"err", fmt.Sprintf("%d MiB and %d inodes are free", free.Bytes>>20, free.Inodes))
		l.full.set(true)
	case full && l.o.roomy(free, used):
		l.o.Log.Info("disk has space again", "state", "open")
		l.full.set(false)
	}
	l.metrics.disk(free, used)
}

// watchDisk checks every second whether the disk has space, and whether the clock was
// set.
func (l *Ledger) watchDisk(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var broken bool
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		l.watchClock()
		if err := l.there(); err != nil {
			l.poison(err)
			return nil
		}
		switch free, err := l.o.Statfs(l.o.Dir); {
		case err != nil:
			if !broken {
				l.o.Log.Error("watch disk: free space can't be read, so the ledger does not stop before the disk is full", "err", err)
			}
			broken = true
			l.metrics.diskUnknown()
		case l.o.hard(free) != nil:
			l.poison(l.o.hard(free))
			return nil
		default:
			if broken {
				l.o.Log.Info("free space of the disk can be read again")
			}
			broken = false
			l.look(free)
		}
	}
}

// Space is the free space of the ledger's disk.
func (l *Ledger) Space() (Space, error) { return l.o.Statfs(l.o.Dir) }
