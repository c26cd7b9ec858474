package pluginhost

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// What can't run here is known by its header, and said in words.
func TestInspect(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("its examples are Linux's")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	with := func(at int, b ...byte) string { return string(good[:at]) + string(b) + string(good[at+len(b):]) }
	noSections := with(40, make([]byte, 8)...) // no table of sections: where it stands, and how long it is
	noSections = noSections[:58] + "\x00\x00\x00\x00\x00\x00" + noSections[64:]
	for name, c := range map[string]struct{ content, want string }{
		"good":         {string(good), ""},
		"more behind":  {string(good) + "more", ""}, // installers and this package's tests do so
		"script":       {"#!/bin/sh -e\nexit 1", ""},
		"env":          {"#! /usr/bin/env python3\n", ""},
		"empty":        {"", "is empty"},
		"text":         {"These are notes.", "is neither a program nor a script that begins with #!"},
		"no shebang":   {"exec echo\n", "is neither a program nor a script"},
		"nobody":       {"#!\n", "is a script that names no interpreter"},
		"nowhere":      {"#!/nowhere/perl -w\n", `is a script for "/nowhere/perl", which can't be run here: `},
		"windows":      {"MZ\x90\x00", "is a program for Windows: build it for this machine, with GOOS=linux GOARCH=" + runtime.GOARCH},
		"macos":        {"\xcf\xfa\xed\xfe\x0c\x00\x00\x01", "is a program for macOS: build it for this machine"},
		"macos, both":  {"\xca\xfe\xba\xbe\x00\x00\x00\x02", "is a program for macOS: "},
		"sparc":        {with(18, 43, 0), "is a program for another processor (EM_SPARCV9): build it for this machine"},
		"freebsd":      {with(7, 9), "is a program for another system (ELFOSABI_FREEBSD): "},
		"object file":  {with(16, 1, 0), "is no program but an object file (ET_REL)"},
		"4 KiB short":  {string(good[:len(good)-4096]), "is a program whose header is broken or cut off"},
		"half":         {noSections[:len(good)/2], "is cut off: it has "},
		"header alone": {string(good[:40]), "is a program whose header is broken or cut off"},
	} {
		path := filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(path, []byte(c.content), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := inspect(path); (got == "") != (c.want == "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := inspect("/nowhere"); !strings.HasPrefix(got, "can't be read: ") {
		t.Errorf("no file: %q", got)
	}
}

// balhost check: all that the host would say before it runs a file.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	b := &bench{t: t, dir: dir}
	b.put("good", "")
	b.put("pinned", "")
	b.put("summed", "")
	b.script("notes~", "exit 1")
	b.write("text", []byte("x"))
	if err := os.WriteFile(filepath.Join(dir, "summed.sha256"), []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := Look(dir, func(name string) string { return map[string]string{"pinned": strings.Repeat("cd", 32)}[name] })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"good": "", "notes~": "no plugin's by its name: a plugin's name has letters", "pinned": "its content has sha256 ", "summed": "its content has sha256 ",
		"summed.sha256": "no plugin's by its name", "text": "its file is neither a program",
	}
	if len(found) != len(want) {
		t.Errorf("found %+v", found)
	}
	for _, c := range found {
		if said := c.Ignored + c.Refused; (said == "") != (want[c.Name] == "") || !strings.HasPrefix(said, want[c.Name]) {
			t.Errorf("%s: %+v, want %q", c.Name, c, want[c.Name])
		}
	}
}
