package artefact

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"balhost/sdk/message"
)

// Scan looks at the plugins folder. It finds every executable regular file whose name
// can be a plugin's, and every folder with such a file named plugin in it, also behind
// symbolic links. After an error nothing is known.
func Scan(dir string, b Bounds) (Found, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Found{}, fmt.Errorf("look into plugins folder: %w", err)
	}
	all := Found{Present: map[string]File{}, None: map[string]string{}, Unclear: map[string]bool{}}
	for _, entry := range entries {
		name := entry.Name()
		if f, dirs, reason := examine(dir, name, b); reason == "" {
			all.Present[name] = f
			all.Folders = append(all.Folders, dirs...)
		} else if noName(name) == nil {
			all.None[name] = reason
			_, err := os.Stat(filepath.Join(dir, name))
			all.Unclear[name] = err != nil && !errors.Is(err, fs.ErrNotExist) || reason == withoutProgram
		}
	}
	return all, nil
}

// Find is Scan for one name. A Fault says why the entry is no plugin's file.
func Find(dir, name string, b Bounds) (File, error) {
	f, _, none := examine(dir, name, b)
	if none != "" {
		return File{}, Fault(none)
	}
	return f, nil
}

// Found is what a look into the plugins folder brought, by name.
type Found struct {
	Present map[string]File
	None    map[string]string // what has a plugin's name and is none, with the reason
	Unclear map[string]bool   // of these, what could not be looked at, or is a folder that may be in the making
	Folders []string          // of plugins, with all folders in them
}

// noName says why a name can't be a plugin's.
func noName(name string) error {
	if strings.HasSuffix(name, "-go-tmp-umask") {
		return errors.New("go build has left it")
	}
	return message.CheckPluginName(name)
}

// examine says what an entry of the folder is, or why it is no plugin's file.
func examine(dir, name string, b Bounds) (f File, dirs []string, none string) {
	if err := noName(name); err != nil {
		return File{}, nil, "no plugin's by its name: " + err.Error()
	}
	real, err := filepath.EvalSymlinks(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, nil, "a link to nothing: mend or remove it"
	} else if err != nil {
		return File{}, nil, "can't be followed: " + err.Error()
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return File{}, nil, "can't be looked at: " + err.Error()
	case info.IsDir():
		f, dirs, none = examineFolder(name, real, info, b)
		if f.folder {
			f.sum = sumOf(dir, name)
		}
		return f, dirs, none
	case !info.Mode().IsRegular():
		return File{}, nil, "not a regular file"
	case info.Mode()&0o111 == 0:
		return File{}, nil, "not executable (chmod +x makes it a plugin)"
	}
	f = describe(name, real, info)
	f.sum = sumOf(dir, name)
	if f.size > b.Bytes {
		f.flaw = fmt.Sprintf("its file %s has %d MiB, a plugin's may have %d: it is no plugin, or has to be made smaller, or plugins.max_size raised", f.real, f.size>>20, b.Bytes>>20)
	}
	return f, nil, ""
}

// Candidate is one entry of a plugins folder. At most one of the texts is set.
type Candidate struct {
	Name    string
	Ignored string // why it is no plugin's file; that is no mistake
	Refused string // why it can't be a plugin, with what to do
	Note    string // what it would not have as a plugin, though it runs
	SHA256  string // of the content of a file or folder that can be read, in hex
}

// Look says what the host would make of a plugins folder, by name, without
// starting anything. allowed gives the sha256 of the content that the config allows a plugin, in
// hex; "" for any.
func Look(dir string, b Bounds, allowed func(name string) string) ([]Candidate, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look into plugins folder: %w", err)
	}
	var out []Candidate
	for _, entry := range entries {
		c := Candidate{Name: entry.Name()}
		if f, _, none := examine(dir, entry.Name(), b); none != "" {
			c.Ignored = none
		} else if c.SHA256, c.Refused = judge(f, dir, allowed(c.Name)); c.Refused == "" {
			c.Note = f.Loses()
		}
		out = append(out, c)
	}
	return out, nil
}

// judge says what is wrong with a file, as far as can be told without running it. "":
// nothing.
func judge(f File, dir, allowed string) (sum, reason string) {
	if reason := vet(f, dir); reason != "" {
		return "", reason
	}
	sum, err := sumCopy(f.real)
	if err != nil {
		return "", "its content can't be read: " + err.Error()
	}
	if reason := inspect(f.program()); reason != "" {
		return sum, "its file " + reason
	}
	return sum, CheckSum(f, sum, allowed)
}

// sumCopy hashes a file or a folder.
func sumCopy(path string) (string, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return sumTree(path)
	}
	return sumFile(path)
}

// sumFile hashes a file, of which it reads no more than it has now.
func sumFile(path string) (string, error) {
	f, info, err := openFile(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, io.LimitReader(f, info.Size())); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// openFile opens a regular file of the plugins folder. Anything may lie there: to open
// a FIFO, for example, would wait until somebody writes into it.
func openFile(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Loses says what a private copy of the file doesn't have; "": it is as the file.
func (f File) Loses() string {
	if f.folder {
		return ""
	}
	if fs.FileMode(f.mode)&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		return "its set-uid or set-gid bit has no effect: a plugin runs as the host's user"
	}
	if n, err := unix.Getxattr(f.real, "security.capability", nil); err == nil && n > 0 {
		return "its capabilities (setcap) have no effect: a plugin has the host's"
	}
	return ""
}

func describe(name, real string, info fs.FileInfo) File {
	st := info.Sys().(*syscall.Stat_t)
	return File{
		Name: name, real: real, dev: uint64(st.Dev), ino: st.Ino, size: info.Size(),
		modified: info.ModTime().UnixNano(), changed: changed(info), mode: uint32(info.Mode()),
	}
}
