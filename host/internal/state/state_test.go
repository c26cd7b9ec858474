package state

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	flag.Set("rapid.nofailfile", "true") //nolint:errcheck // the seed that it prints is enough
	flag.Set("rapid.checks", "10")       //nolint:errcheck // each opens badger many times
	goleak.VerifyTestMain(m)
}

// small makes all that is rare happen often.
func small(t testing.TB, dir string) Options {
	return Options{
		Dir: dir, Schema: 7, Log: hclog.NewNullLogger(), Layer: 4 << 10, MemTable: 512 << 10, Rotate: 256 << 10, Ordered: "k",
		Bad: func(err error) { t.Errorf("bad: %v", err) }, Durable: func(uint64) error { return nil },
	}
}

func mustOpen(t testing.TB, o Options) *State {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// history is a state with all that was ever applied, and what it must be by now.
type history struct {
	o       Options
	s       *State
	view    *View
	frames  [][]byte // by commit, from 1 on
	records map[string]string
	durable atomic.Uint64
}

func (h *history) open(t testing.TB) {
	h.s = mustOpen(t, h.o)
	h.view = h.s.View()
	if has, durable := h.s.Commit(), h.durable.Load(); has < durable {
		t.Fatalf("commits up to %d were said to be durable, the tables have them up to %d", durable, has)
	}
	for n := h.s.Commit(); n < uint64(len(h.frames)); n++ {
		if err := h.s.Replay(n+1, bytes.Clone(h.frames[n])); err != nil {
			t.Fatal(err)
		}
	}
}

func (h *history) apply(t testing.TB, changes ...Change) {
	before := maps.Clone(h.records)
	for i, c := range changes {
		_, was := before[string(c.Key)]
		changes[i].New = !was
		if h.records[string(c.Key)] = string(c.Value); c.Delete {
			delete(h.records, string(c.Key))
		}
	}
	frame := Frame(changes)
	h.frames = append(h.frames, bytes.Clone(frame))
	if err := h.s.Apply(uint64(len(h.frames)), frame); err != nil {
		t.Fatal(err)
	}
}

// check compares by all ways of reading.
func (h *history) check(t testing.TB, keys []string) {
	h.view.Begin()
	defer h.view.End()
	for _, key := range keys {
		want, is := h.records[key]
		var got string
		found, err := h.s.Get([]byte(key), func(v []byte) error { got = string(v); return nil })
		if err != nil || found != is || got != want {
			t.Fatalf("%s is %.20q (%v), should be %.20q (%v): %v", key, got, found, want, is, err)
		}
		v, found, err := h.view.Get([]byte(key))
		if err != nil || found != is || string(v) != want {
			t.Fatalf("view: %s is %.20q (%v), should be %.20q (%v): %v", key, v, found, want, is, err)
		}
	}
}

func (h *history) scan(t testing.TB) {
	got := map[string]string{}
	err := h.s.Moment(func(m *Moment) error {
		return m.Scan([]byte("k"), []byte("k"), func(key, value []byte) (bool, error) {
			got[string(key)] = string(value)
			return true, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, h.records) {
		t.Fatalf("the scan finds %d records, should find %d", len(got), len(h.records))
	}
}

// What was applied is read, by every way and whatever happens; after any end the
// tables hold all up to a commit, no less than what was said to be durable, and
// what follows it makes the state whole.
func TestHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{records: map[string]string{}}
		h.o = small(t, t.TempDir())
		if rapid.Bool().Draw(rt, "encrypted") {
			h.o.Key = testKey
		}
		h.o.Durable = func(commit uint64) error {
			if was := h.durable.Swap(commit); was > commit {
				return fmt.Errorf("%d is durable after %d", commit, was)
			}
			return nil
		}
		h.open(t)
		defer func() { h.s.Close() }() //nolint:errcheck // compared before
		keys := make([]string, 40)
		for i := range keys {
			keys[i] = fmt.Sprint("k", i)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {},
			"apply": func(rt *rapid.T) {
				for range rapid.IntRange(1, 30).Draw(rt, "commits") {
					var changes []Change
					for range rapid.IntRange(1, 4).Draw(rt, "changes") {
						c := Change{Key: []byte(rapid.SampledFrom(keys).Draw(rt, "key"))}
						if c.Delete = rapid.IntRange(0, 2).Draw(rt, "delete") == 0; !c.Delete {
							size := rapid.SampledFrom([]int{0, 1, 100, 3000, 60_000}).Draw(rt, "size")
							c.Value = bytes.Repeat([]byte{byte(len(h.frames))}, size)
						}
						changes = append(changes, c)
					}
					h.apply(t, changes...)
				}
			},
			"read": func(rt *rapid.T) { h.check(t, keys) },
			"scan": func(rt *rapid.T) { h.scan(t) },
			"span": func(rt *rapid.T) {
				h.span(t, rapid.SampledFrom([]string{"k", "k1", "k3", "k39", "kx"}).Draw(rt, "prefix"),
					rapid.SampledFrom(append(keys, "", "a", "k11\x00", "l")).Draw(rt, "start"), rapid.IntRange(0, 50).Draw(rt, "most"), rapid.Bool().Draw(rt, "back"))
			},
			"settle": func(rt *rapid.T) {
				if err := h.s.Settle(context.Background()); err != nil || h.durable.Load() != uint64(len(h.frames)) {
					rt.Fatalf("durable up to %d of %d: %v", h.durable.Load(), len(h.frames), err)
				}
			},
			"scour": func(rt *rapid.T) {
				if err := h.s.Scour(context.Background(), func(key, _ []byte) bool { return string(key) == "k7" }); err != nil {
					rt.Fatal(err)
				}
			},
			"close": func(rt *rapid.T) {
				if err := h.s.Close(); err != nil {
					rt.Fatal(err)
				}
				h.open(t)
				if h.s.Commit() != uint64(len(h.frames)) {
					rt.Fatalf("after Close the tables have %d commits of %d", h.s.Commit(), len(h.frames))
				}
			},
			"die": func(rt *rapid.T) { // what a process leaves that is killed
				dir := t.TempDir()
				was := h.durable.Load() // a later one may come while files are copied
				if err := copyKilled(dir, h.o.Dir); err != nil {
					rt.Skip("a file went while it was copied")
				}
				h.s.Abandon() //nolint:errcheck // its files are not looked at again
				h.o.Dir = dir
				h.durable.Store(was)
				h.open(t)
			},
		})
		h.check(t, keys)
		h.scan(t)
	})
}

// copyKilled copies a folder whose files are in use; an error means that one went meanwhile.
func copyKilled(to, from string) error {
	// MANIFEST first: the tables that it names are there before it names them.
	files := []string{"MANIFEST"}
	all, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range all {
		if name := f.Name(); name != "MANIFEST" && name != "LOCK" {
			files = append(files, name)
		}
	}
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(name, ".mem") {
			continue
		} else if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Commits that change the same few records again and again become durable too,
// or the journal would grow for ever.
func TestRotate(t *testing.T) {
	o := small(t, t.TempDir())
	var durable atomic.Uint64
	o.Durable = func(commit uint64) error { durable.Store(commit); return nil }
	s := mustOpen(t, o)
	value := bytes.Repeat([]byte("x"), 2000)
	for n := uint64(1); durable.Load() < 1000; n++ {
		if n > 100_000 {
			t.Fatalf("of %d commits %d are durable", n, durable.Load())
		}
		if err := s.Apply(n, Frame([]Change{{Key: []byte("key"), Value: value}})); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A memtable's log proves nothing, however whole it looks.
func TestLogsAreThrownAway(t *testing.T) {
	o := small(t, t.TempDir())
	s := mustOpen(t, o)
	if err := s.Apply(1, Frame([]Change{{Key: []byte("k"), Value: []byte("v")}})); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(o.Dir, "*.mem"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs: %q, %v", logs, err)
	}
	if content, err := os.ReadFile(logs[0]); err != nil || !bytes.Contains(content, keyApplied) {
		t.Fatalf("the log does not hold the commit: %v", err)
	}
	dir := t.TempDir()
	if err := copyKilled(dir, o.Dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.Dir = dir
	s = mustOpen(t, o)
	defer s.Close() //nolint:errcheck // read only
	if found, err := s.Get([]byte("k"), func([]byte) error { return nil }); s.Commit() != 0 || found || err != nil {
		t.Errorf("commit %d, found %v, %v", s.Commit(), found, err)
	}
}

// A file that badger would trip over, but has not named, stays.
func TestNamesOfOthers(t *testing.T) {
	o := small(t, t.TempDir())
	for _, name := range []string{"notes.mem", "00001.mem.old"} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := dropLogs(o.Dir); err != nil {
		t.Fatal(err)
	}
	if err := preflight(o.Dir, badger.DefaultOptions(o.Dir)); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(o.Dir)
	if err != nil || len(files) != 2 {
		t.Errorf("%d files are left, %v", len(files), err)
	}
}

// Worst news that badger tells to its log alone is told.
func TestWatch(t *testing.T) {
	o := small(t, t.TempDir())
	told := make(chan error, 1)
	o.Bad = func(err error) { told <- err }
	s := mustOpen(t, o)
	s.db.Opts().Logger.Warningf("[Compactor: %d] LOG Compact FAILED with error: %v", 1, "no space")
	if err := <-told; !strings.Contains(err.Error(), "no space") {
		t.Error(err)
	}
	s.Close() //nolint:errcheck // nothing is in it
}

// A state of another schema is refused, and nothing of it is thrown away.
func TestOtherSchema(t *testing.T) {
	o := small(t, t.TempDir())
	s := mustOpen(t, o)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(o.Dir, "00001.mem")
	if err := os.WriteFile(log, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for schema, want := range map[uint16]string{6: "newer", 8: "older"} {
		o.Schema = schema
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, should say %q", err, want)
		}
		if _, err := os.Stat(log); err != nil {
			t.Error(err)
		}
	}
}

// What was committed to synced logs is in tables after an upgrade.
func TestUpgrade(t *testing.T) {
	o := small(t, t.TempDir())
	old := badgerOptions(&o, &watch{log: o.Log}).WithExternalMagic(6).WithSyncWrites(true).WithMemTableSize(16 << 20)
	db, err := badger.Open(old)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := db.Update(func(txn *badger.Txn) error {
			return txn.Set(fmt.Append(nil, "k", i), binary.BigEndian.AppendUint64(nil, uint64(i)))
		}); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if err := copyKilled(dir, o.Dir); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o.Dir = dir
	for range 2 { // as after a power cut between two tries
		err := Upgrade(o, func(m *Moment) (uint64, error) {
			found, err := m.Get([]byte("k99"), func([]byte) error { return nil })
			if err != nil || !found {
				t.Errorf("the last record is not there: %v", err)
			}
			return 99, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := setSchema(dir, 6); err != nil {
			t.Fatal(err)
		}
	}
	if err := setSchema(dir, o.Schema); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, o)
	defer s.Close() //nolint:errcheck // read only
	if s.Commit() != 99 {
		t.Errorf("commit %d", s.Commit())
	}
	n := 0
	if err := s.Moment(func(m *Moment) error {
		return m.Scan([]byte("k"), []byte("k"), func(_, _ []byte) (bool, error) { n++; return true, nil })
	}); err != nil || n != 100 {
		t.Errorf("%d records, %v", n, err)
	}
}
