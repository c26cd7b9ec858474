package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// secret is in records that are deleted, and then nowhere.
const secret = "the token of a device"

func isSecret(key, value []byte) bool {
	return bytes.Contains(key, []byte(secret)) || bytes.Contains(value, []byte(secret))
}

// holders names the files that have the secret.
func holders(t testing.TB, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(secret)) {
			names = append(names, filepath.Base(f))
		}
	}
	return names
}

// still is holders, when badger has removed the files that it gave up: that is a moment later.
func still(t testing.TB, dir string) (names []string) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if names = holders(t, dir); names == nil || time.Now().After(until) {
			return names
		}
	}
}

// versions are all keys and values that a new reader of the tables can find.
func versions(t testing.TB, s *State) (secrets int) {
	t.Helper()
	keys, err := s.stale(context.Background(), isSecret)
	if err != nil {
		t.Fatal(err)
	}
	return len(keys)
}

// fillWith has a history of records with the secret, of which none is left at the end. Others are.
func fillWith(t testing.TB, h *history) (others []string) {
	t.Helper()
	for i := range 300 {
		key := fmt.Sprintf("k%03d", i)
		h.apply(t, Change{Key: []byte(key), Value: []byte(secret + key)}, Change{Key: []byte("x" + secret + key), Value: make([]byte, 100)})
		h.apply(t, Change{Key: []byte("o" + key), Value: bytes.Repeat([]byte("other"), 200)})
		others = append(others, "o"+key)
	}
	for i := range 300 {
		key := fmt.Sprintf("k%03d", i)
		change := Change{Key: []byte(key), Delete: true}
		if i%2 == 0 {
			change, others = Change{Key: []byte(key), Value: []byte("nothing of it")}, append(others, key)
		}
		h.apply(t, change, Change{Key: []byte("x" + secret + key), Delete: true})
	}
	return others
}

func TestScourLeavesNothing(t *testing.T) {
	for _, light := range []bool{false, true} {
		h := &history{o: small(t, t.TempDir()), records: map[string]string{}}
		h.o.Light = light
		h.o.Durable = func(n uint64) error { h.durable.Store(n); return nil }
		h.open(t)
		others := fillWith(t, h)
		if err := h.s.Settle(context.Background()); err != nil {
			t.Fatal(err)
		}
		if h.durable.Load() != uint64(len(h.frames)) {
			t.Errorf("durable up to %d after Settle, applied are %d", h.durable.Load(), len(h.frames))
		}
		if len(holders(t, h.o.Dir)) == 0 {
			t.Fatal("the test wrote nothing")
		}
		if err := h.s.Scour(context.Background(), isSecret); err != nil {
			t.Fatal(err)
		}
		if n, files := versions(t, h.s), still(t, h.o.Dir); n > 0 || files != nil {
			t.Errorf("light %v: %d keys and %v still have it", light, n, files)
		}
		h.check(t, others)
		if err := h.s.Close(); err != nil {
			t.Fatal(err)
		}
		h.open(t)
		h.check(t, others)
		if files := still(t, h.o.Dir); files != nil {
			t.Errorf("%v have it after the next start", files)
		}
		if err := h.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What a compaction has to keep for a reader goes when there is none any more, though badger has it
// in its last level then.
func TestScourAfterAReader(t *testing.T) {
	h := &history{o: small(t, t.TempDir()), records: map[string]string{}}
	h.open(t)
	defer h.s.Close() //nolint:errcheck // the test is over
	h.apply(t, Change{Key: []byte("k1"), Value: []byte(secret)}, Change{Key: []byte("k2"), Value: []byte(secret)})
	if err := h.s.Settle(context.Background()); err != nil {
		t.Fatal(err)
	}
	reader := h.s.db.NewTransaction(false)
	if _, err := reader.Get([]byte("k1")); err != nil {
		t.Fatal(err)
	}
	h.apply(t, Change{Key: []byte("k1"), Delete: true}, Change{Key: []byte("k2"), Value: []byte("nothing of it")})
	if err := h.s.Scour(context.Background(), isSecret); !errors.Is(err, ErrHeld) {
		t.Fatalf("while it is read: %v", err)
	}
	reader.Discard()
	if err := h.s.Scour(context.Background(), isSecret); err != nil {
		t.Fatal(err)
	}
	if n, files := versions(t, h.s), still(t, h.o.Dir); n > 0 || files != nil {
		t.Errorf("%d keys and %v still have it", n, files)
	}
	h.check(t, []string{"k1", "k2"})
}

// Commits and readers go on while the tables are rewritten.
func TestScourWhileInUse(t *testing.T) {
	h := &history{o: small(t, t.TempDir()), records: map[string]string{}}
	h.open(t)
	fillWith(t, h)
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for n := uint64(len(h.frames)) + 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := h.s.Apply(n, Frame([]Change{{Key: fmt.Append(nil, "k", n%50), Value: fmt.Append(nil, n)}})); err != nil {
				t.Error(err)
				return
			}
		}
	})
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			err := h.s.Moment(func(m *Moment) error { _, err := m.Get([]byte("k1"), func([]byte) error { return nil }); return err })
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	err := h.s.Scour(context.Background(), isSecret)
	close(stop)
	others.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if files := still(t, h.o.Dir); files != nil {
		t.Errorf("%v still have it", files)
	}
	if err := h.s.Close(); err != nil {
		t.Error(err)
	}
}

// A record that is written again keeps its time to go.
func TestTouchKeepsExpiry(t *testing.T) {
	h := &history{o: small(t, t.TempDir()), records: map[string]string{}}
	h.open(t)
	defer h.s.Close() //nolint:errcheck // the test is over
	at := uint64(time.Now().Add(time.Hour).Unix())
	h.apply(t, Change{Key: []byte("k1"), Value: []byte("v"), Expires: at})
	if err := h.s.touch([][]byte{[]byte("k1"), []byte("none")}); err != nil {
		t.Fatal(err)
	}
	err := h.s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte("k1"))
		if err == nil && item.ExpiresAt() != at {
			t.Errorf("expires at %d, want %d", item.ExpiresAt(), at)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	h.check(t, []string{"k1", "none"})
}
