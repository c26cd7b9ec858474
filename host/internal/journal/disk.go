package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk is one folder of files, with only the operations that the journal needs. It is an
// interface, so that a test can record every operation and cut the power.
type disk interface { //house:wide the calls of an operating system, one for one
	lock() (unlock func() error, err error) // makes the folder if it is missing; it has one owner at a time
	list() ([]string, error)
	open(name string) (file, error)   // to read and write
	create(name string) (file, error) // the file is empty, even if it existed
	rename(from, to string) error     // replaces to
	remove(name string) error
	syncDir() error // what was created, renamed and removed is durable
}

type file interface { //house:wide the same
	io.ReaderAt
	io.WriterAt
	io.Closer
	size() (int64, error)
	sync() error // all written bytes and the file's length are durable
}

// folder is a disk in the operating system's file system.
type folder string

func (d folder) path(name string) string { return filepath.Join(string(d), name) }

func (d folder) lock() (func() error, error) {
	if _, err := os.Stat(string(d)); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(string(d), 0o700); err != nil {
			return nil, err
		}
		if err := folder(filepath.Dir(string(d))).syncDir(); err != nil {
			return nil, err
		}
	}
	dir, err := os.Open(string(d))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another process has it open")
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", d, err), dir.Close())
	}
	return dir.Close, nil
}

func (d folder) list() (names []string, err error) {
	entries, err := os.ReadDir(string(d))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (d folder) open(name string) (file, error) {
	f, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
	return osFile{f}, err
}

func (d folder) create(name string) (file, error) {
	f, err := os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	return osFile{f}, err
}

func (d folder) rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }
func (d folder) remove(name string) error     { return os.Remove(d.path(name)) }

func (d folder) syncDir() error {
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

type osFile struct{ *os.File }

func (f osFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a regular file", f.Name())
	}
	return info.Size(), nil
}

func (f osFile) sync() error { return datasync(f.File) }

// unsynced is a disk without syncs. The operating system decides when a write is durable.
type unsynced struct{ disk }

func (d unsynced) syncDir() error { return nil }

func (d unsynced) open(name string) (file, error) {
	f, err := d.disk.open(name)
	return unsyncedFile{f}, err
}

func (d unsynced) create(name string) (file, error) {
	f, err := d.disk.create(name)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ file }

func (f unsyncedFile) sync() error { return nil }
