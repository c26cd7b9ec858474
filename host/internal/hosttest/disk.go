package hosttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"balhost/host/internal/ledger"
)

// Disk is where hosts keep their ledger, one after the other: it survives them.
// Its methods may be called from any goroutine.
type Disk struct {
	root string

	mu     sync.Mutex // guards what follows
	made   int        // folders so far; the last one is in use
	slow   func() time.Duration
	full   bool
	plan   Moment // of the crash to come
	before int    // commits until then
}

// Moment is when a host is killed, as seen from a commit.
type Moment int

// The moments of a commit that a kill can hit.
const (
	BeforeCommit Moment = iota + 1 // nothing of it is on disk
	AfterCommit                    // it is on disk, and nobody has heard of it
)

// NewDisk is an empty disk below the folder root, which the caller removes.
func NewDisk(root string) *Disk { return &Disk{root: root} }

// Slow makes each commit take what by says at its beginning; nil: no time.
func (d *Disk) Slow(by func() time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = by
}

// Full puts the disk at its soft limit, or gives it room again. A host notices
// within a second.
func (d *Disk) Full(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = on
}

// KillAt kills the host at a commit: the next one, after so many others.
func (d *Disk) KillAt(m Moment, others int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plan, d.before = m, others
}

// next says what the next commit meets.
func (d *Disk) next() (takes time.Duration, kill Moment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slow != nil {
		takes = d.slow()
	}
	if d.plan != 0 {
		if d.before--; d.before < 0 {
			kill, d.plan = d.plan, 0
		}
	}
	return takes, kill
}

// commit is ledger.Options.Commit for one host, that lives until dead is closed.
func (d *Disk) commit(dead <-chan struct{}, commit func() error) error {
	takes, kill := d.next()
	if takes > 0 {
		t := time.NewTimer(takes)
		defer t.Stop()
		select {
		case <-t.C:
		case <-dead:
		}
	}
	select {
	case <-dead:
		return ErrKilled
	default:
	}
	if kill == BeforeCommit {
		return ErrKilled
	}
	if err := commit(); err != nil || kill != AfterCommit {
		return err
	}
	return ErrKilled
}

// statfs is ledger.Options.Statfs.
func (d *Disk) statfs(string) (ledger.Space, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return ledger.Space{Bytes: 512 << 20, Inodes: 1 << 20}, nil // between the limits of ledger.Options
	}
	return ledger.Space{Bytes: 1 << 40, Inodes: 1 << 20}, nil
}

// dir is the folder in use.
func (d *Disk) dir() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made = max(d.made, 1)
	return filepath.Join(d.root, fmt.Sprint(d.made))
}

// keep makes a copy of the folder as it is now the one that the next host
// opens: what the host in use does to its own from here on, closing its
// store in order for example, is not seen any more.
func (d *Disk) keep() error {
	from := d.dir()
	d.mu.Lock()
	d.made++
	d.mu.Unlock()
	to := d.dir()
	return filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		return copySparse(filepath.Join(to, name), path)
	})
}

// copySparse copies a file and leaves out its zeros: most of badger's files
// are holes.
func copySparse(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	buf, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := in.ReadAt(buf, at)
		if !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
