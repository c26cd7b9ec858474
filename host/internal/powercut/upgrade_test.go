package powercut

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"balhost/host/internal/ledger"
)

// oldLedger is an archive of a ledger of schema 2, as a killed process left it.
var oldLedger = filepath.Join("..", "ledger", "testdata", "schema2.tar.gz")

// itsTime is the time when that ledger was used. With this time nothing in it is too old.
func itsTime() time.Time { return time.UnixMilli(1_790_000_010_000) }

func unpack(dir string) error {
	f, err := os.Open(oldLedger)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	img := Image{}
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return img.Write(dir)
		} else if err != nil {
			return err
		}
		name := strings.Trim(filepath.Clean("/"+h.Name), "/")
		if img[name] = nil; !h.FileInfo().IsDir() {
			if img[name], err = io.ReadAll(files); err != nil {
				return err
			}
		}
	}
}

// upgrading is a series of cuts in upgrades.
type upgrading struct {
	dir    string
	rng    *rand.Rand
	want   string // what is in the ledger after an upgrade without a cut
	events int    // how many events that upgrade had
	made   int    // cuts
}

// open opens a ledger, and cuts the power at one event of that; 0: it does not cut. What
// the cut leaves is inspected, sometimes with a further cut, before this ledger goes on.
func (u *upgrading) open(dir string, cutAt, depth int) (content string, events int, err error) {
	d, err := Watch(dir, Ordered, u.rng.Uint64())
	if err != nil {
		return "", 0, err
	}
	defer d.Close()
	var n, failed atomic.Int64
	d.Event = func(what string) {
		if n.Add(1) == int64(cutAt) {
			if err := u.cut(d, what, depth); err != nil {
				fmt.Printf("FAIL at %v\n", err)
				failed.Add(1)
			}
		}
	}
	l, err := ledger.Open(context.Background(), ledger.Options{
		Dir: dir, Statfs: plenty, Now: itsTime, Sizes: ledger.Sizes{Segment: 512 << 10, MemTable: 1 << 20},
		Poison: func(err error) { fmt.Printf("FAIL at cut %d: poisoned: %v\n", u.made, err); failed.Add(1) },
	})
	if err != nil {
		return "", 0, err
	}
	events = int(n.Load())
	content, err = contentOf(l)
	if err = errors.Join(err, l.Verify(context.Background()), l.Close()); err == nil && failed.Load() > 0 {
		err = errors.New("a cut in it was not survived")
	}
	return content, events, err
}

// cut cuts the power of an upgrade, and opens what is left.
func (u *upgrading) cut(d *Disk, what string, depth int) error {
	return d.Cut(u.rng, func(img Image) error {
		u.made++
		n := u.made
		dir := filepath.Join(u.dir, fmt.Sprintf("upgrade%d", n))
		if err := errors.Join(os.Mkdir(dir, 0o700), img.Write(dir), os.Mkdir(dir+".found", 0o700), img.Write(dir+".found")); err != nil {
			return err
		}
		again := 0
		if depth < 3 && u.rng.IntN(2) == 0 {
			again = 1 + u.rng.IntN(u.events)
		}
		for range 2 { // it can be opened, and opened again
			got, _, err := u.open(dir, again, depth+1)
			if err == nil && got != u.want {
				err = fmt.Errorf("has other content:\n%s\nwith no cut it has\n%s", got, u.want)
			}
			if err != nil {
				return fmt.Errorf("cut %d, %s, in %s; as it was found: %s.found: %w", n, what, dir, dir, err)
			}
			again = 0
		}
		return errors.Join(os.RemoveAll(dir), os.RemoveAll(dir+".found"))
	})
}

// contentOf is the whole content of a ledger as text.
func contentOf(l *ledger.Ledger) (string, error) {
	var b strings.Builder
	var errs []error
	put := func(v any, err error) {
		text, jerr := json.Marshal(v)
		b.Write(append(text, '\n'))
		errs = append(errs, err, jerr)
	}
	put(l.Counts(), nil)
	for _, ev := range l.Events(0, 1<<30) {
		put(ev, nil)
		put(l.Body(ev.Seq))
	}
	for _, d := range l.Downstreams(0, 1<<30) {
		put(d, nil)
		put(l.Downstream(d.Seq))
	}
	put(l.Dead("", 1<<30))
	put(l.Owner("com.example.app"), nil)
	value, version, err := l.Get(plugin, "k")
	put(string(value), err)
	put(version, nil)
	put(l.Alarms(), nil)
	return b.String(), errors.Join(errs...)
}

// TestUpgradeCuts cuts the power of upgrades from schema 2. What is left always becomes
// the same ledger as without a cut. // P0 P5 P6 P7 P8
func TestUpgradeCuts(t *testing.T) {
	if !layered {
		t.Skip("needs the layer: TestPowercut builds it")
	}
	u := &upgrading{dir: t.TempDir(), rng: rand.New(rand.NewPCG(*seed, 3))}
	if *within != "" {
		u.dir = *within
	}
	limit := max(5, *cuts/10)
	fresh := func(n int) string {
		dir := filepath.Join(u.dir, fmt.Sprintf("schema2.%d", n))
		if err := errors.Join(os.Mkdir(dir, 0o700), unpack(dir)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	var err error
	if u.want, u.events, err = u.open(fresh(0), 0, 0); err != nil {
		t.Fatal(err)
	}
	for n := 1; u.made < limit; n++ {
		dir := fresh(n)
		got, _, err := u.open(dir, 1+u.rng.IntN(u.events), 0)
		if err == nil && got != u.want {
			err = fmt.Errorf("other content:\n%s\nthan before:\n%s", got, u.want)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("ok: %d cuts of upgrades from schema 2, which have %d events\n", u.made, u.events)
}
