package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"balhost/host/internal/pluginhost/policy"
)

// errChanging: the file changed while it was copied; it will settle again.
var errChanging = errors.New("the file changed while it was copied")

// binary is a private copy of a plugin's content. What was hashed is what runs,
// whatever happens to the file in the plugins folder.
type binary struct {
	path   string
	sha256 string // hex
}

// store holds one plugin's private copies: a folder with files named by their
// sha256, record.json, "work", the plugin's working folder, and a mark (own.go).
type store struct{ dir string }

func (s store) work() string { return filepath.Join(s.dir, "work") }

// stage copies the file and hashes what it copies, until stopping is closed. The
// copy has a name of its own until settle is called. It can be run before it is on
// disk: what a power cut leaves of it is not taken for whole (copyOf).
func (s store) stage(f file, stopping <-chan struct{}) (draft binary, err error) {
	if err := s.make(); err != nil {
		return draft, err
	}
	src, _, err := openFile(f.real)
	if err != nil {
		return draft, fmt.Errorf("read plugin: %w", err)
	}
	defer src.Close()
	dst, err := newCopy(s.dir)
	if err != nil {
		return draft, fmt.Errorf("stage plugin: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(string(dst))
		}
	}()
	hash := sha256.New()
	if err := copyContent(io.MultiWriter(dst, hash), until{src, stopping}, f); err != nil {
		return draft, fmt.Errorf("stage plugin: %w", err)
	}
	if err := unchanged(src, f); err != nil {
		return draft, err
	}
	if err := os.Chmod(string(dst), 0o500); err != nil {
		return draft, fmt.Errorf("stage plugin: %w", err)
	}
	return binary{path: string(dst), sha256: hex.EncodeToString(hash.Sum(nil))}, nil
}

// unnamed is the path of a copy that is being made. It is open for writing only
// while no process can be forked: a child that any other part of the host forks
// would hold it open for a moment, and running it would fail with ETXTBSY
// (golang/go#22315). Of the file in the plugins folder, which may not answer,
// nothing is read under that lock.
type unnamed string

func newCopy(dir string) (unnamed, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.CreateTemp(dir, stagingPrefix+"*")
	if err != nil {
		return "", err
	}
	return unnamed(f.Name()), f.Close()
}

// Write appends to it.
func (u unnamed) Write(p []byte) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.OpenFile(string(u), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, err
	}
	n, err := f.Write(p)
	return n, errors.Join(err, f.Close())
}

// syncFile has a file, or a folder's names, on disk when it returns.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// until reads until stopping is closed.
type until struct {
	io.Reader
	stopping <-chan struct{}
}

func (u until) Read(p []byte) (int, error) {
	select {
	case <-u.stopping:
		return 0, policy.ErrStopping
	default:
		return u.Reader.Read(p)
	}
}

// settle makes a staged copy the one of its content, in the place of one that there
// may be.
func (s store) settle(draft binary) (binary, error) {
	path := filepath.Join(s.dir, draft.sha256)
	if err := os.Rename(draft.path, path); err != nil {
		return binary{}, fmt.Errorf("stage plugin: %w", err)
	}
	return binary{path: path, sha256: draft.sha256}, nil
}

// whole is the copy of the file's content that is there already, if nothing of it is missing.
func (s store) whole(f file, stopping <-chan struct{}) (b binary, err error) {
	src, _, err := openFile(f.real)
	if err != nil {
		return b, err
	}
	defer src.Close()
	hash := sha256.New()
	if err := errors.Join(copyContent(hash, until{src, stopping}, f), unchanged(src, f)); err != nil {
		return b, err
	}
	b.sha256 = hex.EncodeToString(hash.Sum(nil))
	b.path = filepath.Join(s.dir, b.sha256)
	sum, err := sumFile(b.path)
	if err == nil && sum != b.sha256 {
		err = fmt.Errorf("%s holds other content, %s", b.path, sum)
	}
	return b, err
}

// copyContent copies no more than the file had when it was vetted; when it has
// grown, unchanged says so.
func copyContent(dst io.Writer, src io.Reader, f file) error {
	_, err := io.CopyBuffer(dst, io.LimitReader(src, f.size), make([]byte, 1<<20))
	return err
}

func unchanged(src *os.File, f file) error {
	info, err := src.Stat()
	if err != nil {
		return fmt.Errorf("look at plugin: %w", err)
	}
	now := describe(f.name, f.real, info)
	now.sum = f.sum
	if now != f {
		return errChanging
	}
	return nil
}

// keep removes all copies but these; what has no name yet stays.
func (s store) keep(sha256 ...string) error {
	err := s.remove(func(name string) bool { return copyName.MatchString(name) && !slices.Contains(sha256, name) })
	if err != nil {
		return fmt.Errorf("remove old copies: %w", err)
	}
	return nil
}

// clear removes the copies of a plugin that is gone, and its folder unless the
// plugin left something in its working folder, or somebody else beside it.
func (s store) clear() error {
	if !s.marked() {
		return nil
	}
	emptied := os.Remove(s.work()) == nil
	err := s.remove(func(name string) bool { return name != markName || emptied })
	if err != nil {
		return fmt.Errorf("remove copies: %w", err)
	}
	_ = os.Remove(s.dir) // fails when it is not empty
	return nil
}
