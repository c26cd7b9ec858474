package fcmv1

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// G 14: a key file that is replaced is used for the next tokens, however it is replaced:
// written, renamed, or by a link as Kubernetes swaps it. A broken one leaves the old key.
func TestKeyFileIsReplaced(t *testing.T) {
	var mu sync.Mutex
	var kids []string // of the assertions
	server, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			w.Write([]byte(accepted))
			return
		}
		mu.Lock()
		defer mu.Unlock()
		header, _, _ := strings.Cut(r.FormValue("assertion"), ".")
		kids = append(kids, header)
		w.Write([]byte(`{"access_token":"t","expires_in":3599}`))
	}, nil)
	asked := func(id string) bool { // the newest assertion has this key's id
		mu.Lock()
		defer mu.Unlock()
		return len(kids) > 0 && kids[len(kids)-1] == part(map[string]string{"alg": "RS256", "typ": "JWT", "kid": id})
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := func(id string) string { return keyFile(t, server.URL+"/token", id) }
	// As Kubernetes mounts a secret: key.json → ..data/key.json, ..data → ..one.
	dir := t.TempDir()
	for _, name := range []string{"..one", "..two"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "..one", "key.json"), key("k1"))
	write(filepath.Join(dir, "..two", "key.json"), key("k2"))
	link := func(to, name string) {
		t.Helper()
		fresh := filepath.Join(dir, name+".new")
		if err := os.Symlink(to, fresh); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..one", "..data")
	link("..data/key.json", "key.json")
	path := filepath.Join(dir, "key.json")

	s := New(Options{SenderID: project, Credentials: key("k1"), CredentialsFile: path, TLS: config, Endpoint: server.URL, Outbox: newBox()})
	start(t, s)
	until(t, "a token by the first key", func() bool { return asked("k1") })
	link("..two", "..data")
	until(t, "a token by the second key", func() bool { return asked("k2") })
	if err := os.Remove(path); err != nil { // from now on it is a plain file
		t.Fatal(err)
	}
	write(path, "{ half")
	until(t, "a warning", func() bool {
		st := s.Status()
		return len(st.Warnings) == 1 && strings.Contains(st.Warnings[0], "the old key stays: the key file is not JSON") && strings.Contains(st.Warnings[0], "the key file "+path+" has changed")
	})
	if st := s.Status(); st.TokenUntil.IsZero() || st.Account == "" {
		t.Errorf("%+v", st)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	until(t, "another warning", func() bool {
		st := s.Status()
		return len(st.Warnings) == 1 && strings.Contains(st.Warnings[0], "no such file")
	})
	fresh := filepath.Join(dir, "fresh")
	write(fresh, key("k3"))
	if err := os.Rename(fresh, path); err != nil {
		t.Fatal(err)
	}
	until(t, "a token by the third key", func() bool { return asked("k3") })
	until(t, "no warning", func() bool { return len(s.Status().Warnings) == 0 })
	write(path, key("k3")+strings.Repeat(" ", maxBody))
	until(t, "a warning of its size", func() bool {
		st := s.Status()
		return len(st.Warnings) == 1 && strings.Contains(st.Warnings[0], "is longer than 64 KiB")
	})
}

// A key file that is no file for a while, or is gone and back with the same text, is used
// again, and holds nothing up. Others write into its folder all the time. // P10
func TestKeyFileIsBack(t *testing.T) {
	server, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			w.Write([]byte(accepted))
			return
		}
		w.Write([]byte(`{"access_token":"t","expires_in":3599}`))
	}, nil)
	text := keyFile(t, server.URL+"/token", "k1")
	dir := t.TempDir()
	path, away := filepath.Join(dir, "key.json"), filepath.Join(dir, "away")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var others sync.WaitGroup
	quiet := make(chan struct{})
	defer others.Wait()
	defer close(quiet)
	others.Go(func() {
		tick := time.NewTicker(settle / 10)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := os.WriteFile(filepath.Join(dir, "others.log"), []byte("x"), 0o600); err != nil {
					t.Error(err)
				}
			case <-quiet:
				return
			}
		}
	})
	s := New(Options{SenderID: project, Credentials: text, CredentialsFile: path, TLS: config, Endpoint: server.URL, Outbox: newBox()})
	start(t, s)
	for what, replace := range map[string]func() error{
		"no such file":             func() error { return nil },
		"it is a folder":           func() error { return os.Mkdir(path, 0o700) },
		"it is a pipe (FIFO)":      func() error { return syscall.Mkfifo(path, 0o600) },
		"it is a device":           func() error { return os.Symlink("/dev/zero", path) },
		"is longer than 64 KiB":    func() error { return os.WriteFile(path, make([]byte, 10<<20), 0o600) },
		"the key file is not JSON": func() error { return os.WriteFile(path, []byte(text[:len(text)/2]), 0o600) },
	} {
		if err := os.Rename(path, away); err != nil {
			t.Fatal(err)
		}
		if err := replace(); err != nil {
			t.Fatal(err)
		}
		until(t, "a warning: "+what, func() bool {
			st := s.Status()
			return len(st.Warnings) == 1 && strings.Contains(st.Warnings[0], what)
		})
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(away, path); err != nil {
			t.Fatal(err)
		}
		until(t, "no warning after: "+what, func() bool { return len(s.Status().Warnings) == 0 })
	}
}
