package artefact

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
	zero := make([]byte, 8)
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
		"nowhere":      {"#!/nowhere/perl -w\n", `is a script for "/nowhere/perl", which isn't there: install it`},
		"folder":       {"#!/etc\n", `is a script for "/etc", which is a folder: name a program`},
		"not to run":   {"#!/etc/passwd\n", `is a script for "/etc/passwd", which user `},
		"no newline":   {"#!/bin/sh", ""},
		"CR LF":        {"#!/bin/sh\r\nexit 1\r\n", `is a script whose lines end as on Windows (CR LF), so its interpreter isn't found: sed -i 's/\r$//' `},
		"CR LF, args":  {"#!/usr/bin/env python3\r\n", "is a script whose lines end as on Windows"},
		"CR alone":     {"#!\r\n", "is a script that names no interpreter"},
		"relative":     {"#!python3\n", `is a script for "python3": its interpreter needs its whole path, or #!/usr/bin/env python3`},
		"env, nobody":  {"#!/usr/bin/env no-such-thing\n", `is a script for "no-such-thing", which isn't in the host's PATH (`},
		"env, option":  {"#!/usr/bin/env sh -e\n", `is a script for env, which takes all of "sh -e" for one program's name: write #!/usr/bin/env -S sh -e`},
		"env -S":       {"#!/usr/bin/env -S sh -e\n", ""},
		"long line":    {"#!/bin/sh " + strings.Repeat("x", 300) + "\n", "is a script whose first line is longer than the 255 bytes"},
		"BOM":          {"\xef\xbb\xbf#!/bin/sh\n", "begins with a byte order mark"},
		"class":        {"\xca\xfe\xba\xbe\x00\x00\x00\x41", "is a Java class"},
		"jar":          {"PK\x03\x04", "is an archive (zip or jar)"},
		"go library":   {"!<arch>\n__.PKGDEF", "is a library: with Go, build a package main"},
		"html":         {"<!DOCTYPE html>", "is a page of HTML or XML"},
		"LFS":          {"version https://git-lfs.github.com/spec/v1\n", "is only a pointer"},
		"big endian":   {with(5, 2), "is a program whose header is broken"}, // and so nothing else in it is right
		"library":      {with(24, zero...), "is a library, no program"},
		"windows":      {"MZ\x90\x00", "is a program for Windows: build it for this machine, with GOOS=linux GOARCH=" + runtime.GOARCH},
		"macos":        {"\xcf\xfa\xed\xfe\x0c\x00\x00\x01", "is a program for macOS: build it for this machine"},
		"macos, both":  {"\xca\xfe\xba\xbe\x00\x00\x00\x02", "is a program for macOS: "},
		"sparc":        {with(18, 43, 0), "is a program for another processor (EM_SPARCV9): build it for this machine"},
		"freebsd":      {with(7, 9), "is a program for another system (ELFOSABI_FREEBSD): "},
		"object file":  {with(16, 1, 0), "is no program but an object file (ET_REL)"},
		"4 KiB short":  {string(good[:len(good)-4096]), "is cut off: it ends before"},
		"half":         {noSections[:len(good)/2], "is cut off: it has "},
		"header alone": {string(good[:40]), "is cut off: it ends before"},
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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"good": string(program), "pinned": string(program), "summed": string(program), "notes~": "#!/bin/sh\nexit 1\n", "text": "x",
	} {
		writeExecutable(t, filepath.Join(dir, name), []byte(content))
	}
	if err := os.WriteFile(filepath.Join(dir, "summed.sha256"), []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "folder"), 0o755), os.Symlink("nothing", filepath.Join(dir, "link")),
		os.WriteFile(filepath.Join(dir, "plain"), nil, 0o644), os.Chmod(filepath.Join(dir, "good"), 0o755|os.ModeSetuid),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	found, err := Look(dir, Usual, func(name string) string { return map[string]string{"pinned": strings.Repeat("cd", 32)}[name] })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"folder": "a folder without a file named plugin", "link": "a link to nothing", "plain": "not executable (chmod +x makes it a plugin)",
		"good": "its set-uid or set-gid bit has no effect", "notes~": "no plugin's by its name: a plugin's name has only letters", "pinned": "its content has sha256 ", "summed": "its content has sha256 ",
		"summed.sha256": "no plugin's by its name", "text": "its file is neither a program",
	}
	if len(found) != len(want) {
		t.Errorf("found %+v", found)
	}
	for _, c := range found {
		if said := c.Ignored + c.Refused + c.Note; (said == "") != (want[c.Name] == "") || !strings.HasPrefix(said, want[c.Name]) {
			t.Errorf("%s: %+v, want %q", c.Name, c, want[c.Name])
		}
	}
}
