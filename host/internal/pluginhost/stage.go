package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// keptCopies is how many proven contents of a plugin stay staged.
const keptCopies = 3

// errChanging: the file changed while it was copied; it will settle again.
var errChanging = errors.New("the file changed while it was copied")

// binary is a private copy of a plugin's content. What was hashed is what runs,
// whatever happens to the file in the plugins folder.
type binary struct {
	path   string
	sha256 string // hex
}

// store holds one plugin's private copies: a folder with files named by their
// sha256, record.json, and "work", the plugin's working folder.
type store struct{ dir string }

func (s store) work() string { return filepath.Join(s.dir, "work") }

// stage copies the file and hashes what it copies. The copy is made anew even
// if there is one of this content, which a power cut may have cut short.
func (s store) stage(f file) (b binary, err error) {
	// While a file is open for writing, a child that any other part of the host
	// forks may hold it open for a moment, and running it would fail with
	// ETXTBSY (golang/go#22315). No fork happens under this lock.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.MkdirAll(s.work(), 0o700); err != nil {
		return b, fmt.Errorf("make the plugin's private folder: %w", err)
	}
	src, _, err := openFile(f.real)
	if err != nil {
		return b, fmt.Errorf("read plugin: %w", err)
	}
	defer src.Close()
	dst, err := os.CreateTemp(s.dir, stagingPrefix+"*")
	if err != nil {
		return b, fmt.Errorf("stage plugin: %w", err)
	}
	defer os.Remove(dst.Name()) // fails after the rename, as it should
	defer dst.Close()           // before the unlocking, in any case
	hash := sha256.New()
	if err := copyContent(io.MultiWriter(dst, hash), src, f); err != nil {
		return b, fmt.Errorf("stage plugin: %w", err)
	}
	if err := unchanged(src, f); err != nil {
		return b, err
	}
	if err := errors.Join(dst.Chmod(0o500), dst.Close()); err != nil {
		return b, fmt.Errorf("stage plugin: %w", err)
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	path := filepath.Join(s.dir, sum)
	if err := os.Rename(dst.Name(), path); err != nil {
		return b, fmt.Errorf("stage plugin: %w", err)
	}
	return binary{path: path, sha256: sum}, nil
}

// whole is the copy of the file's content that is there already, if nothing of it is missing.
func (s store) whole(f file) (b binary, err error) {
	src, _, err := openFile(f.real)
	if err != nil {
		return b, err
	}
	defer src.Close()
	wanted, got := sha256.New(), sha256.New()
	if err := errors.Join(copyContent(wanted, src, f), unchanged(src, f)); err != nil {
		return b, err
	}
	b, _ = s.staged(hex.EncodeToString(wanted.Sum(nil)))
	dst, _, err := openFile(b.path)
	if err != nil {
		return b, err
	}
	defer dst.Close()
	if _, err := io.Copy(got, dst); err != nil {
		return b, err
	}
	if sum := hex.EncodeToString(got.Sum(nil)); sum != b.sha256 {
		return b, fmt.Errorf("%s holds other content, %s", b.path, sum)
	}
	return b, nil
}

// copyContent copies no more than the file had when it was vetted; when it has
// grown, unchanged says so.
func copyContent(dst io.Writer, src io.Reader, f file) error {
	_, err := io.Copy(dst, io.LimitReader(src, f.size))
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

// keep removes all copies but these, and what a killed host was staging.
func (s store) keep(sha256 ...string) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("look for old copies: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		name := entry.Name()
		old := entry.Type().IsRegular() && !strings.Contains(name, ".") && !slices.Contains(sha256, name)
		if old || strings.HasPrefix(name, stagingPrefix) {
			errs = append(errs, os.Remove(filepath.Join(s.dir, name)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove old copies: %w", err)
	}
	return nil
}

// clear removes the copies of a plugin that is gone, and its folder unless the
// plugin left something in its working folder.
func (s store) clear() error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("look for old copies: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if !entry.IsDir() {
			errs = append(errs, os.Remove(filepath.Join(s.dir, entry.Name())))
		}
	}
	if os.Remove(s.work()) == nil {
		errs = append(errs, os.Remove(s.dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove copies: %w", err)
	}
	return nil
}
