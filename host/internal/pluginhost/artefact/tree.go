package artefact

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"balhost/host/internal/pluginhost/policy"
)

// A plugin can be a folder. What is started is the file named plugin in it. The folder
// is staged whole, and its content has one hash, that of a list of its entries.

// ProgramName is the file in a plugin's folder that is started.
const ProgramName = "plugin"

// Bounds are what a plugin's file or folder may have.
type Bounds struct {
	Bytes   int64 // in all
	Entries int   // files, folders and links of a folder
}

// Usual are the bounds that a config without them means.
var Usual = Bounds{Bytes: 512 << 20, Entries: 20_000}

// leaveOut are folders that are neither hashed nor copied: Python writes its bytecode
// there, whoever runs the plugin. A copy that runs doesn't get any.
const leaveOut = "__pycache__"

// withoutProgram is said of a folder that has no file to start, not yet maybe.
const withoutProgram = "a folder without a file named " + ProgramName + ": that is the program that would be started"

// node is one entry of a folder.
type node struct {
	path string // below the folder, with slashes
	full string
	info fs.FileInfo
}

// walk goes over a folder, without the folder itself, in an order that follows from the
// names. What vanishes meanwhile is left out.
func walk(root string, visit func(node) error) error {
	return filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && full != root {
			return nil
		} else if err != nil || full == root {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		if info.IsDir() && info.Name() == leaveOut {
			return filepath.SkipDir
		}
		path, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		return visit(node{filepath.ToSlash(path), full, info})
	})
}

// survey is what stat tells of a folder and all that is in it. f.flaw says what breaks its
// bounds. dirs are the folders in it, to be watched.
func survey(f File, b Bounds) (_ File, dirs []string) {
	seen := sha256.New()
	f.size, dirs = 0, []string{f.real}
	err := walk(f.real, func(n node) error {
		st := n.info.Sys().(*syscall.Stat_t)
		if f.entries++; f.entries > b.Entries {
			f.flaw = fmt.Sprintf("its folder %s has more than %d entries: bundle its modules, or raise plugins.max_entries", f.real, b.Entries)
			return filepath.SkipAll
		}
		if n.info.IsDir() { // not its times: they tell of what is left out, too
			dirs = append(dirs, n.full)
			fmt.Fprintf(seen, "%q %o\n", n.path, n.info.Mode())
			return nil
		}
		if f.size += n.info.Size(); f.size > b.Bytes {
			f.flaw = fmt.Sprintf("its folder %s has more than %d MiB: make it smaller, or raise plugins.max_size", f.real, b.Bytes>>20)
			return filepath.SkipAll
		}
		fmt.Fprintf(seen, "%q %o %d %d %d %d %d\n", n.path, n.info.Mode(), n.info.Size(), n.info.ModTime().UnixNano(), changed(n.info), st.Dev, st.Ino)
		return nil
	})
	if err != nil {
		f.flaw = "its folder can't be looked at: " + err.Error()
	}
	f.modified, f.changed = 0, 0 // those of the folder itself tell of what is left out, too
	f.tree = hex.EncodeToString(seen.Sum(nil))
	return f, dirs
}

// examineFolder says what a folder is as a plugin, or why it is none.
func examineFolder(name, real string, info fs.FileInfo, b Bounds) (f File, dirs []string, none string) {
	program, err := os.Stat(filepath.Join(real, ProgramName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil, withoutProgram
	case err != nil:
		return f, nil, "a folder whose file " + ProgramName + " can't be looked at: " + err.Error()
	case !program.Mode().IsRegular():
		return f, nil, "a folder whose " + ProgramName + " is not a regular file"
	case program.Mode()&0o111 == 0:
		return f, nil, "a folder whose file " + ProgramName + " is not executable (chmod +x makes it a plugin)"
	}
	f = describe(name, real, info)
	f.folder = true
	f, dirs = survey(f, b)
	return f, dirs, ""
}

// treePass reads a folder once: it hashes it, and copies it if to is set.
type treePass struct {
	root, to string // to: an empty folder; "": nothing is copied
	stopping <-chan struct{}
	list     hash.Hash
	dirs     []string // that were made, the outer ones first
}

// run returns the folder's hash, in hex: the sha256 of a list with a line for each entry,
// in the order of walk, of its kind, its content's sha256 or its target, and its path.
// Of modes only the permission to run matters.
func (p *treePass) run() (string, error) {
	p.list = sha256.New()
	io.WriteString(p.list, "balhost folder 1\n") // so that no file has this content by chance
	if err := walk(p.root, p.entry); err != nil {
		return "", err
	}
	for _, dir := range slices.Backward(p.dirs) {
		if err := os.Chmod(dir, 0o500); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(p.list.Sum(nil)), nil
}

func (p *treePass) entry(n node) error {
	select {
	case <-p.stopping:
		return policy.ErrStopping
	default:
	}
	to := ""
	if p.to != "" {
		to = filepath.Join(p.to, filepath.FromSlash(n.path))
	}
	switch mode := n.info.Mode(); {
	case mode.IsDir():
		fmt.Fprintf(p.list, "folder %q\n", n.path)
		if to == "" {
			return nil
		}
		p.dirs = append(p.dirs, to)
		return os.Mkdir(to, 0o700)
	case mode.Type() == fs.ModeSymlink:
		target, err := os.Readlink(n.full)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.list, "link %q %q\n", target, n.path)
		if to == "" {
			return nil
		}
		return os.Symlink(target, to)
	case !mode.IsRegular():
		return fmt.Errorf("%s is no file, folder or link", n.full)
	}
	return p.file(n, to)
}

func (p *treePass) file(n node, to string) error {
	kind, mode := "file", fs.FileMode(0o400)
	if n.info.Mode()&0o111 != 0 {
		kind, mode = "program", 0o500
	}
	src, _, err := openFile(n.full)
	if err != nil {
		return err
	}
	defer src.Close()
	sum := sha256.New()
	dst := io.Writer(sum)
	if to != "" {
		copy, err := create(to)
		if err != nil {
			return err
		}
		dst = io.MultiWriter(copy, sum)
	}
	content := io.LimitReader(until{src, p.stopping}, n.info.Size())
	if _, err := io.CopyBuffer(dst, content, make([]byte, min(1<<20, n.info.Size()+1))); err != nil {
		return err
	}
	fmt.Fprintf(p.list, "%s %x %q\n", kind, sum.Sum(nil), n.path)
	if to == "" {
		return nil
	}
	return os.Chmod(to, mode)
}

// sumTree hashes a folder.
func sumTree(root string) (string, error) {
	p := treePass{root: root}
	return p.run()
}

// stageTree copies a folder into a draft, which nobody can write to.
func (f File) stageTree(dst string, stopping <-chan struct{}) (string, error) {
	p := treePass{root: f.real, to: dst, stopping: stopping, dirs: []string{dst}}
	sum, err := p.run()
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrChanging
	} else if err != nil {
		return "", fmt.Errorf("stage plugin: %w", err)
	}
	return sum, f.unchanged()
}

// unchanged is ErrChanging if a folder is not as it was when it was surveyed.
func (f File) unchanged() error {
	info, err := os.Stat(f.real)
	if err != nil {
		return ErrChanging
	}
	now, _, _ := examineFolder(f.Name, f.real, info, Bounds{Bytes: f.size, Entries: f.entries})
	if now.sum = f.sum; now != f {
		return ErrChanging
	}
	return nil
}

// removeCopy removes a copy, or a part of one, although nobody can write to it.
func removeCopy(path string) error {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return unlessGone(os.Remove(path))
	}
	_ = filepath.WalkDir(path, func(full string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return os.Chmod(full, 0o700)
		}
		return nil
	}) // what fails, RemoveAll tells
	return os.RemoveAll(path)
}
