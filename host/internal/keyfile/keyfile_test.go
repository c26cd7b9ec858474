package keyfile

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What Make writes is read as the same key, and never replaced.
func TestMakeAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.key")
	made, err := Make(path)
	if err != nil {
		t.Fatal(err)
	}
	read, err := Read(path)
	if err != nil || !read.Same(made) || read.ID() != made.ID() {
		t.Fatalf("read %v, %v; made %v", read, err, made)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	before, _ := os.ReadFile(path)
	if _, err := Make(path); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("made again: %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file was replaced")
	}
	if other, err := Make(path + "2"); err != nil || other.Same(made) || other.ID() == made.ID() || made.Same(nil) || !(*Key)(nil).Same(nil) {
		t.Errorf("another key is the same: %v, %v", other, err)
	}
}

// P10: a wrong file is an error that names it, says what is wrong, and does not show it.
func TestWrongFiles(t *testing.T) {
	good := strings.Repeat("c0ffee01", 8)
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string // "": it is read
	}{
		"good": {good, 0o600, ""}, "with a line's end": {good + "\r\n", 0o400, ""}, "of a group": {good, 0o640, ""},
		"short": {good[:62], 0o600, "62 characters"}, "long": {good + "00", 0o600, "66 characters"}, "empty": {"", 0o600, "0 characters"},
		"no digits": {strings.Repeat("xy", 32), 0o600, "something else than hexadecimal digits"}, "zeros": {strings.Repeat("0", 64), 0o600, "all zeros"},
		"readable": {good, 0o644, "mode 0644): chmod 600"}, "writable by the group": {good, 0o620, "mode 0620"}, "huge": {strings.Repeat("a", 5000), 0o600, "longer than 1 KiB"},
	} {
		path := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		k, err := Read(path)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want == "":
			secret, _ := hex.DecodeString(good)
			for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s", k, k, k, k), fmt.Sprint(struct{ K *Key }{k}), text(t, k)} {
				if strings.Contains(shown, good) || strings.Contains(shown, string(secret)) || strings.Contains(shown, fmt.Sprint(secret)) {
					t.Errorf("the key is shown: %s", shown)
				}
			}
		case err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), good[:16]):
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "is missing: put it back") {
		t.Errorf("missing: %v", err)
	}
	if _, err := Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "a folder") {
		t.Errorf("a folder: %v", err)
	}
}

func text(t *testing.T, k *Key) string {
	t.Helper()
	b, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A data key can be unwrapped by its key and in its place only. What it encrypts is as long as said.
func TestDataKeys(t *testing.T) {
	k, other := New([Size]byte{1}), New([Size]byte{2})
	data, wrapped := k.NewDataKey([]byte("here"))
	if len(wrapped) != WrappedSize || data.Overhead() != Overhead {
		t.Errorf("%d bytes wrapped, %d overhead", len(wrapped), data.Overhead())
	}
	sealed := data.Seal(nil, nil, []byte("message"), []byte("place"))
	again, err := k.DataKey(wrapped, []byte("here"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := again.Open(nil, nil, sealed, []byte("place")); err != nil || string(plain) != "message" {
		t.Errorf("%q, %v", plain, err)
	}
	if _, err := k.DataKey(wrapped, []byte("there")); err == nil {
		t.Error("unwrapped elsewhere")
	}
	if _, err := other.DataKey(wrapped, []byte("here")); err == nil {
		t.Error("unwrapped by another key")
	}
	wrapped[20] ^= 1
	if _, err := k.DataKey(wrapped, []byte("here")); err == nil {
		t.Error("unwrapped though damaged")
	}
	if bytes.Equal(k.Derive("a"), k.Derive("b")) || bytes.Equal(k.Derive("a"), other.Derive("a")) {
		t.Error("derived keys are the same")
	}
}
