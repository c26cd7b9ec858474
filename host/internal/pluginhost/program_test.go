package pluginhost

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What can't be executed, and what dies of how it is made, says so in words with
// the mend, not in the system's.
func TestWhyItDoesNotRun(t *testing.T) {
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
	b := newBench(t)
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{RestartMin: 50 * time.Millisecond} }
	want := map[string]struct {
		content string
		state   State
		reason  string
	}{
		"half":   {string(good[:len(good)/2]), Refused, "not a plugin: it is cut off: it "},
		"crlf":   {"#!/bin/sh\r\nexit 1\r\n", Refused, "not a plugin: it is a script whose lines end as on Windows"},
		"env":    {"#!/usr/bin/env no-such-thing\n", Backoff, "can't be started: it is a script for \"no-such-thing\", which isn't in the host's PATH"},
		"perl":   {"#!/nowhere/perl\n", Backoff, "can't be started: it is a script for \"/nowhere/perl\", which isn't there: install it"},
		"empty":  {"", Refused, "not a plugin: it is empty"},
		"text":   {"exec echo\n", Refused, "not a plugin: it is neither a program nor a script"},
		"class":  {"\xca\xfe\xba\xbe\x00\x00\x00\x41", Refused, "not a plugin: it is a Java class"},
		"nobody": {"#!/etc/passwd\n", Backoff, "can't be started: it is a script for \"/etc/passwd\", which user "},
	}
	if ls, err := os.ReadFile("/bin/ls"); err == nil && runtime.GOARCH == "amd64" && strings.Contains(string(ls), "/lib64/ld-linux-x86-64.so.2\x00") {
		c := want["perl"]
		c.content = strings.Replace(string(ls), "/lib64/ld-linux-x86-64.so.2\x00", "/lib/ld-musl-x86_64.so.1\x00\x00\x00\x00", 1)
		c.reason = "can't be started: it needs the loader /lib/ld-musl-x86_64.so.1, which this system hasn't got: build it without one (CGO_ENABLED=0 if it is Go), or for this system's C library instead of musl"
		want["musl"] = c
	}
	for name, c := range want {
		b.write(name, []byte(c.content))
	}
	b.run()
	for name, c := range want {
		var s Status
		b.poll(name+" to have its reason", func() bool { s = b.status(name); return s.State == c.state && s.Reason != "" })
		if !strings.HasPrefix(s.Reason, c.reason) {
			t.Errorf("%s: %q, want %q", name, s.Reason, c.reason)
		}
		if c.state == Refused && strings.Contains(s.Reason, "exec format error") {
			t.Errorf("%s: %q has the system's words", name, s.Reason)
		}
	}
}

// What has a plugin's name and is none is told of, with what to do, and becomes
// one when that is done.
func TestIgnoredIsShown(t *testing.T) {
	b := newBench(t)
	if err := os.Mkdir(filepath.Join(b.dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.put("echo", "")
	file := filepath.Join(b.dir, "echo")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.event("settled", 1)
	if said := b.host.Ignored(); !strings.HasPrefix(said["folder"], "a folder") || !strings.Contains(said["echo"], "chmod +x") || len(said) != 2 {
		t.Errorf("%q", said)
	}
	if err := os.Chmod(file, 0o755); err != nil {
		t.Fatal(err)
	}
	b.event("ready echo", 1)
	if said := b.host.Ignored(); said["echo"] != "" {
		t.Errorf("%q", said)
	}
}
