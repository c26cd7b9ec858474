package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// TestLease: only who holds an event can settle it, and once. // P5
func TestLease(t *testing.T) {
	l := open(t, t.TempDir())
	mustAccept(t, l, "tokA", "1", `{}`)
	ev := lease(t, l, 5)
	done := entry.Settlement{Seq: ev.Seq, Lease: 4, Verdict: entry.Done, Plugin: "p", Changes: entry.Changes{Sends: []entry.Send{send("d-1", `{}`)}}}
	wantErr(t, settleAs(t, l, done), entry.ErrLease)
	done.Lease = 0
	wantErr(t, settleAs(t, l, done), entry.ErrLease)
	if n := len(l.Downstreams(0, 1)); n != 0 {
		t.Fatal("a settlement without the lease has sent")
	}
	done.Lease = 5
	results := make(chan error, 2) // both likely in one batch
	l.Settle(done, func(err error) { results <- err })
	l.Settle(done, func(err error) { results <- err })
	if err := <-results; err != nil {
		t.Fatal(err)
	}
	wantErr(t, <-results, entry.ErrLease)
	if c := l.Counts(); c.Handled != 1 || c.Sent != 1 {
		t.Errorf("counts: %+v", c)
	}
	wantErr(t, settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 5, Verdict: entry.Retry}), entry.ErrLease)
}

// TestRetryEndsTheLease: after a retry the old holder is nobody, in the same batch too. // P5
func TestRetryEndsTheLease(t *testing.T) {
	l := open(t, t.TempDir())
	mustAccept(t, l, "tokA", "1", `{}`)
	ev := lease(t, l, 5)
	due := time.Now().Add(time.Hour)
	retry := entry.Settlement{Seq: ev.Seq, Lease: 5, Verdict: entry.Retry, Due: due, Reason: "later"}
	results := make(chan error, 2)
	l.Settle(retry, func(err error) { results <- err })
	retry.Lease = 0
	l.Settle(retry, func(err error) { results <- err }) // as the batch leaves it: nobody's, but not before the commit
	if err := <-results; err != nil {
		t.Fatal(err)
	}
	if err := <-results; err != nil && !errors.Is(err, entry.ErrLease) {
		t.Fatal(err)
	}
	l = reopen(t, l)
	if ev := l.Events(0, 1)[0]; ev.Attempts < 1 || ev.Due.Sub(due).Abs() > time.Second {
		t.Errorf("after retry and restart: %+v", ev)
	}
	verify(t, l)
}

// TestConflict: a key that was read and has changed by the commit undoes this
// operation and no other, also when it changed in the same batch. // P7
func TestConflict(t *testing.T) {
	l := open(t, t.TempDir())
	for i := range 4 {
		mustAccept(t, l, "tokA", fmt.Sprint(i), `{}`)
	}
	events := l.Events(0, 10)
	if err := updateAs(t, l, "p", entry.Changes{Writes: []entry.Write{{Key: "k", Value: json.RawMessage(`0`)}}}); err != nil {
		t.Fatal(err)
	}
	_, version, err := l.Get("p", "k")
	if err != nil || version == 0 {
		t.Fatalf("version %d, %v", version, err)
	}
	results := make(chan error, len(events))
	for i, ev := range events { // all read the same version and write: one can win
		l.Settle(entry.Settlement{
			Seq: ev.Seq, Verdict: entry.Done, Plugin: "p",
			Changes: entry.Changes{
				Reads:  []entry.Read{{Key: "k", Version: version}, {Key: "none"}},
				Writes: []entry.Write{{Key: "k", Value: json.RawMessage(fmt.Sprint(i))}},
				Sends:  []entry.Send{send(fmt.Sprint("d-", i), `{}`)},
			},
		}, func(err error) { results <- err })
	}
	for i := range events {
		if err := <-results; i == 0 && err != nil || i > 0 && !errors.Is(err, entry.ErrConflict) {
			t.Errorf("settlement %d: %v", i, err)
		}
	}
	if n := len(l.Downstreams(0, 10)); n != 1 {
		t.Errorf("%d downstreams of one that won", n)
	}
	if n := len(l.Events(0, 10)); n != 3 {
		t.Errorf("%d events left, should be 3", n)
	}
	if v, _, _ := l.Get("p", "k"); string(v) != "0" {
		t.Errorf("value %s", v)
	}
	// A key that was deleted and made again is another version.
	_, version, _ = l.Get("p", "k")
	for _, v := range []json.RawMessage{nil, json.RawMessage(`0`)} {
		if err := updateAs(t, l, "p", entry.Changes{Writes: []entry.Write{{Key: "k", Value: v}}}); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, updateAs(t, l, "p", entry.Changes{Reads: []entry.Read{{Key: "k", Version: version}}}), entry.ErrConflict)
	if _, v, err := l.Get("other", "k"); v != 0 || err != nil {
		t.Errorf("another plugin's key: version %d, %v", v, err)
	}
	verify(t, l)
}

// TestErrorsAreChecked: an error and a rejection stand only if what they came of
// is still true; all keys that have changed are named. // P7
func TestErrorsAreChecked(t *testing.T) {
	for _, verdict := range []entry.Verdict{entry.Retry, entry.Dead} {
		l := open(t, t.TempDir())
		put := func(key string) {
			t.Helper()
			if err := updateAs(t, l, "p", entry.Changes{Writes: []entry.Write{{Key: key, Value: json.RawMessage(`1`)}}}); err != nil {
				t.Fatal(err)
			}
		}
		read := func() (all []entry.Read) {
			for _, key := range []string{"x", "y", "z"} {
				_, version, err := l.Get("p", key)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, entry.Read{Key: key, Version: version})
			}
			return all
		}
		put("x")
		mustAccept(t, l, "tokA", "1", `{}`)
		s := entry.Settlement{Seq: lease(t, l, 5).Seq, Lease: 5, Verdict: verdict, Plugin: "p", Reason: "torn", Changes: entry.Changes{Reads: read()}}
		put("x")
		put("z")
		err := settleAs(t, l, s)
		if c, ok := errors.AsType[*entry.Conflict](err); !ok || !slices.Equal(c.Keys, []string{"x", "z"}) || !errors.Is(err, entry.ErrConflict) {
			t.Errorf("verdict %d on what was: %v", verdict, err)
		}
		if ev := l.Events(0, 10); len(ev) != 1 || ev[0].Attempts != 0 || l.Counts().Dead != 0 {
			t.Fatalf("verdict %d on what was: %+v", verdict, ev)
		}
		s.Changes.Reads = read()
		if err := settleAs(t, l, s); err != nil {
			t.Errorf("verdict %d on what is: %v", verdict, err)
		}
		if ev := l.Events(0, 10); verdict == entry.Retry && (len(ev) != 1 || ev[0].Attempts != 1) || verdict == entry.Dead && l.Counts().Dead != 1 {
			t.Errorf("verdict %d on what is: %+v", verdict, ev)
		}
		verify(t, l)
	}
}

// TestWhatTheSDKTakesFits: whatever is within the limits of package message can
// be committed; nothing passes there and is refused here. // P8
func TestWhatTheSDKTakesFits(t *testing.T) {
	plugin := strings.Repeat("p", 200)
	check := func(name string, w *wire.Changes) {
		t.Run(name, func(t *testing.T) {
			if err := w.Check(); err != nil {
				t.Fatalf("the SDK: %v", err)
			}
			var c entry.Changes
			for _, m := range w.Write {
				c.Writes = append(c.Writes, entry.Write{Key: m.Key, Value: m.Value})
			}
			for _, m := range w.Read {
				c.Reads = append(c.Reads, entry.Read{Key: m.Key})
			}
			for _, m := range w.Send {
				d, err := wire.DownstreamFromProto(m).Checked()
				if err != nil {
					t.Fatal(err)
				}
				c.Sends = append(c.Sends, entry.Send{Message: d, Tell: true})
			}
			if err := updateAs(t, open(t, t.TempDir()), plugin, c); err != nil {
				t.Errorf("the ledger: %v", err)
			}
		})
	}
	text := func(n int) string { return strings.Repeat("x", n) }
	check("largest value", &wire.Changes{Write: []*wire.Write{{Key: text(message.MaxKey), Value: []byte(`"` + text(message.MaxValue-2) + `"`)}}})
	var c wire.Changes
	for i := range message.MaxChanges / 2 {
		key := fmt.Sprintf("%03d%s", i, text(message.MaxKey-3))
		c.Read, c.Write = append(c.Read, &wire.Read{Key: key}), append(c.Write, &wire.Write{Key: key, Value: []byte(text(1000))})
	}
	check("many keys", &c)
	for _, token := range []int{4096, 900, 500} {
		var c wire.Changes
		for c.Size() < message.MaxChangeBytes && len(c.Send) <= message.MaxChanges {
			c.Send = append(c.Send, &wire.Downstream{
				MessageId: fmt.Sprint(len(c.Send)), Session: "1", Data: []byte(`{"k":"v"}`), Group: text(message.MaxID),
				To: &wire.Target{To: &wire.Target_Token{Token: text(token)}},
			})
		}
		c.Send = c.Send[:len(c.Send)-1]
		check(fmt.Sprint("downstreams to tokens of ", token), &c)
	}
	if err := updateAs(t, open(t, t.TempDir()), plugin, entry.Changes{Writes: []entry.Write{{Key: "k", Value: []byte(text(message.MaxValue + 1))}}}); !errors.Is(err, entry.ErrTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
}

// TestMessageIDs: the same message is sent once, another with its id is refused. // P2 P7
func TestMessageIDs(t *testing.T) {
	w := newMachine()
	l := open(t, t.TempDir(), w.options)
	update := func(plugin string, sends ...entry.Send) error {
		t.Helper()
		return updateAs(t, l, plugin, entry.Changes{Sends: sends})
	}
	one := send("d-1", `{"a":"1"}`)
	if err := update("p", one); err != nil {
		t.Fatal(err)
	}
	if err := update("p", one, one); err != nil {
		t.Errorf("the same again: %v", err)
	}
	wantErr(t, update("p", send("d-1", `{"a":"2"}`)), entry.ErrExists)
	wantErr(t, update("q", one), entry.ErrExists)
	wantErr(t, update("p", send("d-2", `{}`), send("d-3", `{}`), send("d-2", `{"x":"y"}`)), entry.ErrExists)
	if n := len(l.Downstreams(0, 10)); n != 1 {
		t.Fatalf("%d downstreams", n)
	}
	other := one
	other.Message.Session = "second"
	if err := update("q", other); err != nil {
		t.Errorf("the same id in another session: %v", err)
	}
	if err := update("p", entry.Send{Message: message.Checked{Session: "main", Data: json.RawMessage(`{}`)}}); err == nil {
		t.Error("a message without an id was taken")
	}
	for _, d := range l.Downstreams(0, 10) {
		if err := await(t, func(done func(error)) { l.Finish(entry.End{Seq: d.Seq, Status: message.Acked}, done) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := update("p", one); err != nil || len(l.Downstreams(0, 10)) != 0 {
		t.Errorf("the same again after its end: %v, %d pending", err, len(l.Downstreams(0, 10)))
	}
	wantErr(t, update("p", send("d-1", `{"a":"2"}`)), entry.ErrExists)
	// The id is known as long as the outcome's summary, and no longer.
	w.lives(25 * time.Hour)
	if err := l.purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	verify(t, l)
	if err := update("q", send("d-1", `{"a":"2"}`)); err != nil {
		t.Errorf("id after the retention time: %v", err)
	}
}

// TestOutcomeWithoutTell: the outcome is recorded, and no event. // P4
func TestOutcomeWithoutTell(t *testing.T) {
	l := open(t, t.TempDir())
	quiet := send("d-1", `{}`)
	quiet.Tell = false
	api := send("d-2", `{}`)
	if err := errors.Join(updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{quiet}}), updateAs(t, l, "", entry.Changes{Sends: []entry.Send{api}})); err != nil {
		t.Fatal(err)
	}
	for _, d := range l.Downstreams(0, 10) {
		if err := await(t, func(done func(error)) { l.Finish(entry.End{Seq: d.Seq, Status: message.Expired}, done) }); err != nil {
			t.Fatal(err)
		}
	}
	if n, c := len(l.Events(0, 10)), l.Counts(); n != 0 || c.Expired != 2 || c.Downstreams != 0 {
		t.Errorf("%d events, %+v", n, c)
	}
	if err := updateAs(t, l, "", entry.Changes{Writes: []entry.Write{{Key: "k", Value: json.RawMessage(`1`)}}}); err == nil {
		t.Error("the API has written state")
	}
}

// TestTTL: a downstream expires when its TTL has passed, 0 at once, without one after four weeks. // P4
func TestTTL(t *testing.T) {
	w := newMachine()
	l := open(t, t.TempDir(), w.options)
	short, zero := send("a", `{}`), send("b", `{}`)
	short.Message.Options.TTL, zero.Message.Options.TTL = message.TTL(time.Minute), message.TTL(0)
	if err := updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{short, zero, send("c", `{}`)}}); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, l, w.options)
	for i, want := range []time.Duration{time.Minute, 0, 28 * 24 * time.Hour} {
		if d := l.Downstreams(0, 10)[i]; d.Expires.Sub(w.now().Add(want)).Abs() > time.Second {
			t.Errorf("%s expires %s after it was accepted, should be %s", d.MessageID, d.Expires.Sub(w.now()), want)
		}
	}
	if m, err := l.Downstream(l.Downstreams(0, 10)[1].Seq); err != nil || m.Options.TTL == nil || *m.Options.TTL != 0 {
		t.Errorf("TTL 0 came back as %v, %v", m.Options.TTL, err)
	}
}

// TestDeadByTwo: two who replay and delete everything at once share it, and neither is stopped. // P8
func TestDeadByTwo(t *testing.T) {
	l := open(t, t.TempDir())
	const n = 3000
	for i := range n {
		mustAccept(t, l, "tokA", fmt.Sprint(i), `{}`)
	}
	for _, ev := range l.Events(0, n) {
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Verdict: entry.Dead, Reason: "odd", Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	letters, err := l.Dead("", n)
	if err != nil || len(letters) != n {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	var ids []string
	for _, d := range letters {
		ids = append(ids, d.ID)
	}
	var g errgroup.Group
	var done, gone [3]int
	for i, do := range []func([]string) (int, []string, error){l.Replay, l.DeleteDead, l.Replay} {
		g.Go(func() error {
			did, missing, err := do(ids)
			done[i], gone[i] = did, len(missing)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range done {
		if done[i]+gone[i] != n {
			t.Errorf("%d: %d done, %d gone", i, done[i], gone[i])
		}
	}
	if c := l.Counts(); done[0]+done[1]+done[2] != n || c.Dead != 0 || c.Events != done[0]+done[2] {
		t.Errorf("done %v, %+v", done, c)
	}
	verify(t, l)
}

// TestDeadAndReplay: dead letters stay until they are replayed in their old order, or deleted. // P5 P8
func TestDeadAndReplay(t *testing.T) {
	l := open(t, t.TempDir())
	var ids []string
	for i := range 5 {
		mustAccept(t, l, "tokA", fmt.Sprint(i), fmt.Sprintf(`{"n":%d}`, i))
	}
	for _, ev := range l.Events(0, 10) {
		body, err := l.Body(ev.Seq)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, body.Upstream.ID)
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Verdict: entry.Retry}); err != nil {
			t.Fatal(err)
		}
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Verdict: entry.Dead, Reason: "it is odd", Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	l = reopen(t, l)
	first, err := l.Dead("", 2)
	if err != nil || len(first) != 2 || first[0].ID != ids[0] || first[0].Reason != "it is odd" || first[0].Attempts != 2 || first[0].Plugin != "p" {
		t.Fatalf("dead: %+v, %v", first, err)
	}
	rest, err := l.Dead(first[1].ID, 100)
	if err != nil || len(rest) != 3 || rest[0].ID != ids[2] {
		t.Fatalf("more dead: %+v, %v", rest, err)
	}
	_, _, err = l.Replay([]string{ids[0], "nonsense"})
	wantErr(t, err, entry.ErrUnknown)
	if c := l.Counts(); c.Dead != 5 || c.Events != 0 {
		t.Fatalf("after refused replays: %+v", c)
	}
	never := "01J00000000000000000000000"
	for _, tc := range []struct {
		do   func([]string) (int, []string, error)
		ids  []string
		done int
		gone []string
	}{
		{l.Replay, []string{ids[3], never, ids[1], ids[2], ids[1], never}, 3, []string{never}},
		{l.Replay, []string{ids[1]}, 0, []string{ids[1]}}, // the order again, whose answer was lost
		{l.DeleteDead, []string{ids[1], ids[4]}, 1, []string{ids[1]}},
		{l.DeleteDead, []string{ids[4]}, 0, []string{ids[4]}},
	} {
		if n, gone, err := tc.do(tc.ids); err != nil || n != tc.done || !slices.Equal(gone, tc.gone) {
			t.Fatalf("%v: %d, gone %v, %v", tc.ids, n, gone, err)
		}
	}
	verify(t, l)
	l = reopen(t, l)
	var got []string
	for _, ev := range l.Events(0, 10) {
		body, err := l.Body(ev.Seq)
		if err != nil || ev.Attempts != 0 || !ev.Due.IsZero() || body.Upstream.Attempt != 1 {
			t.Fatalf("replayed: %+v, %v", ev, err)
		}
		got = append(got, body.Upstream.ID)
		if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Verdict: entry.Done, Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Join(got, " ") != strings.Join(ids[1:4], " ") {
		t.Errorf("replayed %v, should be %v", got, ids[1:4])
	}
	left, err := l.Dead("", 10)
	if err != nil || len(left) != 1 || left[0].ID != ids[0] {
		t.Errorf("left: %+v, %v", left, err)
	}
	verify(t, l)
}

// TestOwners: the owner of a category outlives a restart.
func TestOwners(t *testing.T) {
	l := open(t, t.TempDir())
	set := func(plugin string) {
		t.Helper()
		if err := await(t, func(done func(error)) { l.SetOwner("com.example.app", plugin, done) }); err != nil {
			t.Fatal(err)
		}
		if l = reopen(t, l); l.Owner("com.example.app") != plugin {
			t.Errorf("owner is %q, should be %q", l.Owner("com.example.app"), plugin)
		}
	}
	set("a")
	set("b")
	set("")
}
