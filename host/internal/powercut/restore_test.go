package powercut

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"balhost/host/internal/backup"
	"balhost/host/internal/ledger"
)

// restoring is a series of cuts in restores, and in the writing of a backup's file.
type restoring struct {
	dir    string
	names  Names
	rng    *rand.Rand
	backup []byte
	header int64  // how many bytes of it are read before anything is made
	want   string // what is in the ledger after a restore without a cut
	events int    // how many events that restore had
	made   int    // cuts
	empty  int    // of these, how many left no trace of a restore
}

// source is a backup that is read.
type source struct {
	io.Reader
	read atomic.Int64
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.read.Add(int64(n))
	return n, err
}

func options(root string) ledger.Options {
	return ledger.Options{
		Dir: filepath.Join(root, "ledger"), Statfs: plenty, Now: itsTime,
		Sizes: ledger.Sizes{Segment: 512 << 10, MemTable: 1 << 20},
	}
}

// cutIn runs do in a watched folder, and cuts the power at one event of that; 0: it does
// not cut. look is told what the cut leaves.
func (r *restoring) cutIn(root string, cutAt int, do func() error, look func(Image, string) error) (events int, err error) {
	d, err := Watch(root, r.names, r.rng.Uint64())
	if err != nil {
		return 0, err
	}
	defer d.Close()
	var n atomic.Int64
	var failed error // only one event cuts
	d.Event = func(what string) {
		if n.Add(1) == int64(cutAt) {
			failed = d.Cut(r.rng, func(img Image) error { return look(img, what) })
		}
	}
	if err := do(); err != nil {
		return 0, err
	}
	events = int(n.Load())
	if cutAt > 0 { // what has ended is on the disk
		failed = errors.Join(failed, d.Cut(r.rng, func(img Image) error { return look(img, "after the end") }))
	}
	return events, failed
}

// left writes what a cut left to a folder, and removes that again if look finds nothing.
func (r *restoring) left(img Image, what string, look func(root string) error) error {
	r.made++
	root := filepath.Join(r.dir, fmt.Sprintf("restore%d", r.made))
	n := r.made
	if err := errors.Join(os.Mkdir(root, 0o700), img.Write(root), os.Mkdir(root+".found", 0o700), img.Write(root+".found")); err != nil {
		return err
	}
	if err := look(root); err != nil {
		fmt.Printf("FAIL at cut %d, %s, in %s; as it was found: %s.found: %v\n", n, what, root, root, err)
		return fmt.Errorf("cut %d, %s: %w", n, what, err)
	}
	return errors.Join(os.RemoveAll(root), os.RemoveAll(root+".found"))
}

// restore restores the backup with a cut. What the cut leaves becomes the same ledger.
func (r *restoring) restore(root string, cutAt, depth int) error {
	from, ended := &source{Reader: bytes.NewReader(r.backup)}, false
	events, err := r.cutIn(root, cutAt, func() error {
		_, err := ledger.Restore(context.Background(), options(root), from, nil)
		ended = err == nil
		return err
	}, func(img Image, what string) error {
		begun := from.read.Load() > r.header
		return r.left(img, what, func(root string) error { return r.inspect(root, begun, ended, depth) })
	})
	r.events = max(r.events, events)
	return err
}

// inspect opens what a cut left. Until the end no ledger opens once a record was read, and
// the restore can be repeated.
func (r *restoring) inspect(root string, begun, ended bool, depth int) error {
	got, err := openIn(root)
	switch {
	case err == nil && got == r.want:
		return nil
	case ended:
		return fmt.Errorf("the restore had ended, but: %v\n%s", err, got)
	case err == nil && !begun && strings.HasPrefix(got, `{"accepted":0,`): // nothing was made: it is as if nobody had begun
		r.empty++
		return nil
	case err == nil:
		return fmt.Errorf("a host would start with\n%s\nwhere a restore had begun", got)
	case !strings.Contains(err.Error(), "a restore has not ended"):
		return err
	}
	again := 0
	if depth < 3 && r.rng.IntN(2) == 0 {
		again = 1 + r.rng.IntN(r.events)
	}
	if err := r.restore(root, again, depth+1); err != nil {
		return fmt.Errorf("restored again: %w", err)
	}
	if got, err = openIn(root); err != nil || got != r.want {
		return fmt.Errorf("restored again it has other content: %v\n%s", err, got)
	}
	return nil
}

func openIn(root string) (string, error) {
	l, err := ledger.Open(context.Background(), options(root))
	if err != nil {
		return "", err
	}
	content, err := contentOf(l)
	return content, errors.Join(err, l.Verify(context.Background()), l.Close())
}

// fresh is a new folder to work in.
func (r *restoring) fresh(n int) (root string, err error) {
	root = filepath.Join(r.dir, fmt.Sprintf("fresh%d", n))
	return root, os.Mkdir(root, 0o700)
}

// take makes the backup from an old ledger, and notes what a restore makes of it.
func (r *restoring) take() error {
	root, err := r.fresh(0)
	if err == nil {
		err = errors.Join(os.Mkdir(options(root).Dir, 0o700), unpack(options(root).Dir))
	}
	if err != nil {
		return err
	}
	l, err := ledger.Open(context.Background(), options(root))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	_, err = l.Backup(context.Background(), &out, 0, "")
	if err := errors.Join(err, l.Close(), os.RemoveAll(root), os.Mkdir(root, 0o700)); err != nil {
		return err
	}
	r.backup = out.Bytes()
	header := &source{Reader: bytes.NewReader(r.backup)}
	if _, err := backup.NewReader(header, nil); err != nil {
		return err
	}
	r.header = header.read.Load()
	if err := r.restore(root, 0, 0); err != nil {
		return err
	}
	r.want, err = openIn(root)
	return err
}

// write writes the backup's file with a cut. The file has its name only when it is whole;
// what had the name before is whole too.
func (r *restoring) write(root string, cutAt int) (events int, err error) {
	name, ended := filepath.Join(root, "today.bak"), false
	older := []byte("an older backup")
	if err := os.WriteFile(name, older, 0o600); err != nil {
		return 0, err
	}
	return r.cutIn(root, cutAt, func() error {
		f, err := backup.Create(name)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(r.backup, 1000) {
			if _, err := f.Write(part); err != nil {
				return err
			}
		}
		err = f.Keep()
		ended = err == nil
		return err
	}, func(img Image, what string) error {
		return r.left(img, what, func(root string) error {
			got, err := os.ReadFile(filepath.Join(root, "today.bak"))
			if whole := bytes.Equal(got, r.backup); err != nil || ended && !whole || !whole && !bytes.Equal(got, older) {
				return fmt.Errorf("%d bytes instead of %d, ended %v: %v", len(got), len(r.backup), ended, err)
			}
			return nil
		})
	})
}

// TestRestoreCuts cuts the power of restores, and of the writing of backups. A ledger or a
// backup's file is there as a whole or not at all, and a restore can be repeated. // P0 P10
func TestRestoreCuts(t *testing.T) {
	if !layered {
		t.Skip("needs the layer: TestPowercut builds it")
	}
	r := &restoring{dir: t.TempDir(), names: Names(slices.Index(allNames, *names)), rng: rand.New(rand.NewPCG(*seed, 4))}
	if *within != "" {
		r.dir = *within
	}
	if err := r.take(); err != nil {
		t.Fatal(err)
	}
	limit := max(20, *cuts/10)
	for n := 1; r.made < limit; n++ {
		root, err := r.fresh(n)
		if err == nil {
			err = r.restore(root, 1+r.rng.IntN(r.events), 0)
		}
		if err := errors.Join(err, os.RemoveAll(root)); err != nil {
			t.Fatal(err)
		}
	}
	restores, events := r.made, 0
	for n := -1; r.made < restores+limit; n-- {
		root, err := r.fresh(n)
		cutAt := 0
		if events > 0 {
			cutAt = 1 + r.rng.IntN(events)
		}
		if err == nil {
			events, err = r.write(root, cutAt)
		}
		if err := errors.Join(err, os.RemoveAll(root)); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("ok: %d cuts in restores, which have %d events, %d of them before anything was made; %d in backups, which have %d\n",
		restores, r.events, r.empty, r.made-restores, events)
}
