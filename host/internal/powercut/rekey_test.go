package powercut

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"balhost/host/internal/keyfile"
	"balhost/host/internal/ledger"
)

var firstKey, secondKey = keyfile.New([keyfile.Size]byte{1}), keyfile.New([keyfile.Size]byte{2})

// rekeying is a series of cuts while a ledger gets its first key, another one, or none. It uses
// what restoring has to cut.
type rekeying struct {
	restoring
	olds, news int // cuts that left the ledger as it was, as it is to be
}

// keyChange is one change of a key.
type keyChange struct{ from, to *keyfile.Key }

var keyChanges = []keyChange{{nil, firstKey}, {firstKey, secondKey}, {secondKey, nil}}

func keyed(root string, key *keyfile.Key) ledger.Options {
	o := options(root)
	o.Key = key
	return o
}

func openKeyed(root string, key *keyfile.Key) (string, error) {
	l, err := ledger.Open(context.Background(), keyed(root, key))
	if err != nil {
		return "", err
	}
	content, err := contentOf(l)
	return content, errors.Join(err, l.Verify(context.Background()), l.Close())
}

// begin makes a ledger with the first key of a change.
func (r *rekeying) begin(root string, c keyChange) error {
	if err := errors.Join(os.Mkdir(options(root).Dir, 0o700), unpack(options(root).Dir)); err != nil {
		return err
	}
	if c.from == nil {
		_, err := openKeyed(root, nil) // of today's schema
		return err
	}
	_, err := ledger.Rekey(context.Background(), keyed(root, c.from), nil)
	return err
}

// rekey changes the key with a cut. What the cut leaves has the old key or the new one, and the same
// content; and the change can be repeated.
func (r *rekeying) rekey(root string, c keyChange, cutAt, depth int) error {
	ended := false
	events, err := r.cutIn(root, cutAt, func() error {
		_, err := ledger.Rekey(context.Background(), keyed(root, c.to), c.from)
		ended = err == nil
		return err
	}, func(img Image, what string) error {
		return r.left(img, what, func(root string) error { return r.inspect(root, c, ended, depth) })
	})
	r.events = max(r.events, events)
	return err
}

func (r *rekeying) inspect(root string, c keyChange, ended bool, depth int) error {
	if r.rng.IntN(2) == 0 { // a host is started before the change is repeated, with the old config or the new one
		got, err := openKeyed(root, c.to)
		switch {
		case err == nil:
			r.news++
		case !ended && (errors.Is(err, keyfile.ErrKey) || errors.Is(err, keyfile.ErrPlain)):
			r.olds++
			got, err = openKeyed(root, c.from)
		}
		if err != nil || got != r.want {
			return fmt.Errorf("ended %v: other content: %w\n%s", ended, err, got)
		}
	}
	again := 0
	if depth < 3 && r.rng.IntN(2) == 0 {
		again = 1 + r.rng.IntN(r.events)
	}
	if err := r.rekey(root, c, again, depth+1); err != nil {
		return fmt.Errorf("repeated: %w", err)
	}
	if got, err := openKeyed(root, c.to); err != nil || got != r.want {
		return fmt.Errorf("repeated it has other content: %w\n%s", err, got)
	}
	names, err := filepath.Glob(filepath.Join(options(root).Dir, "*"))
	if text := strings.Join(names, " "); err != nil || strings.Contains(text, ".rekeyed") || strings.Contains(text, ".old") {
		return fmt.Errorf("left are %s: %w", text, err)
	}
	return nil
}

// TestRekeyCuts cuts the power while a ledger's key is changed. // P0 P10
func TestRekeyCuts(t *testing.T) {
	if !layered {
		t.Skip("needs the layer: TestPowercut builds it")
	}
	r := &rekeying{restoring: restoring{dir: t.TempDir(), names: Names(slices.Index(allNames, *names)), rng: rand.New(rand.NewPCG(*seed, 5))}}
	if *within != "" {
		r.dir = *within
	}
	fresh := func(n int, c keyChange) string {
		root, err := r.fresh(10_000 + n)
		if err := errors.Join(err, r.begin(root, c)); err != nil {
			t.Fatal(err)
		}
		return root
	}
	root := fresh(0, keyChanges[0])
	var err error
	if r.want, err = openKeyed(root, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.rekey(root, keyChanges[0], 0, 0); err != nil {
		t.Fatal(err)
	}
	limit := max(20, *cuts/10)
	for n := 1; r.made < limit; n++ {
		c := keyChanges[n%len(keyChanges)]
		root := fresh(n, c)
		if err := errors.Join(r.rekey(root, c, 1+r.rng.IntN(r.events), 0), os.RemoveAll(root)); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("ok: %d cuts of changes of a key, which have %d events; of those that were looked at, %d left the old key and %d the new one\n", r.made, r.events, r.olds, r.news)
}
