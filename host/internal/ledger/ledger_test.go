package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

func TestMain(m *testing.M) {
	if crashChild() || eraseChild() {
		return
	}
	flag.Set("rapid.nofailfile", "true") //nolint:errcheck // the seed that it prints is enough
	flag.Set("rapid.checks", "30")       //nolint:errcheck // each opens ledgers on the disk
	goleak.VerifyTestMain(m)
}

// plenty is a disk without limits, so that tests do not depend on the machine's.
func plenty(string) (Space, error) { return Space{Bytes: 1 << 50, Inodes: 1 << 40}, nil }

// open opens a ledger for a test, which a poisoned commit fails.
func open(t testing.TB, dir string, change ...func(*Options)) *Ledger {
	t.Helper()
	o := Options{Dir: dir, Statfs: plenty, Poison: func(err error) { t.Errorf("poisoned: %v", err) }}
	for _, f := range change {
		f(&o)
	}
	l, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() }) //nolint:errcheck // tests that care close themselves
	for o := (&askFilter{}); !o.learned && l.wait(o) == nil; time.Sleep(time.Millisecond) {
		// It is an operation that comes when it likes: tests look at the committer's own without a lock.
	}
	return l
}

// askFilter is whether the filter has what was stored before the start.
type askFilter struct{ learned bool }

func (o *askFilter) weigh() (bytes, records int) { return 0, 0 }

func (o *askFilter) apply(b *batch) error {
	o.learned = b.l.dedup.most == maxGenerations
	return nil
}

func reopen(t testing.TB, l *Ledger, change ...func(*Options)) *Ledger {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, l.o.Dir, change...)
}

// await calls an asynchronous method and returns what its callback was told.
func await(t testing.TB, f func(done func(error))) error {
	t.Helper()
	c := make(chan error, 1)
	f(func(err error) { c <- err })
	select {
	case err := <-c:
		return err
	case <-time.After(time.Minute):
		t.Fatal("no callback within a minute")
		return nil
	}
}

// upstream makes a message of a device; the payload holds its parts, as CCS's do.
func upstream(from, id, data string) *message.Upstream {
	raw := fmt.Sprintf(`{"category":"com.example.app","data":%s,"time_to_live":86400,"message_id":%q,"from":%q}`, data, id, from)
	return &message.Upstream{
		Session: "main", From: from, Category: "com.example.app", MessageID: id,
		Data: json.RawMessage(data), Raw: json.RawMessage(raw),
	}
}

func accept(t testing.TB, l *Ledger, from, id, data string) error {
	t.Helper()
	return await(t, func(done func(error)) { l.Accept(entry.Inbound{Upstream: upstream(from, id, data)}, done) })
}

func mustAccept(t testing.TB, l *Ledger, from, id, data string) {
	t.Helper()
	if err := accept(t, l, from, id, data); err != nil {
		t.Fatalf("accept %s/%s: %v", from, id, err)
	}
}

func settleAs(t testing.TB, l *Ledger, s entry.Settlement) error {
	t.Helper()
	return await(t, func(done func(error)) { l.Settle(s, done) })
}

func updateAs(t testing.TB, l *Ledger, plugin string, c entry.Changes) error {
	t.Helper()
	return await(t, func(done func(error)) { l.Update(plugin, c, done) })
}

// lease leases the first pending event.
func lease(t testing.TB, l *Ledger, n uint64) entry.Event {
	t.Helper()
	events := l.Events(0, 1)
	if len(events) == 0 {
		t.Fatal("no event is pending")
	}
	l.Lease(events[0].Seq, n)
	return events[0]
}

func send(id, data string) entry.Send {
	return entry.Send{Tell: true, Message: message.Checked{
		To: message.Token("tokA"), Data: json.RawMessage(data), MessageID: id, Session: "main", Group: "room", Context: json.RawMessage(`{"c":1}`),
	}}
}

func verify(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	if a := l.Alarms(); len(a) > 0 {
		t.Errorf("alarms: %s", strings.Join(a, "; "))
	}
}

func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error is %v, should be %v", got, want)
	}
}

// TestMessageLife follows one message of each kind through the ledger and a restart. // P0 P2 P4 P7
func TestMessageLife(t *testing.T) {
	l := open(t, t.TempDir())
	more := l.EventsChanged()
	mustAccept(t, l, "tokA", "1", `{"k":"v"}`)
	<-more
	l = reopen(t, l)
	ev := lease(t, l, 7)
	body, err := l.Body(ev.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if u := body.Upstream; u == nil || u.From != "tokA" || u.MessageID != "1" || string(u.Data) != `{"k":"v"}` ||
		u.Category != "com.example.app" || u.Attempt != 1 || len(u.ID) != 26 || u.Received.IsZero() {
		t.Fatalf("body after restart: %+v", u)
	}
	sent := l.DownstreamsChanged()
	err = settleAs(t, l, entry.Settlement{
		Seq: ev.Seq, Lease: 7, Verdict: entry.Done, Plugin: "echo",
		Changes: entry.Changes{Sends: []entry.Send{send("d-1", `{"a":"b"}`)}, Writes: []entry.Write{{Key: "n", Value: json.RawMessage(`1`)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-sent
	l = reopen(t, l)
	if n := len(l.Events(0, 10)); n != 0 {
		t.Fatalf("%d events pending after the end", n)
	}
	if v, version, err := l.Get("echo", "n"); err != nil || string(v) != "1" || version == 0 {
		t.Fatalf("state: %s, version %d, %v", v, version, err)
	}
	downs := l.Downstreams(0, 10)
	if len(downs) != 1 || downs[0].MessageID != "d-1" || downs[0].Owner != "echo" || downs[0].Group == 0 {
		t.Fatalf("downstreams: %+v", downs)
	}
	m, err := l.Downstream(downs[0].Seq)
	if err != nil || string(m.Data) != `{"a":"b"}` || m.To.Token != "tokA" {
		t.Fatalf("downstream: %+v, %v", m, err)
	}
	due := time.Now().Add(time.Hour)
	if err := await(t, func(done func(error)) {
		l.Postpone(entry.Postponement{Seq: downs[0].Seq, Due: due, Attempts: 3, Tried: entry.Attempt{Code: "SERVICE_UNAVAILABLE"}}, done)
	}); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, l)
	if d := l.Downstreams(0, 10)[0]; d.Attempts != 3 || d.Due.Sub(due).Abs() > time.Second {
		t.Fatalf("postponed: %+v", d)
	}
	end := entry.End{Seq: downs[0].Seq, Status: message.Failed, Code: "BAD_REGISTRATION", Description: "no such", NewToken: "tokB", Attempts: 4}
	if err := await(t, func(done func(error)) { l.Finish(end, done) }); err != nil {
		t.Fatal(err)
	}
	wantErr(t, await(t, func(done func(error)) { l.Finish(end, done) }), entry.ErrUnknown)
	verify(t, l)
	l = reopen(t, l)
	ev = lease(t, l, 1)
	body, err = l.Body(ev.Seq)
	if err != nil || ev.Kind != entry.Outcome || ev.Plugin != "echo" || ev.Group != downs[0].Group {
		t.Fatalf("outcome event: %+v, %v", ev, err)
	}
	if o := body.Outcome; o.MessageID != "d-1" || o.Status != message.Failed || o.Code != "BAD_REGISTRATION" || o.Description != "no such" ||
		o.NewToken != "tokB" || o.Attempts != 4 || o.Attempt != 1 || string(o.Context) != `{"c":1}` || o.To.Token != "tokA" || o.Group != "room" {
		t.Fatalf("outcome: %+v", o)
	}
	if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 1, Verdict: entry.Done, Plugin: "echo"}); err != nil {
		t.Fatal(err)
	}
	verify(t, l)
	if c := l.Counts(); c.Accepted != 1 || c.Handled != 2 || c.Sent != 1 || c.Failed != 1 || c.Events != 0 || c.Downstreams != 0 {
		t.Fatalf("counts: %+v", c)
	}
}
