package backup

import (
	"errors"
	"os"
	"path/filepath"
)

// syncEvery is how many bytes are written between two syncs of a file. One large sync at
// the end would delay the acks of a host on the same disk.
const syncEvery = 4 << 20

// File is a backup's file on a disk. It has the name NAME.part until [File.Keep]. So a
// file with its own name is whole, whatever happens while it is written.
type File struct {
	name     string
	part     *os.File
	unsynced int
}

// Create makes the file NAME.part, or empties it.
func Create(name string) (*File, error) {
	part, err := os.OpenFile(name+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &File{name: name, part: part}, nil
}

// Write adds to the file.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.part.Write(p)
	if f.unsynced += n; err == nil && f.unsynced >= syncEvery {
		f.unsynced = 0
		err = f.part.Sync()
	}
	return n, err
}

// Keep gives the file its own name, in the place of one that has it. It returns when that
// is on the disk.
func (f *File) Keep() error {
	err := errors.Join(f.part.Sync(), f.part.Close())
	if err != nil {
		return errors.Join(err, os.Remove(f.part.Name()))
	}
	if err := os.Rename(f.part.Name(), f.name); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(f.name))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Drop removes a file that is not kept.
func (f *File) Drop() error {
	return errors.Join(f.part.Close(), os.Remove(f.part.Name()))
}
