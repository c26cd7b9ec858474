package audit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// run runs a log in dir until do returns, in the bubble of a test.
func run(t *testing.T, dir string, do func(l *Log)) (said string) {
	t.Helper()
	var text bytes.Buffer
	l := Open(dir, hclog.New(&hclog.LoggerOptions{Output: &text}))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	do(l)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return text.String()
}

func read(t *testing.T, l *Log, q Query) []Entry {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 1 << 20
	}
	entries, _, err := l.Read(q)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// What was added is on disk when Add returns, and there after a restart, also behind a
// line that a crash cut off.
func TestEntriesSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		said := run(t, dir, func(l *Log) {
			l.Add(Entry{At: time.Now(), Who: "token night", Path: "/v1/reload", Status: 200, Did: "reloaded"})
			text, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
			if err != nil || !bytes.Contains(text, []byte(`"did":"reloaded"}`)) {
				t.Errorf("%s %v", text, err)
			}
		})
		if !strings.Contains(said, "token night") || !strings.Contains(said, "reloaded") {
			t.Errorf("logged: %s", said)
		}
		path := filepath.Join(dir, "audit.jsonl")
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"at":"2026-`); err != nil {
			t.Fatal(err)
		}
		f.Close()
		run(t, dir, func(l *Log) {
			time.Sleep(time.Second)
			l.Add(Entry{At: time.Now(), Who: "loopback", Path: "/v1/verify"})
			got := read(t, l, Query{})
			if len(got) != 2 || got[0].Who != "token night" || got[1].Who != "loopback" {
				t.Errorf("%+v", got)
			}
			for want, q := range map[string]Query{
				"loopback":    {Since: time.Now()},
				"token night": {Until: time.Now()},
			} {
				if got := read(t, l, q); len(got) != 1 || got[0].Who != want {
					t.Errorf("%+v: %+v", q, got)
				}
			}
			if got := read(t, l, Query{Who: "night"}); len(got) != 1 {
				t.Errorf("%+v", got)
			}
			if got := read(t, l, Query{Path: "verify"}); len(got) != 1 {
				t.Errorf("%+v", got)
			}
			if got, more, err := l.Read(Query{Limit: 1}); len(got) != 1 || got[0].Who != "loopback" || !more || err != nil {
				t.Errorf("%+v %v %v", got, more, err)
			}
		})
	})
}

// The files are bounded; the newest entries stay.
func TestFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir, hclog.NewNullLogger())
	wide := strings.Repeat("x", 40_000)
	const n = (oldFiles + 3) * maxFile / 40_000
	for i := range n {
		l.keep(Entry{At: time.Unix(int64(i), 0), Did: wide})
	}
	l.file.Close()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != oldFiles+1 {
		t.Errorf("%q %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > maxFile {
			t.Errorf("%s: %v %v", f, info.Size(), err)
		}
	}
	got := read(t, l, Query{})
	if first := got[0].At.Unix(); got[len(got)-1].At.Unix() != n-1 || len(got) != int(n-first) || len(got) < oldFiles*maxFile/41_000 {
		t.Errorf("%d entries from %d to %d of %d", len(got), first, got[len(got)-1].At.Unix(), n)
	}
}

// What happens often is one entry at first, and one for the rest of a minute. So nobody
// can drown the others' entries.
func TestFloodIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		run(t, dir, func(l *Log) {
			denied := Entry{At: time.Now(), Address: "192.0.2.1", Path: "/v1/reload", Status: 401, Did: "denied", Often: true}
			for range 5000 {
				l.Add(denied)
			}
			synctest.Wait()
			if got := read(t, l, Query{}); len(got) != 1 || got[0].Times != 0 {
				t.Errorf("at first: %+v", got)
			}
			time.Sleep(2 * together)
			synctest.Wait()
			if got := read(t, l, Query{}); len(got) != 2 || got[1].Times != 4999 {
				t.Errorf("after a minute: %+v", got)
			}
			for i := range 10 * maxGroups {
				denied.Address = fmt.Sprint(i)
				l.Add(denied)
			}
			time.Sleep(2 * together)
			synctest.Wait()
			got := read(t, l, Query{})
			if last := got[len(got)-1]; len(got) > maxGroups+5 || len(l.groups) != 0 {
				t.Errorf("%d entries, %d groups, %+v", len(got), len(l.groups), last)
			}
			l.Add(denied)
			l.Add(denied)
		})
		got := read(t, Open(dir, nil), Query{})
		if last := got[len(got)-1]; last.Times != 1 {
			t.Errorf("not told at the end: %+v", last)
		}
	})
}

// A disk that takes nothing keeps nobody from acting. What is missing is said later, and
// stands in the host's log.
func TestFullDiskStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "gone")
		said := run(t, dir, func(l *Log) {
			began := time.Now()
			l.Add(Entry{At: began, Who: "night", Did: "deleted 7 dead letters"})
			l.Add(Entry{At: began, Who: "night", Did: "deleted 8 dead letters"})
			if time.Since(began) != 0 {
				t.Errorf("waited %s", time.Since(began))
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			l.Add(Entry{At: began, Who: "night", Did: "paused"})
			if got := read(t, l, Query{}); len(got) != 2 || !strings.Contains(got[0].Did, "2 entries before this could not be written") || got[1].Did != "paused" {
				t.Errorf("%+v", got)
			}
		})
		if !strings.Contains(said, "deleted 7 dead letters") || !strings.Contains(said, "could not be written") {
			t.Errorf("%s", said)
		}
		silent := Open(dir, hclog.NewNullLogger()) // nobody runs it: its disk does not answer
		began := time.Now()
		silent.Add(Entry{})
		if took := time.Since(began); took != addTime {
			t.Errorf("waited %s", took)
		}
	})
}

// An order that has two entries is read as one: of its end, or of its beginning while it goes
// on. When the host ends before it, the next one writes that, once.
func TestOrdersThatAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		order := func(id string, phase Phase) Entry {
			return Entry{At: time.Now(), Who: "token boss", Path: "/v1/erase", Order: id, Phase: phase, Did: string(phase) + "!"}
		}
		run(t, dir, func(l *Log) {
			l.Add(order("A", Begun))
			l.Add(order("B", Begun))
			if got := read(t, l, Query{}); len(got) != 2 || got[1].Phase != Begun {
				t.Errorf("while they go on: %+v", got)
			}
			l.Add(order("A", Ended))
			if got := read(t, l, Query{}); len(got) != 2 || got[0].Order != "B" || got[1].Phase != Ended {
				t.Errorf("when one has ended: %+v", got)
			}
		}) // as with kill -9: nothing more is written of B
		for range 2 {
			time.Sleep(time.Hour)
			said := run(t, dir, func(l *Log) {
				synctest.Wait()
				got := read(t, l, Query{})
				if len(got) != 2 || got[1].Order != "B" || got[1].Phase != CutOff || got[1].Who != "token boss" || !strings.Contains(got[1].Did, "order it again") {
					t.Errorf("after a start: %+v", got)
				}
				if got := read(t, l, Query{open: true}); len(got) != 0 {
					t.Errorf("still open: %+v", got)
				}
			})
			if first := len(read(t, Open(dir, nil), Query{})) == 2; !first || strings.Contains(said, "cut off") != (time.Since(read(t, Open(dir, nil), Query{})[1].At) < time.Hour) {
				t.Errorf("it was said when it was found, and only then: %s", said)
			}
		}
	})
}

// Who acts without end has one entry for what is the same: the entries of others stay in the files.
func TestNobodyDrownsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		run(t, dir, func(l *Log) {
			l.Add(Entry{At: time.Now(), Who: "token boss", Path: "/v1/reload"})
			for range 20 * maxOwn {
				l.Add(Entry{At: time.Now(), Who: "token eve", Path: "/v1/plugins/a/pause", Status: 200})
			}
			l.Add(Entry{At: time.Now(), Who: "token boss", Path: "/v1/verify"})
			if got := read(t, l, Query{Who: "eve"}); len(got) != maxOwn+1 {
				t.Errorf("%d entries of one who acts without end", len(got))
			}
			if got := read(t, l, Query{Who: "boss"}); len(got) != 2 {
				t.Errorf("%d entries of the other", len(got))
			}
			time.Sleep(2 * together)
			synctest.Wait()
			got := read(t, l, Query{Who: "eve"})
			if last := got[len(got)-1]; last.Times != 19*maxOwn-1 || len(l.spent) != 0 {
				t.Errorf("%+v, %d are remembered", last, len(l.spent))
			}
		})
	})
}
