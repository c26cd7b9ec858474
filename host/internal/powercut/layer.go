package powercut

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Change replaces a text in one of balhost's sources. The text must occur exactly once,
// so that a test never runs without its change.
type Change struct {
	File     string // from the top of the module
	Old, New string
}

// Build builds the tests of a package into the program out. The program has the layer
// in its system calls, and the changes in its sources. top is the folder of the module.
func Build(top, out, pkg string, changes ...Change) error {
	list, err := overlay(top, out+".overlay", changes)
	if err != nil {
		return fmt.Errorf("make overlay: %w", err)
	}
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-tags", "powercut", "-overlay", list, "-ldflags", "-s -w", "-o", out, pkg)
	cmd.Dir = top
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tests of %s with the layer: %w\n%s", pkg, err, text)
	}
	return nil
}

// overlay writes the changed copies into a folder. list is the name of the file that
// lists them for go's -overlay flag.
func overlay(top, to string, changes []Change) (list string, err error) {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return "", err
	}
	texts := copies{}
	if err := texts.layer(); err != nil {
		return "", err
	}
	for _, c := range changes {
		if err := texts.change(filepath.Join(top, filepath.FromSlash(c.File)), c.Old, c.New); err != nil {
			return "", err
		}
	}
	replaced := map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(texts)) {
		full, err := filepath.Abs(name)
		if err != nil {
			return "", err
		}
		replaced[full] = filepath.Join(to, fmt.Sprintf("%d_%s.txt", i, filepath.Base(name)))
		if err := os.WriteFile(replaced[full], []byte(texts[name]), 0o600); err != nil {
			return "", err
		}
	}
	index, err := json.Marshal(map[string]any{"Replace": replaced})
	list = filepath.Join(to, "overlay.json")
	return list, errors.Join(err, os.WriteFile(list, index, 0o600))
}

// copies are changed sources by their names.
type copies map[string]string

// layer changes package syscall, and the one call of os that does not use it.
func (c copies) layer() error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	folder, below := filepath.Join(src, "syscall"), filepath.Join(src, "internal", "syscall", "unix")
	for _, d := range descriptors {
		if err := c.change(filepath.Join(folder, "syscall_linux.go"), d[0], d[0]+d[1]); err != nil {
			return err
		}
	}
	for _, call := range paths {
		was := "\nfunc " + call + "("
		if err := c.change(filepath.Join(folder, "zsyscall_linux_"+runtime.GOARCH+".go"), was, "\nfunc powercut"+call+"("); err != nil {
			return err
		}
	}
	c[filepath.Join(folder, "powercut_linux.go")] = added
	c[filepath.Join(below, "powercut_linux.go")] = addedBelow
	return c.change(filepath.Join(below, "at.go"), "\nfunc Unlinkat(", "\nfunc powercutUnlinkat(")
}

// change replaces a text that must occur exactly once.
func (c copies) change(name, before, after string) error {
	text, ok := c[name]
	if !ok {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text = string(b)
	}
	if n := strings.Count(text, before); n != 1 {
		return fmt.Errorf("%s has %q %d times instead of once: look at that source, and adapt package powercut", name, before, n)
	}
	c[name] = strings.Replace(text, before, after, 1)
	return nil
}
