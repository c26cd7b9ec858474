package ledger

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

func cancelAs(t testing.TB, l *Ledger, plugin string, ids ...string) int {
	t.Helper()
	var which []entry.Cancel
	for _, id := range ids {
		which = append(which, entry.Cancel{Session: "main", MessageID: id})
	}
	did := 0
	if err := await(t, func(done func(error)) { l.Cancel(plugin, which, func(n int, err error) { did = n; done(err) }) }); err != nil {
		t.Fatal(err)
	}
	return did
}

func mustSend(t testing.TB, l *Ledger, plugin string, sends ...entry.Send) {
	t.Helper()
	if err := updateAs(t, l, plugin, entry.Changes{Sends: sends}); err != nil {
		t.Fatal(err)
	}
}

// outcomes are those that wait to be told, as "id status code", in order.
func outcomes(t testing.TB, l *Ledger) (all []string) {
	t.Helper()
	for _, ev := range l.Events(0, 1000) {
		body, err := l.Body(ev.Seq)
		if err != nil {
			t.Fatal(err)
		}
		o := body.Outcome
		all = append(all, fmt.Sprintf("%s %s %s %s", o.MessageID, o.Status, o.Code, o.Context))
	}
	return all
}

func replacing(id, replace string) entry.Send {
	s := send(id, `{"a":"b"}`)
	s.Message.Replace, s.Message.Group = replace, ""
	return s
}

// A downstream is canceled by its plugin or the API, once, while it has not gone out. Its
// outcome is told as any other. // P4
func TestCancel(t *testing.T) {
	l := open(t, t.TempDir())
	mustSend(t, l, "p", send("d-1", `{}`), send("d-2", `{}`), send("d-3", `{}`), send("d-4", `{}`))
	downs := l.Downstreams(0, 10)
	if _, err := l.Take(downs[1].Seq); err != nil {
		t.Fatal(err)
	}
	if n := cancelAs(t, l, "q", "d-1", "d-2", "d-3", "d-4"); n != 0 {
		t.Errorf("%d are canceled by another plugin", n)
	}
	if n := cancelAs(t, l, "p", "d-1", "d-1", "d-2", "no such"); n != 1 {
		t.Errorf("%d are canceled", n)
	}
	if n := cancelAs(t, l, "", "d-3", "d-2", "d-1"); n != 1 {
		t.Errorf("%d are canceled by the API", n)
	}
	mustAccept(t, l, "tokA", "1", `{}`)
	ev := l.Events(0, 10)[2]
	l.Lease(ev.Seq, 1)
	err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 1, Plugin: "p", Verdict: entry.Done, Changes: entry.Changes{
		Sends: []entry.Send{send("d-5", `{}`), send("d-6", `{}`)}, Cancels: []entry.Cancel{{Session: "main", MessageID: "d-5"}, {Session: "main", MessageID: "d-4"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`d-1 canceled CANCELED {"c":1}`, `d-3 canceled CANCELED {"c":1}`, `d-5 canceled CANCELED {"c":1}`, `d-4 canceled CANCELED {"c":1}`}
	if got := outcomes(t, l); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("outcomes %q", got)
	}
	if c := l.Counts(); c.Canceled != 4 || c.Downstreams != 2 {
		t.Errorf("%+v", c)
	}
	if n := len(l.Canceled()); n != 4 || l.Canceled() != nil {
		t.Errorf("the outbox hears of %d", n)
	}
	for _, seq := range []uint64{downs[0].Seq, downs[2].Seq} {
		_, err := l.Take(seq)
		wantErr(t, err, entry.ErrUnknown)
	}
	if len(l.claims.by) != 1 {
		t.Errorf("claims are left: %v", l.claims.by)
	}
	verify(t, l)
	l = reopen(t, l)
	if c := l.Counts(); c.Canceled != 4 {
		t.Errorf("after a restart: %+v", c)
	}
	verify(t, l)
}

// While a cancel is on its way to the disk, nobody takes the downstream; and one that was
// taken before stays. // P4
func TestTakeOrCancel(t *testing.T) {
	g := &gatekeeper{}
	g.l = open(t, t.TempDir(), g.options)
	mustSend(t, g.l, "p", send("d-1", `{}`), send("d-2", `{}`))
	downs := g.l.Downstreams(0, 10)
	if _, err := g.l.Take(downs[0].Seq); err != nil {
		t.Fatal(err)
	}
	o := &cancel{plugin: "p", which: []entry.Cancel{{Session: "main", MessageID: "d-1"}, {Session: "main", MessageID: "d-2"}}, l: g.l}
	told := make(chan int, 1)
	g.l.put(&doOp{func(b *batch) { g.armed = true; b.fail(o.apply(b)) }}, func(error) { told <- o.did })
	<-g.entered
	if _, err := g.l.Take(downs[0].Seq); err != nil {
		t.Errorf("what has gone out: %v", err)
	}
	_, err := g.l.Take(downs[1].Seq)
	wantErr(t, err, entry.ErrCanceled)
	if n := len(g.l.Downstreams(0, 10)); n != 2 {
		t.Errorf("%d are pending before the commit", n)
	}
	g.open()
	if n := <-told; n != 1 {
		t.Errorf("%d are canceled", n)
	}
	_, err = g.l.Take(downs[1].Seq)
	wantErr(t, err, entry.ErrUnknown)
	verify(t, g.l)
}

// Many take and cancel at the same time: of each downstream exactly one happens. // P4
func TestTakeAgainstCancel(t *testing.T) {
	l := open(t, t.TempDir())
	const n = 200
	for i := range n {
		mustSend(t, l, "p", replacing(fmt.Sprint("d-", i), fmt.Sprint(i)))
	}
	taken := map[uint64]bool{}
	canceled := make([]int, n)
	var all sync.WaitGroup
	all.Add(n)
	for i := range n {
		l.Cancel("p", []entry.Cancel{{Session: "main", MessageID: fmt.Sprint("d-", i)}}, func(did int, _ error) { canceled[i] = did; all.Done() })
	}
	downs := l.Downstreams(0, n)
	for i := range downs {
		if _, err := l.Take(downs[len(downs)-1-i].Seq); err == nil {
			taken[downs[len(downs)-1-i].Seq] = true
		}
	}
	all.Wait()
	sum := 0
	for _, did := range canceled {
		sum += did
	}
	left := l.Downstreams(0, n)
	for _, d := range left {
		if !taken[d.Seq] {
			t.Errorf("%s is neither taken nor canceled", d.MessageID)
		}
	}
	if sum+len(taken) != n || len(left) != len(taken) || int(l.Counts().Canceled) != sum {
		t.Errorf("%d are canceled, %d taken, %d pending", sum, len(taken), len(left))
	}
	verify(t, l)
}

// A newer one with the same owner, session, target and Replace ends the older one, if that
// has not gone out; also within one commit, and over restarts. // P4
func TestReplace(t *testing.T) {
	g := &gatekeeper{}
	g.l = open(t, t.TempDir(), g.options)
	l := g.l
	other := replacing("other", "k")
	other.Message.To = message.FID("tokA") // another target
	mustSend(t, l, "p", replacing("a", "k"), other)
	mustSend(t, l, "q", replacing("b", "k")) // another owner
	mustSend(t, l, "p", replacing("c", "l")) // another key
	if n := l.Counts().Downstreams; n != 4 {
		t.Fatalf("%d are pending", n)
	}
	mustSend(t, l, "p", replacing("d", "k"), replacing("e", "k")) // in one change
	g.must(t,                                                     // in one batch
		&update{plugin: "p", changes: entry.Changes{Sends: []entry.Send{replacing("f", "k")}}, l: l},
		&update{plugin: "p", changes: entry.Changes{Sends: []entry.Send{replacing("g", "k")}}, l: l},
		&update{plugin: "p", changes: entry.Changes{Sends: []entry.Send{replacing("f", "k")}}, l: l}, // again: the same message
		&cancel{plugin: "p", which: []entry.Cancel{{Session: "main", MessageID: "g"}}, l: l},
		&update{plugin: "p", changes: entry.Changes{Sends: []entry.Send{replacing("h", "k")}}, l: l},
	)
	var want []string
	for _, id := range []string{"a", "d", "e", "f"} {
		want = append(want, id+` canceled REPLACED {"c":1}`)
	}
	want = append(want, `g canceled CANCELED {"c":1}`)
	if got := outcomes(t, l); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("outcomes %q", got)
	}
	verify(t, l)

	last := l.Downstreams(0, 10)[3]
	if _, err := l.Take(last.Seq); err != nil || last.MessageID != "h" {
		t.Fatalf("%+v: %v", last, err)
	}
	mustSend(t, l, "p", replacing("i", "k")) // both go
	if n := l.Counts().Downstreams; n != 5 {
		t.Errorf("%d are pending", n)
	}
	if err := await(t, func(done func(error)) { l.Finish(entry.End{Seq: last.Seq, Status: message.Acked}, done) }); err != nil {
		t.Fatal(err)
	}
	mustSend(t, l, "p", replacing("j", "k"))
	if got := outcomes(t, l); got[len(got)-1] != `i canceled REPLACED {"c":1}` {
		t.Errorf("outcomes %q", got)
	}
	verify(t, l)
	if n := l.tally.replaces; n != 4 {
		t.Errorf("%d records of Replace", n)
	}
	for _, d := range l.Downstreams(0, 10) {
		if err := await(t, func(done func(error)) { l.Finish(entry.End{Seq: d.Seq, Status: message.Acked}, done) }); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.tally.replaces; n != 0 {
		t.Errorf("P0: %d records are left", n)
	}
	verify(t, l)
}

// After a start only what surely has not gone out is canceled or replaced: what was
// accepted since, and what had a NotBefore ahead. // P4
func TestCancelAfterRestart(t *testing.T) {
	w := newMachine()
	l := open(t, t.TempDir(), w.options)
	waits, due := replacing("waits", "w"), replacing("due", "d")
	waits.Message.NotBefore, due.Message.NotBefore = w.now().Add(2*time.Hour), w.now().Add(time.Minute)
	mustSend(t, l, "p", replacing("now", "n"), waits, due)
	w.lives(time.Hour)
	l = reopen(t, l, w.options)
	mustSend(t, l, "p", replacing("new", "n"), replacing("new-d", "d"))
	if n := len(outcomes(t, l)); n != 0 {
		t.Errorf("%d may have gone out, and are replaced", n)
	}
	if n := cancelAs(t, l, "p", "now", "due", "waits", "new"); n != 2 {
		t.Errorf("%d are canceled", n)
	}
	verify(t, l)
}

// Verify finds a record of Replace that leads to nothing, and one that is missing.
func TestVerifyFindsReplace(t *testing.T) {
	l := open(t, t.TempDir())
	mustSend(t, l, "p", replacing("a", "k"), replacing("b", "l"))
	key := appendHashKey(nil, kindReplace, sumReplace("p", &message.Checked{Session: "main", To: message.Token("tokA"), Replace: "k"}))
	for _, broken := range []func(b *batch){
		func(b *batch) { b.del(key, 0) },
		func(b *batch) { from := b.mark(); b.arena = appendReplace(b.arena, 99); b.set(key, from) },
	} {
		if err := l.wait(&doOp{broken}); err != nil {
			t.Fatal(err)
		}
		if err := l.Verify(t.Context()); err == nil {
			t.Error("nothing is found")
		}
	}
}

// doOp is an operation of a test.
type doOp struct{ do func(b *batch) }

func (o *doOp) weigh() (bytes, records int) { return recordExtra, 1 }

func (o *doOp) apply(b *batch) error { o.do(b); return nil }
