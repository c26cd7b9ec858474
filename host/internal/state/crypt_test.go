package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"balhost/host/internal/keyfile"
)

var testKey, otherKey = keyfile.New([keyfile.Size]byte{7}), keyfile.New([keyfile.Size]byte{8})

// fillTables has records in tables and in the log of a memtable, one of them too large for a table.
func fillTables(t testing.TB, h *history) {
	t.Helper()
	for i := range 300 {
		h.apply(t, Change{Key: fmt.Appendf(nil, "k%03d%s", i, secret), Value: bytes.Repeat([]byte(secret), 50)})
		if i%100 == 50 {
			h.apply(t, Change{Key: fmt.Appendf(nil, "klarge%d", i), Value: append(make([]byte, 80<<10), secret...)})
			if err := h.s.Settle(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.s.Flush(); err != nil {
		t.Fatal(err)
	}
}

// With a key no text is in badger's files; without one it is in the same kinds of files. Search
// finds it in each of them.
func TestEncrypted(t *testing.T) {
	var plain []string
	for _, key := range []*keyfile.Key{nil, testKey} {
		h := &history{o: small(t, t.TempDir()), records: map[string]string{}}
		h.o.Key = key
		h.open(t)
		fillTables(t, h)
		kinds := kindsOf(holders(t, h.o.Dir))
		found, err := h.s.Search(context.Background(), func(b []byte) bool { return bytes.Contains(b, []byte(secret)) })
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case key == nil:
			if plain = kinds; len(plain) != 3 || found != nil {
				t.Fatalf("without a key the text is in %v, found in %v", kinds, found)
			}
		case len(kinds) > 0:
			t.Errorf("with a key the text is in %v", kinds)
		case fmt.Sprint(kindsOf(found)) != fmt.Sprint(plain):
			t.Errorf("it is found in %v, without a key it is in %v", found, plain)
		}
		keys := []string{"k000" + secret, "k299" + secret, "klarge50", "klarge250"}
		h.check(t, keys)
		if err := h.s.Close(); err != nil {
			t.Fatal(err)
		}
		h.open(t)
		h.check(t, keys)
		h.scan(t)
		if err := h.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// kindsOf are the endings of files' names.
func kindsOf(files []string) (kinds []string) {
	for _, kind := range []string{".mem", ".sst", ".vlog"} {
		for _, f := range files {
			if strings.HasSuffix(f, kind) {
				kinds = append(kinds, kind)
				break
			}
		}
	}
	return kinds
}

// After Scour nothing is found in decrypted files either.
func TestScourEncrypted(t *testing.T) {
	h := &history{o: small(t, t.TempDir()), records: map[string]string{}}
	h.o.Key = testKey
	h.open(t)
	defer h.s.Close() //nolint:errcheck // the test is over
	others := fillWith(t, h)
	if err := h.s.Settle(context.Background()); err != nil {
		t.Fatal(err)
	}
	search := func() []string {
		found, err := h.s.Search(context.Background(), func(b []byte) bool { return bytes.Contains(b, []byte(secret)) })
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if len(search()) == 0 {
		t.Fatal("the test wrote nothing")
	}
	if err := h.s.Scour(context.Background(), isSecret); err != nil {
		t.Fatal(err)
	}
	left := search()
	for until := time.Now().Add(time.Minute); left != nil && time.Now().Before(until); left = search() {
		time.Sleep(10 * time.Millisecond) // badger removes files a moment later
	}
	if left != nil {
		t.Errorf("left in %v", left)
	}
	h.check(t, others)
}

// A wrong key, no key, and a key for what is not encrypted are errors, and no file changes.
func TestWrongKey(t *testing.T) {
	for name, c := range map[string]struct {
		was, is *keyfile.Key
		want    error
	}{"none": {testKey, nil, keyfile.ErrKey}, "another": {testKey, otherKey, keyfile.ErrKey}, "needless": {nil, testKey, keyfile.ErrPlain}} {
		h := &history{o: small(t, t.TempDir()), records: map[string]string{}}
		h.o.Key = c.was
		h.open(t)
		h.apply(t, Change{Key: []byte("k1"), Value: []byte("v")})
		if err := h.s.Close(); err != nil {
			t.Fatal(err)
		}
		before := files(t, h.o.Dir)
		o := h.o
		o.Key = c.is
		if s, err := Open(o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				s.Close()
			}
		}
		if after := files(t, h.o.Dir); after != before {
			t.Errorf("%s: the files were\n%s\nand are\n%s", name, before, after)
		}
		h.open(t)
		h.check(t, []string{"k1"})
		if err := h.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// files are the names and contents of a folder's files.
func files(t testing.TB, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range all {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %d %x\n", filepath.Base(f), len(b), b[:min(len(b), 64)])
	}
	return out.String()
}

// A start with a key that ended before there was anything does not bind the folder to that key. A
// registry that is gone or damaged later is an error that says so.
func TestKeyRegistry(t *testing.T) {
	o := small(t, t.TempDir())
	path := filepath.Join(o.Dir, badger.KeyRegistryFileName)
	for _, key := range []*keyfile.Key{testKey, otherKey, nil, testKey} {
		o.Key = key
		w := &watch{log: o.Log}
		if err := preflight(o.Dir, badgerOptions(&o, w)); err != nil {
			t.Fatal(err)
		}
	}
	h := &history{o: o, records: map[string]string{}}
	h.open(t)
	h.apply(t, Change{Key: []byte("k1"), Value: []byte("v")})
	if err := h.s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for want, content := range map[string][]byte{"missing or empty": {}, "is damaged": whole[:20], "KEYREGISTRY is damaged": append(bytes.Clone(whole[:60]), make([]byte, len(whole)-60)...)} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(h.o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v", len(content), err)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	h.open(t)
	h.check(t, []string{"k1"})
	if err := h.s.Close(); err != nil {
		t.Fatal(err)
	}
}
