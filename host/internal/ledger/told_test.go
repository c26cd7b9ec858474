package ledger

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/sdk/message"
)

// told are the steps that a reader got, in short.
func told(t *testing.T, r *feed.Reader) (all []string) {
	t.Helper()
	steps, skipped := r.Take()
	if skipped > 0 {
		t.Errorf("%d steps were skipped", skipped)
	}
	for _, s := range steps {
		if s.Kind == feed.Downstream && s.ID != "" || s.Kind != feed.Downstream && s.What != feed.Duplicate && s.What != feed.Set && s.What != feed.Canceled && len(s.ID) != 26 {
			t.Errorf("id %q of a %s %s", s.ID, s.Kind, s.What)
		}
		all = append(all, fmt.Sprintf("%s %s %s by %q to %q %s", s.Kind, s.MessageID, s.What, s.Plugin, s.Device, s.Code))
	}
	return all
}

func wantTold(t *testing.T, r *feed.Reader, want ...string) {
	t.Helper()
	if got := told(t, r); !slices.Equal(got, want) {
		t.Errorf("told:\n%q\nwant:\n%q", got, want)
	}
}

// Who watches hears of each step after its commit, in the order in which they happen, and
// before the caller does.
func TestStepsAreTold(t *testing.T) {
	hub := &feed.Hub{}
	l := open(t, t.TempDir(), func(o *Options) { o.Feed = hub })
	mustAccept(t, l, "tokA", "0", `{}`) // nobody watches yet
	ev := lease(t, l, 1)
	if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 1, Verdict: entry.Done, Plugin: "echo"}); err != nil {
		t.Fatal(err)
	}
	r, err := hub.Read(feed.Filter{Bodies: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()

	mustAccept(t, l, "tokA", "1", `{"k":"v"}`)
	mustAccept(t, l, "tokA", "1", `{"k":"v"}`)
	wantTold(t, r, `upstream 1 stored by "" to "tokA" `, `upstream 1 duplicate by "" to "tokA" `)
	bad := upstream("tokA", "2", `{}`)
	if err := await(t, func(done func(error)) { l.Accept(entry.Inbound{Upstream: bad, Unusable: "no data"}, done) }); err != nil {
		t.Fatal(err)
	}
	steps, _ := r.Take()
	if len(steps) != 1 || steps[0].What != feed.Unusable || steps[0].Error != "no data" || steps[0].Body != `{}` {
		t.Errorf("unusable: %+v", steps)
	}
	if _, _, err := l.DeleteDead([]string{steps[0].ID}); err != nil {
		t.Fatal(err)
	}
	wantTold(t, r, `upstream 2 deleted by "" to "tokA" `)

	ev = lease(t, l, 2)
	if err := settleAs(t, l, entry.Settlement{Seq: ev.Seq, Lease: 2, Verdict: entry.Done, Plugin: "echo", Changes: entry.Changes{Sends: []entry.Send{send("d-1", `{"a":"b"}`)}}}); err != nil {
		t.Fatal(err)
	}
	wantTold(t, r, `downstream d-1 stored by "echo" to "tokA" `) // dispatch tells that it was handled
	seq := l.Downstreams(0, 1)[0].Seq
	if err := await(t, func(done func(error)) {
		l.Postpone(entry.Postponement{Seq: seq, Due: time.Now().Add(time.Hour), Attempts: 1, Tried: entry.Attempt{Code: "UNAVAILABLE"}}, done)
	}); err != nil {
		t.Fatal(err)
	}
	if err := await(t, func(done func(error)) {
		l.Finish(entry.End{Seq: seq, Status: message.Failed, Code: "UNREGISTERED", Attempts: 2}, done)
	}); err != nil {
		t.Fatal(err)
	}
	wantTold(t, r, `downstream d-1 postponed by "echo" to "tokA" UNAVAILABLE`, `downstream d-1 failed by "echo" to "tokA" UNREGISTERED`, `outcome d-1 stored by "echo" to "tokA" UNREGISTERED`)
	mustSend(t, l, "echo", replacing("d-2", "r"))
	mustSend(t, l, "echo", replacing("d-3", "r"))
	wantTold(t, r, `downstream d-2 stored by "echo" to "tokA" `, `downstream d-3 stored by "echo" to "tokA" `,
		`downstream d-2 canceled by "echo" to "tokA" `+codeReplaced, `outcome d-2 stored by "echo" to "tokA" `+codeReplaced)
}

// A timer is told when it is set, when its time has come, and when it is canceled.
func TestTimersAreTold(t *testing.T) {
	hub := &feed.Hub{}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, dir, func(o *Options) { o.Feed = hub })
		r, err := hub.Read(feed.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		soon := time.Now().Add(time.Minute)
		mustSchedule(t, l, schedule("a", soon, `{}`), schedule("b", soon, `{}`), entry.Schedule{Key: "b", Cancel: true}, entry.Schedule{Key: "c", Cancel: true})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		var short []string
		steps, _ := r.Take()
		for _, s := range steps {
			short = append(short, fmt.Sprintf("%s %s %s", s.Kind, s.MessageID, s.What))
		}
		if want := []string{"timer a set", "timer b set", "timer b canceled", "timer a fired"}; !slices.Equal(short, want) {
			t.Errorf("told %q, want %q", short, want)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A commit that fails tells nothing. // P1
func TestNothingIsToldOfAFailedCommit(t *testing.T) {
	hub := &feed.Hub{}
	l := open(t, t.TempDir(), func(o *Options) { o.Feed, o.Poison = hub, func(error) {} })
	r, err := hub.Read(feed.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l.append = func(uint64, []byte) error { return fmt.Errorf("no disk") }
	if err := accept(t, l, "tokA", "1", `{}`); err == nil {
		t.Error("accepted without a disk")
	}
	wantTold(t, r)
}
