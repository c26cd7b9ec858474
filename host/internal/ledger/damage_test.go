package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/entry"
)

// TestFailedCommit: nothing is acked by a commit that failed, nor after it; the
// process is told to end, once; what was acked before is there. // P1 P10
func TestFailedCommit(t *testing.T) {
	dir := t.TempDir()
	told := make(chan error, 10)
	l := open(t, dir, func(o *Options) { o.Poison = func(err error) { told <- err } })
	mustAccept(t, l, "tokA", "before", `{}`)
	broken := errors.New("msync: input/output error")
	fail := false
	l.append = func(commit uint64, frame []byte) error {
		if fail = !fail; fail {
			return broken
		}
		return l.journal.Append(commit, frame)
	}
	for i := range 3 { // the second commit would work, but must not be tried
		wantErr(t, accept(t, l, "tokA", fmt.Sprint(i), `{}`), entry.ErrClosed)
	}
	wantErr(t, <-told, broken)
	if len(told) != 0 {
		t.Error("told twice")
	}
	if n := len(l.Events(0, 10)); n != 1 {
		t.Errorf("%d events seen", n)
	}
	wantErr(t, l.Close(), broken)
	l = open(t, dir)
	if n := len(l.Events(0, 10)); n != 1 {
		t.Errorf("%d events after recovery", n)
	}
	verify(t, l)
}

// TestPoisonVetoesWaitingAcks: what was committed but not yet called back is not acked once
// badger has said that it is in trouble. // P10
func TestPoisonVetoesWaitingAcks(t *testing.T) {
	told := make(chan error, 1)
	l := open(t, t.TempDir(), func(o *Options) { o.Poison = func(err error) { told <- err } })
	got := make(chan error, 2)
	inside, free := make(chan struct{}), make(chan struct{})
	l.Accept(entry.Inbound{Upstream: upstream("tokA", "1", `{}`)}, func(err error) { close(inside); <-free; got <- err })
	l.Accept(entry.Inbound{Upstream: upstream("tokA", "2", `{}`)}, func(err error) { got <- err })
	<-inside
	l.poison(errors.New("badger: Compact FAILED"))
	<-told
	close(free)
	if err := <-got; err != nil {
		t.Errorf("first: %v", err)
	}
	wantErr(t, <-got, entry.ErrClosed)
}

// disk is a file system whose fill a test decides.
type disk struct{ bytes, inodes, looks atomic.Int64 }

func newDisk() *disk {
	d := &disk{}
	d.bytes.Store(1 << 40)
	d.inodes.Store(1 << 30)
	return d
}

func (d *disk) statfs(string) (Space, error) {
	d.looks.Add(1)
	return Space{Bytes: d.bytes.Load(), Inodes: uint64(d.inodes.Load())}, nil
}

func (d *disk) options(o *Options) {
	o.Statfs, o.DiskSoft, o.DiskHard, o.Inodes = d.statfs, 1<<30, 256<<20, 10_000
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// TestDiskSoft: near the end of bytes or inodes new messages are refused, what ends goes on,
// and it resumes by itself. // P10
func TestDiskSoft(t *testing.T) {
	d := newDisk()
	l := open(t, t.TempDir(), d.options)
	mustAccept(t, l, "tokA", "1", `{}`)
	mustAccept(t, l, "tokA", "2", `{}`)
	select {
	case <-l.Room():
	default:
		t.Fatal("no room on an empty disk")
	}
	for _, scarce := range []struct {
		what      string
		n         *atomic.Int64
		low, more int64 // below the limit; above it, but not enough to resume
	}{{"bytes", &d.bytes, 1<<30 - 1, 1<<30 + 300<<20}, {"inodes", &d.inodes, 9_999, 12_000}} {
		plenty := scarce.n.Load()
		scarce.n.Store(scarce.low)
		until(t, "full of "+scarce.what, l.Full)
		wantErr(t, accept(t, l, "tokA", "new "+scarce.what, `{}`), entry.ErrFull)
		wantErr(t, updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{send("d-1", `{}`)}}), entry.ErrFull)
		set, remove := entry.Write{Key: "k", Value: json.RawMessage("1")}, entry.Write{Key: "k"}
		wantErr(t, updateAs(t, l, "p", entry.Changes{Writes: []entry.Write{remove, set}}), entry.ErrFull)
		for owner, w := range map[string]entry.Write{"p": remove, entry.HostState: set} {
			if err := updateAs(t, l, owner, entry.Changes{Writes: []entry.Write{w}}); err != nil {
				t.Errorf("%s writes %+v while full: %v", owner, w, err)
			}
		}
		if err := accept(t, l, "tokA", "1", `{}`); err != nil {
			t.Errorf("duplicate: %v", err)
		}
		err := settleAs(t, l, entry.Settlement{
			Seq: l.Events(0, 1)[0].Seq, Verdict: entry.Done, Plugin: "p",
			Changes: entry.Changes{Sends: []entry.Send{send("d-"+scarce.what, `{}`)}},
		})
		if err != nil {
			t.Errorf("settle while full: %v", err)
		}
		scarce.n.Store(scarce.more)
		room, looks := l.Room(), d.looks.Load()
		until(t, "two more looks", func() bool { return d.looks.Load() >= looks+2 }) // the first has ended then
		select {
		case <-room:
			t.Errorf("room with little more %s", scarce.what)
		default:
		}
		scarce.n.Store(plenty)
		<-room
		mustAccept(t, l, "tokA", "new "+scarce.what, `{}`)
	}
}

// TestDiskHard: at the hard limit it ends by intention, and does not open again
// unless its ballast makes room. // P10
func TestDiskHard(t *testing.T) {
	dir := t.TempDir()
	d := newDisk()
	ballast := filepath.Join(dir, "ballast")
	told := make(chan error, 1)
	statfs := func(string) (Space, error) {
		s, _ := d.statfs("")
		if info, err := os.Stat(ballast); err == nil {
			s.Bytes -= info.Size()
		}
		return s, nil
	}
	change := func(o *Options) {
		d.options(o)
		o.Ballast, o.Statfs = 1<<20, statfs
		o.Poison = func(err error) { told <- err }
	}
	l := open(t, dir, change)
	if info, err := os.Stat(ballast); err != nil || info.Size() != 1<<20 {
		t.Fatalf("no ballast: %v", err)
	}
	mustAccept(t, l, "tokA", "1", `{}`)
	d.bytes.Store(256<<20 + 1000)
	if err := <-told; !strings.Contains(err.Error(), "free some") {
		t.Errorf("error: %v", err)
	}
	wantErr(t, accept(t, l, "tokA", "2", `{}`), entry.ErrClosed)
	if err := l.Close(); err == nil {
		t.Error("closed without the error")
	}
	l = open(t, dir, change)
	if _, err := os.Stat(ballast); err == nil {
		t.Error("ballast is still there")
	}
	if !l.Full() || len(l.Events(0, 10)) != 1 {
		t.Errorf("full %v, %d events", l.Full(), len(l.Events(0, 10)))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	d.bytes.Store(1000)
	o := Options{Dir: dir}
	change(&o)
	if _, err := Open(context.Background(), o); err == nil || !strings.Contains(err.Error(), "free some") {
		t.Errorf("opened on a full disk: %v", err)
	}
}

// fill stores and settles until badger has tables on disk.
func fillTables(t *testing.T, l *Ledger) {
	t.Helper()
	data := fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 100<<10))
	results := make(chan error, 400)
	for i := range 400 {
		l.Accept(entry.Inbound{Upstream: upstream("tokA", fmt.Sprint("fill", i), data)}, func(err error) { results <- err })
	}
	for range 400 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	until(t, "a table", func() bool {
		tables, err := filepath.Glob(filepath.Join(l.o.db(), "*.sst"))
		return err == nil && len(tables) > 0
	})
}

func dbFiles(t *testing.T, dir, ext string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "db", "*"+ext))
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s files: %v", ext, err)
	}
	return files
}

// TestEmptyFiles: files that a crash left empty keep it from nothing (notes/badger.md D4).
func TestEmptyFiles(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	mustAccept(t, l, "tokA", "1", `{}`)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"00099.mem", "000099.vlog", "KEYREGISTRY"} {
		if err := os.WriteFile(filepath.Join(dir, "db", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	notes := filepath.Join(dir, "db", "notes.mem-") // no name of badger's: a person's
	if err := os.WriteFile(notes, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	if n := len(l.Events(0, 10)); n != 1 {
		t.Errorf("%d events", n)
	}
	if _, err := os.Stat(notes); err != nil {
		t.Error(err)
	}
}

// copyWhileOpen copies a ledger as a power cut would leave it.
func copyWhileOpen(t *testing.T, l *Ledger) (dir string) {
	t.Helper()
	var err error
	for range 100 { // the journal renames a file when it has prepared it
		dir = t.TempDir()
		if err = os.CopyFS(dir, os.DirFS(l.o.Dir)); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestFlippedByte: a journal that was damaged before its end is refused, with what is
// damaged; so is one that is missing, or lacks what the tables do not have. // P10
func TestFlippedByte(t *testing.T) {
	l := open(t, t.TempDir())
	for i := range 50 {
		mustAccept(t, l, "tokA", fmt.Sprint("number-", i), `{}`)
	}
	segment := func(dir string) string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "journal", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if content, err := os.ReadFile(f); err == nil && bytes.Contains(content, []byte("number-25")) {
				return f
			}
		}
		t.Fatal("no message in the journal")
		return ""
	}
	refused := func(dir, want string) {
		t.Helper()
		l, err := Open(context.Background(), Options{Dir: dir, Statfs: plenty})
		if err == nil {
			l.Close() //nolint:errcheck // failed already
			t.Errorf("opened; should be refused with %q", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%v; should say %q", err, want)
		}
	}
	dir := copyWhileOpen(t, l)
	file := segment(dir)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content[bytes.Index(content, []byte("number-25"))] ^= 1
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(dir, "damaged")
	whole := open(t, copyWhileOpen(t, l))
	if a := whole.Alarms(); len(a) != 0 || len(whole.Events(0, 100)) != 50 {
		t.Errorf("undamaged copy: %q, %d events", a, len(whole.Events(0, 100)))
	}
	if err := whole.Close(); err != nil { // all is in tables
		t.Fatal(err)
	}
	if err := os.RemoveAll(whole.o.log()); err != nil {
		t.Fatal(err)
	}
	refused(whole.o.Dir, "is missing")
}

// TestDamagedTables: tables that are cut, zeroed, rotten or missing are an error of
// Open, never a panic or silence (D5, D6), and so is a MANIFEST that is missing.
func TestDamagedTables(t *testing.T) {
	l := open(t, t.TempDir())
	fillTables(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for what, hurt := range map[string]func(path string, content []byte) error{
		"cut":     func(path string, c []byte) error { return os.WriteFile(path, c[:len(c)/2], 0o600) },
		"stub":    func(path string, c []byte) error { return os.WriteFile(path, c[:3], 0o600) },
		"zeroed":  func(path string, c []byte) error { return os.WriteFile(path, make([]byte, len(c)), 0o600) },
		"rotten":  func(path string, c []byte) error { c[len(c)/3] ^= 1; return os.WriteFile(path, c, 0o600) },
		"missing": func(path string, _ []byte) error { return os.Remove(path) },
		"manifest missing": func(path string, _ []byte) error {
			return os.Remove(filepath.Join(filepath.Dir(path), badger.ManifestFilename))
		},
		"manifest rotten": func(path string, _ []byte) error {
			return os.WriteFile(filepath.Join(filepath.Dir(path), badger.ManifestFilename), []byte("Bdgrx"), 0o600)
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := copyWhileOpen(t, l)
			path := dbFiles(t, dir, ".sst")[0]
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := hurt(path, content); err != nil {
				t.Fatal(err)
			}
			broken, err := Open(context.Background(), Options{Dir: dir, Statfs: plenty})
			if err == nil {
				broken.Close() //nolint:errcheck // failed already
				t.Fatal("opened")
			}
			t.Log(err)
		})
	}
	open(t, copyWhileOpen(t, l)) // not hurt
}

// TestOtherSchema: a ledger of a newer or older program is refused in clear words.
func TestOtherSchema(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "db", badger.ManifestFilename)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[byte]string{schema + 1: "newer balhost", 1: "before the first release"} {
		content[5] = version
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), Options{Dir: dir, Statfs: plenty}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("schema %d: %v", version, err)
		}
	}
}

// TestSecondOpen: one process at a time.
func TestSecondOpen(t *testing.T) {
	l := open(t, t.TempDir())
	if _, err := Open(context.Background(), Options{Dir: l.o.Dir, Statfs: plenty}); err == nil {
		t.Error("opened twice")
	}
	mustAccept(t, l, "tokA", "1", `{}`)
}

// TestVerifyFindsLostKeys: keys that badger lost (D1) are missed, whatever they were.
func TestVerifyFindsLostKeys(t *testing.T) {
	l := open(t, t.TempDir())
	mustAccept(t, l, "tokA", "1", `{}`)
	mustAccept(t, l, "tokA", "2", `{}`)
	mustAccept(t, l, "tokA", "3", `{}`)
	events := l.Events(0, 10)
	for i, s := range []entry.Settlement{
		{Verdict: entry.Done, Plugin: "p", Changes: entry.Changes{
			Sends: []entry.Send{send("d-1", `{}`)}, Writes: []entry.Write{{Key: "k", Value: json.RawMessage(`1`)}},
		}},
		{Verdict: entry.Dead},
	} {
		s.Seq = events[i].Seq
		if err := settleAs(t, l, s); err != nil {
			t.Fatal(err)
		}
	}
	verify(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []byte{kindEvent, kindDownstream, kindDead, kindSummary, kindSent, kindValue} {
		t.Run(string(rune(kind)), func(t *testing.T) {
			dir := copyWhileOpen(t, l)
			db, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, "db")).WithExternalMagic(schema).WithCompression(options.None).WithLogger(nil))
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(txn *badger.Txn) error {
				it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kind}})
				defer it.Close()
				it.Rewind()
				return txn.Delete(it.Item().KeyCopy(nil))
			})
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			l := open(t, dir)
			if err := l.Verify(t.Context()); err == nil {
				t.Error("nothing is missed")
			}
			if len(l.Alarms()) == 0 {
				t.Error("no alarm")
			}
		})
	}
}

// TestSqueeze: a page of which little is left is written anew, and what is left stays. // P0
func TestSqueeze(t *testing.T) {
	l := open(t, t.TempDir())
	reached, release := hold(l)
	var done sync.WaitGroup
	mustGo := func(f func(done func(error))) {
		done.Add(1)
		f(func(err error) {
			defer done.Done()
			if err != nil {
				t.Error(err)
			}
		})
	}
	mustGo(func(done func(error)) { l.Accept(entry.Inbound{Upstream: upstream("tokA", "first", `{}`)}, done) })
	<-reached
	for i := range 500 {
		mustGo(func(done func(error)) {
			l.Accept(entry.Inbound{Upstream: upstream("tokA", fmt.Sprint(i), `{"x":1}`)}, done)
		})
		mustGo(func(done func(error)) {
			l.Update("p", entry.Changes{Sends: []entry.Send{send(fmt.Sprint("d-", i), `{}`)}}, done)
		})
	}
	release()
	mustAccept(t, l, "tokA", "last", `{}`)
	done.Wait()
	events := l.Events(0, 1000)
	for i, ev := range events {
		if i%50 != 7 {
			mustGo(func(done func(error)) {
				l.Settle(entry.Settlement{Seq: ev.Seq, Verdict: entry.Done, Plugin: "p"}, done)
			})
		}
	}
	mustAccept(t, l, "tokA", "settled", `{}`)
	done.Wait() // ends and messages have lines of their own
	size := l.pageSizes(t)
	if err := l.squeeze(t.Context(), l.Events(0, 1000)[3].Seq); err != nil { // not all yet
		t.Fatal(err)
	}
	verify(t, l)
	if err := l.squeeze(t.Context(), 1<<40); err != nil {
		t.Fatal(err)
	}
	verify(t, l)
	if now := l.pageSizes(t); now > size/5 {
		t.Errorf("pages take %d bytes, before it were %d", now, size)
	}
	for _, ev := range l.Events(0, 4) { // moved entries end as others do
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Verdict: entry.Done, Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	verify(t, l)
	l = reopen(t, l)
	if got := len(l.Events(0, 1000)); got != 7 || len(l.Downstreams(0, 1000)) != 500 {
		t.Errorf("%d events, %d downstreams", got, len(l.Downstreams(0, 1000)))
	}
	for _, ev := range l.Events(0, 1000) {
		if _, err := l.Body(ev.Seq); err != nil {
			t.Errorf("body of %d: %v", ev.Seq, err)
		}
	}
}

// pageSizes sums up the pages of events.
func (l *Ledger) pageSizes(t *testing.T) (sum int) {
	t.Helper()
	err := l.scan([]byte{kindEvent}, []byte{kindEvent}, func(_, record []byte) (bool, error) {
		sum += len(record)
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestPurge: summaries go after the retention time, in chunks, and no sooner.
func TestPurge(t *testing.T) {
	w := newMachine()
	l := open(t, t.TempDir(), w.options)
	for i := range 700 {
		l.Accept(entry.Inbound{Upstream: upstream("tokA", fmt.Sprint(i), `{}`)}, nil)
	}
	mustAccept(t, l, "tokA", "last", `{}`)
	for i, ev := range l.Events(0, 1000) {
		if i == 350 {
			w.lives(12 * time.Hour)
		}
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Verdict: entry.Done, Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []uint64{701, 351, 0} {
		if err := l.purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l.tally.finished != want {
			t.Errorf("%d summaries are left, should be %d", l.tally.finished, want)
		}
		verify(t, l)
		w.lives(13 * time.Hour)
	}
	l.flatten()
	l = reopen(t, l, w.options)
	verify(t, l)
}

// TestMetrics: they register, count, and go with the ledger.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	l := open(t, t.TempDir(), func(o *Options) { o.Metrics = reg })
	mustAccept(t, l, "tokA", "1", `{}`)
	mustAccept(t, l, "tokA", "1", `{}`)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	for name, want := range map[string]float64{
		"balhost_ledger_accepted_total": 1, "balhost_ledger_duplicates_total": 1, "balhost_ledger_events_pending": 1,
		"balhost_ledger_commit_seconds": 1, "balhost_ledger_commit_ops": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, should be %v", name, got[name], want)
		}
	}
	reopen(t, l, func(o *Options) { o.Metrics = reg })
}

// TestColdBodies: bodies that the cache has let go of come from the disk, the same. // P0
func TestColdBodies(t *testing.T) {
	l := open(t, t.TempDir())
	l.events.limit, l.sent.limit = 20<<10, 20<<10
	data := fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 1000))
	for i := range 100 {
		mustAccept(t, l, "tokA", fmt.Sprint(i), data)
		if err := updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{send(fmt.Sprint("d-", i), data)}}); err != nil {
			t.Fatal(err)
		}
	}
	if l.events.held > l.events.limit || l.events.held == 0 {
		t.Errorf("%d bytes are held", l.events.held)
	}
	for i, ev := range l.Events(0, 1000) {
		body, err := l.Body(ev.Seq)
		if err != nil || body.Upstream.MessageID != fmt.Sprint(i) || string(body.Upstream.Data) != data {
			t.Fatalf("event %d: %+v, %v", i, body.Upstream, err)
		}
	}
	for i, d := range l.Downstreams(0, 1000) {
		m, err := l.Downstream(d.Seq)
		if err != nil || m.MessageID != fmt.Sprint("d-", i) || string(m.Data) != data {
			t.Fatalf("downstream %d: %+v, %v", i, m, err)
		}
	}
	if _, err := l.Body(1 << 40); !errors.Is(err, entry.ErrUnknown) {
		t.Errorf("body of nothing: %v", err)
	}
	if _, err := l.Downstream(1 << 40); !errors.Is(err, entry.ErrUnknown) {
		t.Errorf("downstream of nothing: %v", err)
	}
}

// TestRecoverMany: a hundred thousand pending are there again within seconds.
func TestRecoverMany(t *testing.T) {
	const n = 100_000
	l := open(t, t.TempDir())
	for i := range n {
		l.Accept(entry.Inbound{Upstream: upstream("tokA", fmt.Sprint(i), `{"a":"b"}`)}, nil)
	}
	mustAccept(t, l, "tokA", "last", `{}`)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	l = open(t, l.o.Dir)
	took := time.Since(start)
	t.Logf("recovered in %s", took)
	if took > 10*time.Second || len(l.Events(0, 2*n)) != n+1 { // 3 s for a million on a quiet machine
		t.Errorf("recovered %d in %s", len(l.Events(0, 2*n)), took)
	}
}
