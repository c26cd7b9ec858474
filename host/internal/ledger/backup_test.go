package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"balhost/host/internal/backup"
	"balhost/host/internal/entry"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

// busy makes all that is rare happen often.
func busy(o *Options) {
	o.Sizes = Sizes{Segment: 5 << 20, Layer: 64 << 10, MemTable: 8 << 20, Rotate: 1 << 20}
}

func restoreOptions(dir string) Options { return Options{Dir: dir, Statfs: plenty} }

func backUp(t testing.TB, l *Ledger) []byte {
	t.Helper()
	var file bytes.Buffer
	info, err := l.Backup(t.Context(), &file, 0, "test")
	if err != nil || info.Bytes != int64(file.Len()) {
		t.Fatalf("%+v: %v", info, err)
	}
	return file.Bytes()
}

func mustRestore(t testing.TB, file []byte) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ledger")
	r, err := Restore(t.Context(), restoreOptions(dir), bytes.NewReader(file), nil)
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("%+v: %v", r, err)
	}
	return dir
}

// worker is traffic of one goroutine, and what it was told.
type worker struct {
	t       *testing.T
	l       *Ledger
	name    string
	mu      sync.Mutex      // guards what follows
	stored  map[string]bool // message ids of upstreams that were acked
	handled map[string]bool // and that may have ended
}

func (w *worker) run(stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprint(w.name, n)
		if err := accept(w.t, w.l, "tok", id, fmt.Sprintf(`{"fill":%q}`, strings.Repeat(w.name, 300))); err != nil {
			w.t.Error(err)
			return
		}
		w.mu.Lock()
		w.stored[id] = true
		w.mu.Unlock()
		if n%3 == 0 {
			w.handle(n)
		}
	}
}

// handle ends one event of those that are pending, with a downstream and a state, and
// one downstream.
func (w *worker) handle(n int) {
	for _, ev := range w.l.Events(uint64(n), 50) {
		body, err := w.l.Body(ev.Seq)
		if err != nil || body.Upstream == nil || !strings.HasPrefix(body.Upstream.MessageID, w.name) {
			continue
		}
		w.mu.Lock()
		w.handled[body.Upstream.MessageID] = true
		w.mu.Unlock()
		w.l.Lease(ev.Seq, 1)
		err = settleAs(w.t, w.l, entry.Settlement{Seq: ev.Seq, Lease: 1, Verdict: entry.Done, Plugin: w.name, Changes: entry.Changes{
			Sends: []entry.Send{send("d-"+body.Upstream.MessageID, `{}`)}, Writes: []entry.Write{{Key: fmt.Sprint(n % 7), Value: json.RawMessage(fmt.Sprint(n))}},
		}})
		if err != nil {
			w.t.Error(err)
		}
		break
	}
	for _, d := range w.l.Downstreams(0, 1) {
		if err := await(w.t, func(done func(error)) { w.l.Finish(entry.End{Seq: d.Seq, Status: message.Acked, Attempts: 1}, done) }); err != nil && !errors.Is(err, entry.ErrUnknown) {
			w.t.Error(err)
		}
	}
}

// A backup that is taken under load is one moment: restored, all that was acked
// before is there or has ended, counters and records agree, and what comes again is
// known. Nothing that was given out is given out again, after the backup neither. // P0 P1 P6
func TestBackupUnderLoad(t *testing.T) {
	l := open(t, t.TempDir(), busy)
	stop := make(chan struct{})
	var workers sync.WaitGroup
	var loads []*worker
	for i := range 4 {
		w := &worker{t: t, l: l, name: string(rune('a' + i)), stored: map[string]bool{}, handled: map[string]bool{}}
		loads = append(loads, w)
		workers.Go(func() { w.run(stop) })
	}
	counted := func(least int) {
		for l.Counts().Accepted < uint64(least) {
			time.Sleep(time.Millisecond)
		}
	}
	counted(300)
	var before []string
	for _, w := range loads {
		w.mu.Lock()
		for id := range w.stored {
			before = append(before, id)
		}
		w.mu.Unlock()
	}
	var file bytes.Buffer
	info, err := l.Backup(t.Context(), &file, 2<<20, "test")
	if err != nil {
		t.Fatal(err)
	}
	counted(int(l.Counts().Accepted) + 300)
	close(stop)
	workers.Wait()
	verify(t, l)
	events := l.Events(0, 1<<20)
	last := events[len(events)-1]
	body, err := l.Body(last.Seq)
	if err != nil {
		t.Fatal(err)
	}
	lastID := idIn(body)

	restored := open(t, mustRestore(t, file.Bytes()), busy)
	verify(t, restored)
	if restored.tally.commit < info.Commit || restored.tally.commit >= l.tally.commit {
		t.Errorf("the backup is of commit %d, restored is %d, the ledger is at %d", info.Commit, restored.tally.commit, l.tally.commit)
	}
	pending := map[string]bool{}
	for _, ev := range restored.Events(0, 1<<20) {
		body, err := restored.Body(ev.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if body.Upstream != nil {
			pending[body.Upstream.MessageID] = true
		}
	}
	was := restored.Counts()
	for _, id := range before {
		w := loads[id[0]-'a']
		if !pending[id] && !w.handled[id] {
			t.Errorf("%s was acked before the backup, and is lost", id)
		}
		mustAccept(t, restored, "tok", id, fmt.Sprintf(`{"fill":%q}`, strings.Repeat(w.name, 300)))
	}
	if now := restored.Counts(); now.Accepted != was.Accepted {
		t.Errorf("%d upstreams that came again were stored again", now.Accepted-was.Accepted)
	}
	mustAccept(t, restored, "tok", "new", `{}`)
	events = restored.Events(0, 1<<20)
	next := events[len(events)-1]
	if body, err = restored.Body(next.Seq); err != nil || next.Seq <= last.Seq || idIn(body) <= lastID {
		t.Errorf("seq %d and id %s follow after %d and %s were given out: %v", next.Seq, idIn(body), last.Seq, lastID, err)
	}
	verify(t, restored)
	verify(t, reopen(t, restored, busy))
}

// Two ledgers that are restored of one backup give out different ids, even when the
// clock stands where it stood.
func TestRestoredIDs(t *testing.T) {
	clock := newMachine()
	l := open(t, t.TempDir(), clock.options)
	mustAccept(t, l, "tok", "1", `{}`)
	file := backUp(t, l)
	next := func(l *Ledger) (uint64, string) {
		mustAccept(t, l, "tok", "2", `{}`)
		events := l.Events(0, 10)
		body, err := l.Body(events[len(events)-1].Seq)
		if err != nil {
			t.Fatal(err)
		}
		return events[len(events)-1].Seq, idIn(body)
	}
	seqs, ids := map[uint64]bool{}, map[string]bool{}
	seq, id := next(l)
	seqs[seq], ids[id] = true, true
	for n := range 2 {
		dir := t.TempDir()
		o := restoreOptions(dir)
		o.Now = clock.now
		if _, err := Restore(t.Context(), o, bytes.NewReader(file), nil); err != nil {
			t.Fatal(err)
		}
		seq, id := next(open(t, dir, clock.options))
		if ids[id] || n == 0 && seqs[seq] {
			t.Errorf("seq %d, id %s were given out before", seq, id)
		}
		ids[id] = true
	}
}

// Where there is a ledger, or none of the file can be believed, nothing is made and nothing is touched. // P10
func TestRestoreRefused(t *testing.T) {
	l := open(t, t.TempDir())
	for n := range 300 {
		mustAccept(t, l, "tok", fmt.Sprint(n), fmt.Sprintf(`{"fill":%q}`, strings.Repeat("x", 1000)))
	}
	file := backUp(t, l)
	newer := bytes.Replace(file, []byte("backup 1\n"), []byte("backup 3\n"), 1)
	flipped := bytes.Clone(file)
	flipped[len(file)/2] ^= 1
	for name, tc := range map[string]struct {
		file []byte
		want error
	}{
		"cut in its title": {file[:5], backup.ErrCut}, "cut in its header": {file[:40], backup.ErrCut}, "cut in its records": {file[:len(file)/2], backup.ErrCut},
		"without its end": {file[:len(file)-60], backup.ErrCut}, "flipped": {flipped, backup.ErrDamaged}, "newer": {newer, backup.ErrNewer}, "none": {nil, backup.ErrCut},
	} {
		dir := filepath.Join(t.TempDir(), "ledger")
		if _, err := Restore(t.Context(), restoreOptions(dir), bytes.NewReader(tc.file), nil); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if files, _ := os.ReadDir(dir); len(files) > 0 {
			t.Errorf("%s: %v is left", name, files)
		}
		if _, _, err := CheckBackup(t.Context(), bytes.NewReader(tc.file), nil); !errors.Is(err, tc.want) {
			t.Errorf("%s: CheckBackup: %v", name, err)
		}
	}
	refuses := func(dir, want string) {
		t.Helper()
		if _, err := Restore(t.Context(), restoreOptions(dir), bytes.NewReader(file), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, should say %q", err, want)
		}
	}
	refuses(l.o.Dir, "there is already a ledger")
	verify(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	refuses(l.o.Dir, "there is already a ledger")
	if err := os.RemoveAll(l.o.db()); err != nil { // its journal is there
		t.Fatal(err)
	}
	refuses(l.o.Dir, "there is already a ledger")
	o := restoreOptions(t.TempDir())
	o.Statfs = func(string) (Space, error) { return Space{Bytes: 1 << 29, Inodes: 1 << 40}, nil }
	if _, err := Restore(t.Context(), o, bytes.NewReader(file), nil); err == nil || !strings.Contains(err.Error(), "too little") {
		t.Errorf("on a full disk: %v", err)
	}
}

// failing is a reader of a file, in the midst of which something happens.
type failing struct {
	io.Reader
	left int
	then func() error
}

func (f *failing) Read(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 && f.then != nil {
		then := f.then
		f.then = nil
		if err := then(); err != nil {
			return 0, err
		}
	}
	return f.Reader.Read(p)
}

// Power that is cut at any moment of a restore leaves nothing that opens, and the restore can be done again.
func TestRestoreInterrupted(t *testing.T) {
	l := open(t, t.TempDir())
	for n := range 300 {
		mustAccept(t, l, "tok", fmt.Sprint(n), fmt.Sprintf(`{"fill":%q}`, strings.Repeat("x", 1000)))
	}
	file := backUp(t, l)
	var left []string // what would be there, each time
	dir := filepath.Join(t.TempDir(), "ledger")
	look := func() error {
		to := t.TempDir()
		left = append(left, to)
		return os.CopyFS(to, os.DirFS(dir))
	}
	for at := 1000; at < len(file); at += len(file) / 3 {
		r := &failing{Reader: bytes.NewReader(file), left: at, then: func() error {
			if _, err := Open(t.Context(), restoreOptions(dir)); err == nil || !strings.Contains(err.Error(), "a restore has not ended") {
				t.Errorf("a host that starts meanwhile: %v", err)
			}
			if _, err := Restore(t.Context(), restoreOptions(dir), bytes.NewReader(file), nil); err == nil || !strings.Contains(err.Error(), "another balhost") {
				t.Errorf("a second restore meanwhile: %v", err)
			}
			return errors.Join(look(), context.Canceled)
		}}
		if _, err := Restore(t.Context(), restoreOptions(dir), r, nil); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if len(left) < 3 {
		t.Fatalf("%d looks", len(left))
	}
	for _, dir := range left {
		if _, err := Open(t.Context(), restoreOptions(dir)); err == nil || !strings.Contains(err.Error(), "a restore has not ended") {
			t.Errorf("what is left opens: %v", err)
		}
		if _, err := Restore(t.Context(), restoreOptions(dir), bytes.NewReader(file), nil); err != nil {
			t.Error(err)
			continue
		}
		restored := open(t, dir)
		if n := restored.Counts().Events; n != 300 {
			t.Errorf("%d events", n)
		}
		verify(t, restored)
	}
}

// A ledger that closes ends its backup, one that is taken keeps another out, and who asked can give up.
func TestBackupEnds(t *testing.T) {
	l := open(t, t.TempDir())
	for n := range 300 {
		mustAccept(t, l, "tok", fmt.Sprint(n), fmt.Sprintf(`{"fill":%q}`, strings.Repeat("x", 1000)))
	}
	broken := errors.New("gone")
	during := func(then func()) io.Writer {
		return writerFunc(func(p []byte) (int, error) {
			if len(p) < backupBlock {
				return len(p), nil
			}
			then()
			return len(p), nil
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := l.Backup(ctx, during(func() {
		if _, err := l.Backup(ctx, io.Discard, 0, ""); !errors.Is(err, ErrBacking) {
			t.Errorf("a second one: %v", err)
		}
		cancel()
	}), 0, "")
	wantErr(t, err, context.Canceled)
	_, err = l.Backup(t.Context(), writerFunc(func([]byte) (int, error) { return 0, broken }), 0, "")
	wantErr(t, err, broken)
	closed := make(chan error, 1)
	var once sync.Once
	_, err = l.Backup(t.Context(), during(func() {
		once.Do(func() { go func() { closed <- l.Close() }() })
		for !l.closing.Load() {
			time.Sleep(time.Millisecond)
		}
	}), 0, "")
	wantErr(t, err, entry.ErrClosed)
	wantErr(t, <-closed, nil)
	_, err = l.Backup(t.Context(), io.Discard, 0, "")
	wantErr(t, err, entry.ErrClosed)
}

// idIn is an event's id.
func idIn(b entry.Body) string {
	switch {
	case b.Upstream != nil:
		return b.Upstream.ID
	case b.Outcome != nil:
		return b.Outcome.ID
	}
	return b.Receipt.ID
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A record that is whole and not the last one of its key shows by the journal alone.
func TestVerifyHoldsJournalAgainstTables(t *testing.T) {
	l := open(t, t.TempDir())
	for n := range 3 {
		if err := updateAs(t, l, "p", entry.Changes{Writes: []entry.Write{{Key: "k", Value: json.RawMessage(fmt.Sprint(n))}}}); err != nil {
			t.Fatal(err)
		}
	}
	verify(t, l)
	e, err := l.Examine(t.Context())
	if err != nil || e.Commit != l.tally.commit || e.Commits != e.Commit || e.Records == 0 {
		t.Errorf("examined: %+v, %v", e, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := badger.Open(badger.DefaultOptions(l.o.db()).WithExternalMagic(schema).WithCompression(options.None).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	key := appendValueKey(nil, "p", "k")
	record := sealRecord(appendValue(nil, value{version: 1, json: json.RawMessage("0")}), 0, key)
	err = db.Update(func(txn *badger.Txn) error { return txn.Set(key, record) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	l = open(t, l.o.Dir)
	if err := l.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), "differs from what commit") {
		t.Errorf("an old record: %v", err)
	}
	file := backUp(t, l) // of what there is
	if _, e, err := CheckBackup(t.Context(), bytes.NewReader(file), nil); err != nil || len(e.Problems) > 0 {
		t.Errorf("%+v, %v", e, err)
	}
}

// A backup that is whole, of a ledger that was not, says so.
func TestCheckBackupFindsLostKeys(t *testing.T) {
	l := open(t, t.TempDir())
	mustAccept(t, l, "tok", "1", `{}`)
	if err := updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{send("d", `{}`)}}); err != nil {
		t.Fatal(err)
	}
	r, err := backup.NewReader(bytes.NewReader(backUp(t, l)), nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []byte{kindEvent, kindSent, kindDownstream} {
		var kept []state.Change
		if err := state.Changes(block, func(c state.Change) {
			if c.Key[0] != kind {
				kept = append(kept, c)
			}
		}); err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		w, err := backup.NewWriter(&file, r.Header(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(len(kept), state.Frame(kept)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, e, err := CheckBackup(t.Context(), bytes.NewReader(file.Bytes()), nil); err != nil || len(e.Problems) == 0 {
			t.Errorf("without %c: %+v, %v", kind, e, err)
		}
	}
}
