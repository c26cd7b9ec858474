package devloop

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// put puts a plugin, a file or a folder, into dir under a name. The whole plugin is
// copied beside its place first, under a name that a host ignores.
func put(from, dir, name string) error {
	place, next, last := filepath.Join(dir, name), filepath.Join(dir, "."+name+".next"), filepath.Join(dir, "."+name+".last")
	if err := errors.Join(os.RemoveAll(next), os.RemoveAll(last)); err != nil {
		return err
	}
	if err := copyTree(from, next); err != nil {
		return errors.Join(fmt.Errorf("copy the plugin into the plugins folder: %w", err), os.RemoveAll(next))
	}
	err := os.Rename(next, place)
	if err != nil { // one of them is a folder
		if err = os.Rename(place, last); err == nil {
			err = os.Rename(next, place)
		}
	}
	return errors.Join(err, os.RemoveAll(last))
}

// copyTree copies a file or a folder. Nobody but the owner may change the copy, as the
// host wants it.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != from && (entry.Name() == ".git" || entry.Name() == "__pycache__") {
			return filepath.SkipDir
		}
		inside, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, inside)
		info, err := entry.Info()
		if path == from {
			info, err = os.Stat(path) // the plugin may be a link
		}
		switch {
		case err != nil:
			return err
		case info.IsDir():
			return os.Mkdir(target, 0o700)
		case info.Mode()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case info.Mode().IsRegular():
			return copyFile(path, target, info.Mode().Perm()&^0o022)
		}
		return fmt.Errorf("%s is neither a file, a folder nor a link", path)
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
