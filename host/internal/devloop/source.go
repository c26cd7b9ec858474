package devloop

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"balhost/sdk/message"
)

// Source is where a plugin comes from.
type Source struct {
	Name string // the plugin's: that of its folder or file
	Path string // absolute
	way  way
}

// way is how a source becomes a plugin.
type way int

const (
	asItIs   way = iota // a file, or a folder with an executable file named plugin
	byScript            // a folder with an executable file named build, which leaves the plugin at out/NAME
	byGo                // a folder with a Go program
)

// Find says how the plugin at a path is built. The error says how it could be.
func Find(path string) (Source, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Source{}, err
	}
	s := Source{Name: filepath.Base(path), Path: path}
	if err := message.CheckPluginName(s.Name); err != nil {
		return s, fmt.Errorf("%s: a plugin has the name of its folder or file: %w", path, err)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return s, err
	case !info.IsDir() && !executable(path):
		return s, fmt.Errorf("%s is not executable: chmod +x, or name the plugin's folder", path)
	case !info.IsDir():
	case executable(filepath.Join(path, "build")):
		s.way = byScript
	case executable(filepath.Join(path, "plugin")) && !isSource(path):
	case len(matches(path, "*.go")) > 0:
		s.way = byGo
	default:
		return s, fmt.Errorf("%s: nothing says how it is built: put an executable file named build into it, which leaves the plugin at out/%s", path, s.Name)
	}
	return s, nil
}

// isSource reports whether a folder has what a plugin is made of and does not need to run, so
// that it is no plugin as it is, whatever file named plugin is in it.
func isSource(path string) bool {
	for _, name := range []string{"pom.xml", "package.json", "pyproject.toml", ".venv"} {
		if _, err := os.Lstat(filepath.Join(path, name)); err == nil {
			return true
		}
	}
	return false
}

// kindOf says whether a plugin is a file or a folder, or why it is none.
func kindOf(path string) (folder bool, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return false, err
	case !info.IsDir() && !executable(path):
		return false, errors.New("it is not executable")
	case info.IsDir() && !executable(filepath.Join(path, "plugin")):
		return true, errors.New("no executable file named plugin is in it")
	}
	return info.IsDir(), nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func matches(dir, pattern string) []string {
	all, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns here are right
	return all
}

// print is made of a source's files, and is another when they are.
type print [sha256.Size]byte

// looks is a print of what the file system says of the files. It is cheap, and another
// after each save.
func (s Source) looks() (print, error) {
	sum := sha256.New()
	err := s.walk(func(path string, info fs.FileInfo) error {
		fmt.Fprintf(sum, "%q %v %d %d\n", path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		return nil
	})
	return print(sum.Sum(nil)), err
}

// holds is a print of what is in the files. It is another when a build is needed.
func (s Source) holds() (print, error) {
	sum := sha256.New()
	err := s.walk(func(path string, info fs.FileInfo) error {
		fmt.Fprintf(sum, "%q %v %d\n", path, info.Mode(), info.Size())
		if !info.Mode().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) { // an editor's
			return nil
		} else if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(sum, f)
		return err
	})
	return print(sum.Sum(nil)), err
}

// contains reports whether a file that has changed may be one of the source's.
func (s Source) contains(path string) bool {
	return path == s.Path || filepath.Dir(path) != filepath.Dir(s.Path) && !s.ignores(path, false)
}

// walk calls each with the files of the source, in order.
func (s Source) walk(each func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(s.Path, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != s.Path: // it has just been removed
			return nil
		case err != nil:
			return err
		case path != s.Path && s.ignores(path, entry.IsDir()):
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case entry.IsDir():
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		return each(path, info)
	})
}

// made are folders with what builds leave, and not with source.
var made = []string{"out", "target", "dist", "node_modules", "__pycache__", "venv"}

// ignores reports whether a file or folder is no source: what begins with a dot, what
// builds leave, and what editors leave. A plugin that is not built needs its modules.
func (s Source) ignores(path string, folder bool) bool {
	name := filepath.Base(path)
	if folder && s.way != asItIs && (slices.Contains(made, name) || strings.HasSuffix(name, ".egg-info")) {
		return true
	}
	return strings.HasPrefix(name, ".") || name == "__pycache__" || strings.HasSuffix(name, "~")
}
