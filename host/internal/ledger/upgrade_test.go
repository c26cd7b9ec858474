package ledger

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
)

// schemaTwo unpacks a ledger as a process of the last program with schema 2 left
// it when it was killed: a table, and a log of badger's with what came after. Its clock
// said 1_790_000_000_000 ms.
func schemaTwo(t testing.TB) (dir string) { return unpack(t, "testdata/schema2.tar.gz") }

func unpack(t testing.TB, archive string) (dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return dir
		} else if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(to, 0o700)
		} else {
			var content []byte
			if content, err = io.ReadAll(files); err == nil {
				err = os.WriteFile(to, content, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestUpgrade: all that a ledger of schema 2 held is in one of this schema, and
// it goes on where that stopped. // P0 P5 P6 P7 P8
func TestUpgrade(t *testing.T) {
	dir := schemaTwo(t)
	clock := func(o *Options) { o.Now = func() time.Time { return time.UnixMilli(1_790_000_010_000) } }
	l := open(t, dir, clock)
	if found, err := state.Schema(l.o.db()); err != nil || found != schema {
		t.Fatalf("schema %d, %v", found, err)
	}
	for range 2 {
		c := l.Counts()
		if c.Accepted != 270 || c.Handled != 261 || c.Died != 1 || c.Dead != 1 || c.Events != 9 || c.Downstreams != 1 || c.Acked != 1 {
			t.Errorf("counts %+v", c)
		}
		if a := l.Alarms(); len(a) > 0 {
			t.Errorf("alarms %q", a)
		}
		verify(t, l)
		l = reopen(t, l, clock)
	}
	events := l.Events(0, 100)
	if events[0].Attempts != 1 || events[0].Due.IsZero() {
		t.Errorf("the event that was tried is %+v", events[0])
	}
	body, err := l.Body(events[8].Seq)
	if err != nil || body.Outcome == nil || body.Outcome.MessageID != "d-1" {
		t.Errorf("the outcome is %+v, %v", body, err)
	}
	down := l.Downstreams(0, 10)[0]
	if m, err := l.Downstream(down.Seq); err != nil || down.Target != entry.TargetHash(m.Session, m.To) || down.Target == 0 {
		t.Errorf("the downstream %+v is %+v, %v", down, m, err)
	}
	if v, version, err := l.Get("p", "k"); err != nil || string(v) != `{"v":1}` || version == 0 {
		t.Errorf("state %s, version %d, %v", v, version, err)
	}
	if l.Owner("com.example.app") != "p" {
		t.Error("the owner is not known")
	}
	mustAccept(t, l, "tokA", "m-5", `{"n":5}`)
	mustAccept(t, l, "tokA", "new", `{}`)
	if c := l.Counts(); c.Duplicates != 1 || c.Events != 10 {
		t.Errorf("a known one and a new one: %+v", c)
	}
	if err := updateAs(t, l, "p", entry.Changes{Writes: []entry.Write{{Key: "k", Value: json.RawMessage(`2`)}}}); err != nil {
		t.Error(err)
	}
	events = l.Events(0, 100)
	if last := events[9].Seq; last <= events[8].Seq {
		t.Errorf("seq %d was given out before", last)
	}
	verify(t, l)
	if _, err := os.Stat(filepath.Join(dir, "commits")); err == nil {
		t.Error("the file of schema 2 is still there")
	}
}
