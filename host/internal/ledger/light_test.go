package ledger

import (
	"errors"
	"fmt"
	"testing"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// A light store keeps what it was given, over many opens, and Options.Commit
// stands around each commit: one that fails ends the ledger, whether it was
// made before or not (P10).
func TestLightStoreAndCommitHook(t *testing.T) {
	dir, lost := t.TempDir(), errors.New("lost")
	stored := 0
	for i, made := range []bool{true, false, true} {
		poisoned := make(chan error, 1)
		fail := false
		l, err := Open(t.Context(), Options{
			Dir: dir, Light: true, Poison: func(err error) { poisoned <- err },
			Commit: func(commit func() error) error {
				if fail && !made {
					return lost
				}
				if err := commit(); err != nil || !fail {
					return err
				}
				return lost
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Counts().Events; got != stored {
			t.Fatalf("open %d: %d events, want %d", i, got, stored)
		}
		put := func(name string) error {
			done := make(chan error, 1)
			u := &message.Upstream{Session: "main", From: "device", MessageID: fmt.Sprint(name, i), Raw: []byte(`{}`)}
			l.Accept(entry.Inbound{Upstream: u}, func(err error) { done <- err })
			return <-done
		}
		if err := put("a"); err != nil {
			t.Fatal(err)
		}
		stored++
		fail = true
		if err := put("b"); !errors.Is(err, entry.ErrClosed) {
			t.Errorf("P1: an upstream of a commit that failed got %v", err)
		}
		if made {
			stored++
		}
		if err := <-poisoned; !errors.Is(err, lost) {
			t.Errorf("poisoned by %v", err)
		}
		if err := l.Close(); !errors.Is(err, lost) {
			t.Errorf("Close: %v", err)
		}
	}
}
