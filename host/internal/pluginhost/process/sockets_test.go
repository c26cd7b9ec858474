package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever the folder for temporary files is called, sockets go where a path can be
// a socket's.
func TestOddTemporaryFolder(t *testing.T) {
	data := "/var/lib/" + strings.Repeat("long", 30)
	for temp, want := range map[string]string{
		"/var/tmp": "/var/tmp/balhost-", "/t|mp": "/tmp/balhost-", "relative": "/tmp/balhost-", "/t\nmp": "/tmp/balhost-", "/" + strings.Repeat("x", 50): "/tmp/balhost-",
	} {
		t.Setenv("TMPDIR", temp)
		if got := SocketRoot(data); !strings.HasPrefix(got, want) {
			t.Errorf("TMPDIR=%q: %s, want %s", temp, got, want)
		}
	}
}

// In a folder that all can write to, somebody else's is not taken for ours.
func TestForeignSocketFolder(t *testing.T) {
	for mend, make := range map[string]func(path string) error{
		"is no folder (L": func(p string) error { return os.Symlink(t.TempDir(), p) },
		"chmod 700 ": func(p string) error {
			if err := os.Mkdir(p, 0o755); err != nil {
				return err
			}
			return os.Chmod(p, 0o777)
		},
		"is no folder (-": func(p string) error { return os.WriteFile(p, nil, 0o700) },
	} {
		path := filepath.Join(t.TempDir(), "run")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if err := openSockets(path); err == nil || !strings.Contains(err.Error(), mend) {
			t.Errorf("%v, want %s", err, mend)
		}
	}
}
