package ledger

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

	"golang.org/x/sys/unix"

	"balhost/host/internal/entry"
	"balhost/host/internal/keyfile"
	"balhost/host/internal/state"
)

var testKey, otherKey = keyfile.New([keyfile.Size]byte{7}), keyfile.New([keyfile.Size]byte{8})

// knownTexts are texts of messages: tokens, a body, a category, a key and a value of a plugin's state, a
// reason, a message id.
var knownTexts = []string{phoneA, strings.Split(phoneB, ":")[0], `{"n":"3"`, "com.example.app", "user/cA3", `"nothing"`, "is known", "u0-7", "acked0-"}

// P10: with a key no text of a message is in any file of the ledger, nor in a backup. Without
// one each of them is in both.
func TestEncryptedFiles(t *testing.T) {
	for _, key := range []*keyfile.Key{nil, testKey} {
		with := func(o *Options) { tiny(o); o.Key = key }
		l := open(t, t.TempDir(), with)
		livesOf(t, l, phoneA, phoneB)
		all, total := of(t, l, ""), 0
		if l.Encrypted() != (key != nil) {
			t.Errorf("with %v it says encrypted %v", key, l.Encrypted())
		}
		look := func(when string) {
			t.Helper()
			file := backUp(t, l)
			for _, text := range knownTexts {
				files := filesWith(t, l.o.Dir, text)
				if bytes.Contains(file, []byte(text)) {
					files = append(files, "the backup")
				}
				switch {
				case key != nil && files != nil:
					t.Errorf("%s: %q is in %v", when, text, files)
				case key == nil && len(files) < 2:
					t.Errorf("%s: %q is in %v only: the test shows nothing", when, text, files)
				}
				total += len(files)
			}
		}
		look("as it runs")
		if err := l.state.Settle(context.Background()); err != nil {
			t.Fatal(err)
		}
		look("when all is in tables")
		l = reopen(t, l, with)
		look("after a restart")
		same(t, "after a restart", of(t, l, ""), all)
		verify(t, l)
		if (total > 0) != (key == nil) {
			t.Errorf("with %v, %d places", key, total)
		}
	}
}

// A backup is encrypted by the ledger's key. It can be restored with it, to a ledger with any key
// or none; with another key or none it is refused, and nothing is made.
func TestEncryptedBackup(t *testing.T) {
	l := open(t, t.TempDir(), tiny, func(o *Options) { o.Key = testKey })
	livesOf(t, l, phoneA)
	all, file := of(t, l, ""), backUp(t, l)
	for _, wrong := range []*keyfile.Key{nil, otherKey} {
		dir := t.TempDir()
		o := restoreOptions(dir)
		o.Key = wrong
		if _, err := Restore(t.Context(), o, bytes.NewReader(file), wrong); !errors.Is(err, keyfile.ErrKey) || !strings.Contains(err.Error(), fmt.Sprintf("%x", testKey.ID())) {
			t.Errorf("with %v: %v", wrong, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("with %v there are %v, %v", wrong, left, err)
		}
		if _, _, err := CheckBackup(t.Context(), bytes.NewReader(file), wrong); !errors.Is(err, keyfile.ErrKey) {
			t.Errorf("checked with %v: %v", wrong, err)
		}
	}
	if info, e, err := CheckBackup(t.Context(), bytes.NewReader(file), testKey); err != nil || len(e.Problems) > 0 || info.Records == 0 {
		t.Errorf("checked: %+v, %v, %v", info, e, err)
	}
	for _, key := range []*keyfile.Key{nil, testKey, otherKey} {
		o := restoreOptions(t.TempDir())
		o.Key = key
		if _, err := Restore(t.Context(), o, bytes.NewReader(file), testKey); err != nil {
			t.Fatal(err)
		}
		r := open(t, o.Dir, func(o *Options) { o.Key = key })
		if n := len(of(t, r, "")); n != len(all) {
			t.Errorf("restored with %v there are %d things, there were %d", key, n, len(all))
		}
		if shown := filesWith(t, o.Dir, phoneA) != nil; shown != (key == nil) {
			t.Errorf("restored with %v, the token can be read: %v", key, shown)
		}
		verify(t, r)
	}
}

func rekey(t testing.TB, dir string, to, from *keyfile.Key) (Rekeyed, error) {
	t.Helper()
	o := Options{Dir: dir, Statfs: plenty, Key: to}
	tiny(&o)
	return Rekey(t.Context(), o, from)
}

// opened opens a ledger with a key, gives it to f, and closes it.
func opened(t testing.TB, dir string, key *keyfile.Key, f func(*Ledger)) {
	t.Helper()
	l := open(t, dir, tiny, func(o *Options) { o.Key = key })
	verify(t, l)
	f(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// names are the names in a ledger's folder.
func names(t testing.TB, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		names = append(names, f.Name())
	}
	return names
}

// A ledger is encrypted, gets another key, and is not encrypted any more: what is in it stays the
// same, and goes on. The key that it had opens nothing of it any more.
func TestRekey(t *testing.T) {
	dir := t.TempDir()
	var all []string
	opened(t, dir, nil, func(l *Ledger) { livesOf(t, l, phoneA, phoneB); all = of(t, l, "") })
	was := names(t, dir)
	for i, to := range []*keyfile.Key{testKey, otherKey, testKey, nil} {
		from := []*keyfile.Key{nil, testKey, otherKey, testKey}[i]
		if to != nil {
			wrong := keyfile.New([keyfile.Size]byte{9})
			if _, err := rekey(t, dir, to, wrong); !errors.Is(err, keyfile.ErrKey) && !errors.Is(err, keyfile.ErrPlain) {
				t.Errorf("from a wrong key: %v", err)
			}
		}
		if _, err := Open(t.Context(), Options{Dir: dir, Statfs: plenty, Key: to}); err == nil || !strings.Contains(err.Error(), "balhost rekey") {
			t.Errorf("opened with the key to be: %v", err)
		}
		registry := registryOf(t, dir)
		did, err := rekey(t, dir, to, from)
		if err != nil || did.Already || did.Records < 10 || len(did.Problems) > 0 {
			t.Fatalf("%v to %v: %+v, %v", from, to, did, err)
		}
		if shown := filesWith(t, dir, phoneA) != nil; shown != (to == nil) {
			t.Errorf("with %v the token can be read: %v", to, shown)
		}
		if now := names(t, dir); fmt.Sprint(now) != fmt.Sprint(was) {
			t.Errorf("the folder has %v, and had %v", now, was)
		}
		// The old key with a copy of the old data keys opens nothing either.
		whole := registryOf(t, dir)
		if from != nil && to != nil {
			if err := os.WriteFile(filepath.Join(dir, "db", "KEYREGISTRY"), registry, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), Options{Dir: dir, Statfs: plenty, Key: from}); err == nil {
				t.Error("the old key with the old data keys opens the ledger")
			}
			if err := os.WriteFile(filepath.Join(dir, "db", "KEYREGISTRY"), whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(t.Context(), Options{Dir: dir, Statfs: plenty, Key: from}); !errors.Is(err, keyfile.ErrKey) && !errors.Is(err, keyfile.ErrPlain) {
			t.Errorf("opened with the old key: %v", err)
		}
		if did, err := rekey(t, dir, to, from); err != nil || !did.Already {
			t.Errorf("again: %+v, %v", did, err)
		}
		opened(t, dir, to, func(l *Ledger) {
			same(t, fmt.Sprintf("from %v to %v", from, to), of(t, l, ""), all)
			mustAccept(t, l, phoneB, fmt.Sprint("after", i), `{}`)
			all = of(t, l, "")
		})
	}
}

func registryOf(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "db", "KEYREGISTRY"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A ledger of each old schema, which is not encrypted, becomes an encrypted one of this schema, with
// the same content as an unencrypted one gets.
func TestRekeyOldSchemas(t *testing.T) {
	for _, archive := range []string{"schema2.tar.gz", "schema3.tar.gz", "schema4.tar.gz", "schema6.tar.gz"} {
		var all []string
		at := func(o *Options) { o.Now = func() time.Time { return time.UnixMilli(1_790_000_010_000) } }
		l := open(t, unpack(t, "testdata/"+archive), at)
		all = of(t, l, "")
		dir := unpack(t, "testdata/"+archive)
		if _, err := Open(t.Context(), Options{Dir: dir, Statfs: plenty, Key: testKey}); !errors.Is(err, keyfile.ErrPlain) {
			t.Errorf("%s: opened with a key: %v", archive, err)
		}
		if found, err := state.Schema(filepath.Join(dir, "db")); err != nil || found == schema {
			t.Errorf("%s: it was upgraded to schema %d, %v", archive, found, err)
		}
		if _, err := rekey(t, dir, testKey, nil); err != nil {
			t.Fatalf("%s: %v", archive, err)
		}
		l = open(t, dir, at, func(o *Options) { o.Key = testKey })
		verify(t, l)
		same(t, archive, of(t, l, ""), all)
		if len(all) == 0 {
			t.Errorf("%s holds nothing", archive)
		}
	}
}

// Nothing is begun where it can't end: while a host runs, without a ledger, without space. Nobody
// else changes the key at the same time, and no host opens the ledger.
func TestRekeyRefuses(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, tiny)
	mustAccept(t, l, phoneA, "1", `{}`)
	if _, err := rekey(t, dir, testKey, nil); err == nil || !strings.Contains(err.Error(), "another balhost runs") {
		t.Errorf("while it runs: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := rekey(t, t.TempDir(), testKey, nil); err == nil || !strings.Contains(err.Error(), "there is no ledger") {
		t.Errorf("without a ledger: %v", err)
	}
	o := Options{Dir: dir, Key: testKey, Statfs: func(string) (Space, error) { return Space{Bytes: 1 << 20, Inodes: 1 << 30}, nil }}
	if _, err := Rekey(t.Context(), o, nil); err == nil || !strings.Contains(err.Error(), "too little") {
		t.Errorf("without space: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.Statfs = plenty
	if _, err := Rekey(ctx, o, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if left := names(t, dir); strings.Contains(fmt.Sprint(left), newFiles) {
		t.Errorf("left are %v", left)
	}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil { // as another one that runs
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "db"+newFiles), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := rekey(t, dir, testKey, nil); !errors.Is(err, errRekeying) {
		t.Errorf("beside another one: %v", err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir, Statfs: plenty}); !errors.Is(err, errRekeying) {
		t.Errorf("opened meanwhile: %v", err)
	}
	folder.Close()
	opened(t, dir, nil, func(l *Ledger) { // which has removed what was left
		if n := len(l.Events(0, 10)); n != 1 {
			t.Errorf("%d events", n)
		}
	})
	if left := names(t, dir); strings.Contains(fmt.Sprint(left), newFiles) {
		t.Errorf("left are %v", left)
	}
}

// An interrupted Rekey is ended by the next start, wherever it stopped after the marker.
func TestRekeySettles(t *testing.T) {
	for stop := range 6 {
		dir := t.TempDir()
		var all []string
		opened(t, dir, nil, func(l *Ledger) { livesOf(t, l, phoneA); all = of(t, l, "") })
		from := Options{Dir: dir, Statfs: plenty}.withDefaults()
		to := from
		to.Key = testKey
		if err := from.copyTo(t.Context(), &to, new(Rekeyed)); err != nil {
			t.Fatal(err)
		}
		rename := func(name, to string) {
			if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, to)); err != nil {
				t.Fatal(err)
			}
		}
		for i, step := range []func(){
			func() { rename("db", "db"+oldFiles) }, func() { rename("db"+newFiles, "db") },
			func() { rename("journal", "journal"+oldFiles) }, func() { rename("journal"+newFiles, "journal") },
			func() { os.RemoveAll(filepath.Join(dir, "db"+oldFiles)) },
		} {
			if i < stop {
				step()
			}
		}
		opened(t, dir, testKey, func(l *Ledger) { same(t, fmt.Sprint("stopped after ", stop), of(t, l, ""), all) })
		if left := fmt.Sprint(names(t, dir)); strings.Contains(left, "rekeyed") || strings.Contains(left, oldFiles) || filesWith(t, dir, phoneA) != nil {
			t.Errorf("stopped after %d: left are %s", stop, left)
		}
	}
}

// What others have of a device is found though it is encrypted, and so the erasure is not proven by
// an empty search.
func TestEraseFindsEncrypted(t *testing.T) {
	l := open(t, t.TempDir(), tiny, func(o *Options) { o.Key = testKey })
	mustAccept(t, l, phoneB, "1", `{"friend":"`+phoneA+`"}`)
	if did := erase(t, l, entry.Erasure{Names: []string{phoneA}}); did.Files == 0 || len(did.Mentions) == 0 {
		t.Errorf("erased %+v", did)
	}
}
