package artefact

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"balhost/host/internal/pluginhost/policy"
)

// ErrChanging: the file changed while it was copied. It will be stable again.
var ErrChanging = errors.New("the file changed while it was copied")

// Copy is a private copy of a plugin's content. What was hashed is what runs,
// whatever happens to the file in the plugins folder.
type Copy struct {
	Path   string
	SHA256 string // hex
}

// stage copies the file and hashes what it copies, until stopping is closed. The copy
// has a temporary name until Put is called. It may run before it is synced: Whole finds
// out what a power cut has damaged.
func (s *Store) stage(f File, stopping <-chan struct{}) (draft Copy, err error) {
	if err := s.Make(); err != nil {
		return draft, err
	}
	if f.folder {
		return s.stageFolder(f, stopping)
	}
	dst, err := newCopy(s.dir)
	if err != nil {
		return draft, fmt.Errorf("stage plugin: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(string(dst))
		}
	}()
	sum, err := f.copyTo(dst, stopping)
	if err != nil {
		return draft, err
	}
	if err := os.Chmod(string(dst), 0o500); err != nil {
		return draft, fmt.Errorf("stage plugin: %w", err)
	}
	return Copy{Path: string(dst), SHA256: sum}, nil
}

// stageFolder is stage for a folder.
func (s *Store) stageFolder(f File, stopping <-chan struct{}) (draft Copy, err error) {
	dst, err := os.MkdirTemp(s.dir, stagingPrefix+"*")
	if err != nil {
		return draft, fmt.Errorf("stage plugin: %w", err)
	}
	sum, err := f.stageTree(dst, stopping)
	if err != nil {
		return draft, errors.Join(err, removeCopy(dst))
	}
	return Copy{Path: dst, SHA256: sum}, nil
}

// unnamed is the path of a copy that is being made. It is open for writing only while
// no process can be forked. Else a child that is forked meanwhile would hold it open
// for a moment, and to run it would fail with ETXTBSY (golang/go#22315). The file in
// the plugins folder is not read under that lock, since its file system may hang.
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

// create is newCopy with a name.
func create(path string) (unnamed, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	return unnamed(path), f.Close()
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

// Put makes a staged copy the one of its content, in the place of one that there
// may be. Sync has it on disk. The copy of a folder that is there and whole stays, since a
// process may run in it.
func (s *Store) Put(draft Copy) error {
	if info, err := os.Lstat(s.Path(draft.SHA256)); err == nil && info.IsDir() && draft.Path != s.Path(draft.SHA256) {
		if whole, _ := s.Whole(draft.SHA256); whole { // a damaged one is removed
			return s.Discard(draft)
		}
	}
	if err := os.Rename(draft.Path, s.Path(draft.SHA256)); err != nil {
		return fmt.Errorf("stage plugin: %w", err)
	}
	s.whole[draft.SHA256], _ = s.look(draft.SHA256) // it was hashed just now
	return nil
}

// Sync has the copy of a content on disk when it returns, if it is still there.
func (s *Store) Sync(sha256 string) error {
	path := s.Path(sha256)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return unlessGone(syncTree(path))
	}
	return unlessGone(syncFile(path))
}

// Discard removes a staged copy that is not wanted, if one was made.
func (s *Store) Discard(draft Copy) error {
	if !isDraft(filepath.Base(draft.Path)) {
		return nil
	}
	return removeCopy(draft.Path)
}

// copied is the copy of the file's content that is there already, if nothing of it is missing.
func (s *Store) copied(f File, stopping <-chan struct{}) (b Copy, err error) {
	if f.folder {
		p := treePass{root: f.real, stopping: stopping}
		b.SHA256, err = p.run()
	} else {
		b.SHA256, err = f.copyTo(io.Discard, stopping)
	}
	if err != nil {
		return b, err
	}
	b.Path = s.Path(b.SHA256)
	sum, err := sumCopy(b.Path)
	if err == nil && sum != b.SHA256 {
		err = fmt.Errorf("%s holds other content, %s", b.Path, sum)
	}
	return b, err
}

// copyTo copies the content, as many bytes as the file had when it was vetted, until
// stopping is closed. It returns the content's sha256, in hex. A file that is not as it
// was then, afterwards, is ErrChanging.
func (f File) copyTo(dst io.Writer, stopping <-chan struct{}) (string, error) {
	src, _, err := openFile(f.real)
	if err != nil {
		return "", fmt.Errorf("read plugin: %w", err)
	}
	defer src.Close()
	hash := sha256.New()
	content := io.LimitReader(until{src, stopping}, f.size)
	if _, err := io.CopyBuffer(io.MultiWriter(dst, hash), content, make([]byte, 1<<20)); err != nil {
		return "", fmt.Errorf("stage plugin: %w", err)
	}
	info, err := src.Stat()
	if err != nil {
		return "", fmt.Errorf("look at plugin: %w", err)
	}
	now := describe(f.Name, f.real, info)
	if now.sum = f.sum; now != f {
		return "", ErrChanging
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
