package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// hold keeps the first commit from ending until release is called, so that
// what is submitted meanwhile goes into one batch. It must come before any operation.
func hold(l *Ledger) (reached <-chan struct{}, release func()) {
	at, free := make(chan struct{}), make(chan struct{})
	first := true
	l.append = func(commit uint64, frame []byte) error {
		if first {
			first = false
			close(at)
			<-free
		}
		return l.journal.Append(commit, frame)
	}
	return at, func() { close(free) }
}

// TestAckWaitsForCommit: no callback before the commit has ended, then all in the order of the calls. // P1
func TestAckWaitsForCommit(t *testing.T) {
	l := open(t, t.TempDir())
	reached, release := hold(l)
	got := make(chan int, 300)
	for i := range 300 {
		l.Accept(entry.Inbound{Upstream: upstream("tokA", fmt.Sprint(i), `{}`)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			got <- i
		})
	}
	<-reached
	if len(got) != 0 || len(l.Events(0, 1)) != 0 {
		t.Error("told of success, or event seen, before the commit")
	}
	release()
	for i := range 300 {
		if g := <-got; g != i {
			t.Fatalf("callback %d came as number %d", g, i)
		}
	}
	if n := len(l.Events(0, 1000)); n != 300 {
		t.Errorf("%d events", n)
	}
}

// TestSlowCallback: a callback that does not return holds up no commit.
func TestSlowCallback(t *testing.T) {
	l := open(t, t.TempDir())
	free := make(chan struct{})
	defer close(free)
	l.Accept(entry.Inbound{Upstream: upstream("tokA", "1", `{}`)}, func(error) { <-free })
	l.Accept(entry.Inbound{Upstream: upstream("tokA", "2", `{}`)}, nil)
	for {
		more := l.EventsChanged()
		if len(l.Events(0, 10)) == 2 {
			return
		}
		select {
		case <-more:
		case <-time.After(time.Minute):
			t.Fatal("second message is not stored while the first callback is slow")
		}
	}
}

// TestDuplicates: the same message is stored once, in one batch, later, and after a restart. // P6
func TestDuplicates(t *testing.T) {
	w := newMachine()
	w.wall = time.Now() // badger forgets dedup keys by the real clock
	l := open(t, t.TempDir(), w.options)
	reached, release := hold(l)
	results := make(chan error, 3)
	l.Accept(entry.Inbound{Upstream: upstream("tokX", "0", `{}`)}, nil)
	<-reached
	for range 3 {
		l.Accept(entry.Inbound{Upstream: upstream("tokA", "1", `{"a":1}`)}, func(err error) { results <- err })
	}
	release()
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	mustAccept(t, l, "tokA", "1", `{"a":1}`)
	want := func(n int, why string) {
		t.Helper()
		if got := len(l.Events(0, 100)); got != n {
			t.Errorf("%s: %d events, should be %d", why, got, n)
		}
	}
	want(2, "same message")
	if c := l.Counts(); c.Duplicates != 3 || c.Accepted != 2 {
		t.Errorf("counts: %+v", c)
	}
	l = reopen(t, l, w.options)
	mustAccept(t, l, "tokA", "1", `{"a":1}`)
	want(2, "same message after a restart")
	mustAccept(t, l, "tokA", "1", `{"a":2}`)
	want(3, "same id with other data")
	mustAccept(t, l, "tokB", "1", `{"a":1}`)
	want(4, "same id of another device")
	other := upstream("tokA", "1", `{"a":1}`)
	other.Session = "second"
	if err := await(t, func(done func(error)) { l.Accept(entry.Inbound{Upstream: other}, done) }); err != nil {
		t.Fatal(err)
	}
	want(5, "same id through another session")
	w.lives(48*time.Hour - time.Second)
	mustAccept(t, l, "tokA", "1", `{"a":1}`)
	want(5, "same message at the window's end")
	w.lives(time.Second)
	mustAccept(t, l, "tokA", "1", `{"a":1}`)
	want(6, "same message after the window")
	verify(t, l)
}

// TestReceipts: a receipt goes to the lane of who sent the message, known by CCS's whole id. // P6
func TestReceipts(t *testing.T) {
	l := open(t, t.TempDir())
	if err := updateAs(t, l, "echo", entry.Changes{Sends: []entry.Send{send("d-1", `{}`)}}); err != nil {
		t.Fatal(err)
	}
	d := l.Downstreams(0, 1)[0]
	if err := await(t, func(done func(error)) { l.Finish(entry.End{Seq: d.Seq, Status: message.Acked}, done) }); err != nil {
		t.Fatal(err)
	}
	outcome := l.Events(0, 1)[0]
	for _, id := range []string{"d-1", "d-2", "d-1"} {
		r := &message.Receipt{
			Session: "main", OriginalMessageID: id, Device: "tokA", Category: "com.example.app",
			Status: "MESSAGE_SENT_TO_DEVICE", SentAt: time.UnixMilli(1711000000000),
		}
		if err := await(t, func(done func(error)) { l.Accept(entry.Inbound{Receipt: r, CCSMessageID: "dr2:" + id}, done) }); err != nil {
			t.Fatal(err)
		}
	}
	l = reopen(t, l)
	events := l.Events(outcome.Seq, 10)
	if len(events) != 2 {
		t.Fatalf("%d receipts, should be 2", len(events))
	}
	if e := events[0]; e.Kind != entry.Receipt || e.Plugin != "echo" || e.Group != d.Group {
		t.Errorf("receipt of a known message: %+v", e)
	}
	if e := events[1]; e.Plugin != "" || e.Group != 0 || e.Category != "com.example.app" {
		t.Errorf("receipt of an unknown message: %+v", e)
	}
	body, err := l.Body(events[0].Seq)
	if err != nil {
		t.Fatal(err)
	}
	if r := body.Receipt; r.OriginalMessageID != "d-1" || r.Device != "tokA" || r.Attempt != 1 || len(r.ID) != 26 || r.SentAt.UnixMilli() != 1711000000000 {
		t.Errorf("receipt: %+v", r)
	}
}

// TestUnusable: what nobody can handle is kept as a dead letter and acked. // P1 P8
func TestUnusable(t *testing.T) {
	l := open(t, t.TempDir())
	for _, raw := range []string{`{"data":"no object"}`, "{\x00", `{"data":"no object"}`} {
		u := &message.Upstream{Session: "main", From: "tokA", MessageID: "1", Raw: json.RawMessage(raw)}
		err := await(t, func(done func(error)) {
			l.Accept(entry.Inbound{Upstream: u, Unusable: "data is no object"}, done)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	l = reopen(t, l)
	letters, err := l.Dead("", 10)
	if err != nil || len(letters) != 2 || len(l.Events(0, 10)) != 0 {
		t.Fatalf("letters: %+v, %v", letters, err)
	}
	if d := letters[0]; d.Reason != "data is no object" || d.From != "tokA" || d.MessageID != "1" || d.Raw != nil || d.Kind != "upstream" {
		t.Errorf("letter: %+v", d)
	}
	for i, d := range letters {
		d, err := l.DeadLetter(d.ID)
		if err != nil || (i == 0) != (string(d.Raw) == `{"data":"no object"}`) || (i == 1) != (d.RawText == "{\x00") || d.RawBytes != nil {
			t.Errorf("letter %d: %+v, %v", i, d, err)
		}
	}

	// Pending again it would wait for ever: no plugin has its category.
	mustAccept(t, l, "tokA", "2", `{}`)
	if err := settleAs(t, l, entry.Settlement{Seq: l.Events(0, 1)[0].Seq, Verdict: entry.Dead, Reason: "rejected", Plugin: "p"}); err != nil {
		t.Fatal(err)
	}
	letters, err = l.Dead("", 10)
	if err != nil || len(letters) != 3 || !letters[0].Unusable || letters[2].Unusable {
		t.Fatalf("letters: %+v, %v", letters, err)
	}
	_, _, err = l.Replay([]string{letters[2].ID, letters[0].ID})
	wantErr(t, err, entry.ErrUnusable)
	if !strings.Contains(err.Error(), letters[0].ID) || !strings.Contains(err.Error(), "data is no object") {
		t.Errorf("replay: %v", err)
	}
	if c := l.Counts(); c.Dead != 3 || c.Events != 0 {
		t.Errorf("after a refused replay: %+v", c)
	}
	if n, gone, err := l.DeleteDead([]string{letters[0].ID, letters[1].ID}); err != nil || n != 2 || len(gone) != 0 {
		t.Error(n, gone, err)
	}
	if _, _, err := l.Replay([]string{letters[2].ID}); err != nil {
		t.Error(err)
	}
	verify(t, l)
}

// TestTooLarge: what no commit can hold is refused, and hurts nothing beside it. // P10
func TestTooLarge(t *testing.T) {
	l := open(t, t.TempDir())
	reached, release := hold(l)
	l.Accept(entry.Inbound{Upstream: upstream("tokX", "0", `{}`)}, nil)
	<-reached
	big := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	var results []chan error
	put := func(want error, f func(done func(error))) {
		c := make(chan error, 1)
		results = append(results, c)
		f(func(err error) {
			if !errors.Is(err, want) {
				t.Errorf("operation %d: %v, should be %v", len(results), err, want)
			}
			c <- nil
		})
	}
	for i := range 5 { // each nearly fills a transaction
		put(nil, func(done func(error)) {
			l.Accept(entry.Inbound{Upstream: upstream("tokA", fmt.Sprint("fits", i), big(1000<<10))}, done)
		})
	}
	var many entry.Changes
	for i := range 1000 {
		many.Sends = append(many.Sends, send(fmt.Sprint("d-", i), big(1000)))
		many.Writes = append(many.Writes, entry.Write{Key: fmt.Sprint("k", i), Value: json.RawMessage(big(500))})
	}
	put(nil, func(done func(error)) { l.Update("p", many, done) })
	many.Sends = nil
	for i := range 1000 {
		many.Sends = append(many.Sends, send(fmt.Sprint("e-", i), big(2000)))
	}
	put(entry.ErrTooLarge, func(done func(error)) { l.Update("p", many, done) })
	put(entry.ErrTooLarge, func(done func(error)) {
		l.Update("p", entry.Changes{Writes: []entry.Write{{Key: strings.Repeat("k", 70_000), Value: json.RawMessage(`1`)}}}, done)
	})
	put(entry.ErrTooLarge, func(done func(error)) { l.SetOwner(strings.Repeat("c", 70_000), "p", done) })
	put(nil, func(done func(error)) { l.Accept(entry.Inbound{Upstream: upstream("tokA", "last", `{}`)}, done) })
	release()
	for _, c := range results {
		<-c
	}
	refused := len(results)
	for _, ev := range l.Events(0, 100) { // each as a dead letter, all in a row
		put(nil, func(done func(error)) {
			l.Settle(entry.Settlement{Seq: ev.Seq, Verdict: entry.Dead, Reason: big(5000)}, done)
		})
	}
	for _, d := range l.Downstreams(0, 10_000) {
		put(nil, func(done func(error)) {
			l.Finish(entry.End{Seq: d.Seq, Status: message.Failed, Description: big(5000)}, done)
		})
	}
	for _, c := range results[refused:] {
		<-c
	}
	letters, err := l.Dead("", 100)
	if err != nil || len(letters) != 7 {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	var ids []string
	for _, d := range letters {
		ids = append(ids, d.ID)
	}
	if n, gone, err := l.Replay(ids); err != nil || n != 7 || len(gone) != 0 {
		t.Fatal(n, gone, err)
	}
	l = reopen(t, l)
	verify(t, l)
	if n := len(l.Events(0, 10_000)); n != 1007 {
		t.Errorf("%d events after the replay", n)
	}
}

// TestIDsGrow: ids grow in ledger order, over restarts and a clock that is set back.
func TestIDsGrow(t *testing.T) {
	w := newMachine()
	l := open(t, t.TempDir(), w.options)
	for i := range 60 {
		mustAccept(t, l, "tokA", fmt.Sprint(i), `{}`)
		switch i {
		case 20:
			w.set(-time.Hour)
		case 40:
			l = reopen(t, l, w.options)
		}
	}
	var ids []string
	for _, ev := range l.Events(0, 100) {
		body, err := l.Body(ev.Seq)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, body.Upstream.ID)
	}
	if len(ids) != 60 || !slices.IsSorted(ids) || len(slices.Compact(ids)) != 60 {
		t.Errorf("ids: %v", ids)
	}
}

// TestClose: what was submitted before is stored, what comes later is refused, callbacks keep their order.
func TestClose(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	reached, release := hold(l)
	got := make(chan error, 10)
	put := func(id string) {
		l.Accept(entry.Inbound{Upstream: upstream("tokA", id, `{}`)}, func(err error) { got <- err })
	}
	put("1")
	<-reached
	put("2")
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	for { // until Close has shut the mailbox
		l.box.mu.Lock()
		closing := l.box.closing
		l.box.mu.Unlock()
		if closing {
			break
		}
		time.Sleep(time.Millisecond)
	}
	put("3")
	release()
	for i, want := range []error{nil, nil, entry.ErrClosed} {
		if err := <-got; !errors.Is(err, want) {
			t.Errorf("callback %d: %v, should be %v", i+1, err, want)
		}
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	put("4")
	wantErr(t, <-got, entry.ErrClosed)
	if _, err := l.Dead("", 1); !errors.Is(err, entry.ErrClosed) {
		t.Errorf("reading a closed ledger: %v", err)
	}
	l = open(t, dir)
	if n := len(l.Events(0, 10)); n != 2 {
		t.Errorf("%d events", n)
	}
}

// TestLightStore: a store for simulations takes a burst that is larger than one of its transactions.
func TestLightStore(t *testing.T) {
	light := func(o *Options) { o.Light = true }
	l := open(t, t.TempDir(), light)
	for i := range 3000 {
		l.Accept(entry.Inbound{Upstream: upstream("tokA", fmt.Sprint(i), `{"a":"b"}`)}, nil)
	}
	mustAccept(t, l, "tokA", "last", `{}`)
	l = reopen(t, l, light)
	if n := len(l.Events(0, 10_000)); n != 3001 {
		t.Errorf("%d events", n)
	}
	verify(t, l)
}

// TestOddNames: ids whose texts are the same are not the same id (P6); bytes
// that are no UTF-8 are kept as they are (P8).
func TestOddNames(t *testing.T) {
	l := open(t, t.TempDir())
	for _, names := range []string{"", "\n42", "", "\n42", "\n42.0"} {
		in := entry.Inbound{Names: names, Upstream: upstream("tokA", "42", `{}`)}
		if err := await(t, func(done func(error)) { l.Accept(in, done) }); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.Events(0, 10)); n != 3 {
		t.Errorf("%d upstreams are stored, want 3", n)
	}
	u := upstream("tokA", "1", "")
	u.Raw = json.RawMessage("\xff\x00<")
	if err := await(t, func(done func(error)) { l.Accept(entry.Inbound{Upstream: u, Unusable: "no XML"}, done) }); err != nil {
		t.Fatal(err)
	}
	letters, err := l.Dead("", 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("%+v, %v", letters, err)
	}
	if d, err := l.DeadLetter(letters[0].ID); err != nil || string(d.RawBytes) != "\xff\x00<" {
		t.Errorf("letter %+v, %v", d, err)
	}
	verify(t, l)
}
