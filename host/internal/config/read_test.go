package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Whatever lies where a file should: it is refused at once, with its place. A
// FIFO would be waited for, a device may have no end. // P10
func TestOnlyFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"fifo":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"socket": func(path string) error {
			l, err := net.Listen("unix", path)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
		"zero": func(path string) error { return os.Symlink("/dev/zero", path) },
		"huge": func(path string) error { // 10 GiB, of which nothing is on disk
			f, err := os.Create(path)
			if err != nil {
				return err
			}
			defer f.Close()
			return f.Truncate(10 << 30)
		},
		"binary": func(path string) error { return os.WriteFile(path, []byte("\xff"), 0o600) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	session := func(key, more string) string {
		return fmt.Sprintf("session \"main\" {\n  sender_id = \"1\"\n  ccs {\n  address = \"fcm:1\"\n  server_key = %s\n%s}\n}\n", key, more)
	}
	for _, c := range []struct{ name, file, ca string }{
		{"fifo", "it is a pipe (FIFO)", "it is a pipe (FIFO)"},
		{"folder", "it is a folder", "it is a folder"},
		{"socket", "it is a socket", "it is a socket"},
		{"zero", "it is a device", "it is a device"},
		{"huge", "longer than 64 KiB", "longer than 1024 KiB"},
		{"binary", "not text", "has no certificate"},
	} {
		path := filepath.Join(dir, "config.hcl")
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(session(fmt.Sprintf("file(%q)", c.name), ""))
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "config.hcl:5,") || !strings.Contains(err.Error(), c.file) {
			t.Errorf("file(%s): %v", c.name, err)
		}
		write(session(`"k"`, fmt.Sprintf("  tls {\n    ca_file = %q\n  }\n", c.name)))
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "config.hcl:7,") || !strings.Contains(err.Error(), c.ca) {
			t.Errorf("ca_file %s: %v", c.name, err)
		}
		for _, load := range []func(string) error{
			func(path string) error { _, err := Load(path); return err },
			func(path string) error { _, err := LoadAdmin(path); return err },
		} {
			if err := load(filepath.Join(dir, c.name)); err == nil || c.name != "binary" && !strings.Contains(err.Error(), c.file) {
				t.Errorf("config %s: %v", c.name, err)
			}
		}
	}
}
