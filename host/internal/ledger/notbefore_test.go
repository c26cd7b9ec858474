package ledger

import (
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// A downstream waits for its NotBefore by the ledger's own clock, and its TTL begins
// then: whatever the wall clock is set to, over a restart, and deep in a backlog. // P4
func TestNotBefore(t *testing.T) {
	for _, step := range settings {
		w := newMachine()
		l := open(t, t.TempDir(), w.options)
		waits, past := send("d-1", `{"a":"b"}`), send("d-2", `{"a":"b"}`)
		waits.Message.NotBefore, waits.Message.Options.TTL = w.now().Add(2*time.Hour).UTC(), message.TTL(time.Minute)
		past.Message.NotBefore, past.Message.Options.TTL = w.now().Add(-2*time.Hour).UTC(), message.TTL(time.Minute)
		if err := updateAs(t, l, "p", entry.Changes{Sends: []entry.Send{waits, past}}); err != nil {
			t.Fatal(err)
		}
		left := 2 * time.Hour
		look := func(what string) entry.Downstream {
			t.Helper()
			all := l.Downstreams(0, 2)
			near(t, what+": it waits on", all[0].Due.Sub(w.now()), left)
			near(t, what+": it lives on", all[0].Expires.Sub(w.now()), left+time.Minute)
			if !all[0].Early || all[1].Early || !all[1].Due.IsZero() {
				t.Errorf("%s: %+v", what, all)
			}
			near(t, what+": it could go", l.DownstreamSince(all[0].Seq).Sub(w.now()), left)
			near(t, what+": the other one could go", l.DownstreamSince(all[1].Seq).Sub(w.now()), left-2*time.Hour)
			m, err := l.Downstream(all[0].Seq)
			if err != nil || !m.NotBefore.Equal(waits.Message.NotBefore) {
				t.Errorf("%s: %+v, %v", what, m, err)
			}
			return all[0]
		}
		look("stored")
		w.lives(time.Hour)
		w.set(step)
		l.watchClock()
		left -= time.Hour
		look("the clock was set")
		l = reopen(t, l, w.options, func(o *Options) { o.Light = true })
		l.sent.limit = 1
		d := look("after a restart")
		if err := await(t, func(done func(error)) {
			l.Postpone(entry.Postponement{Seq: d.Seq, Due: w.now().Add(time.Minute), Attempts: 1, Tried: entry.Attempt{Code: "BUSY"}}, done)
		}); err != nil {
			t.Fatal(err)
		}
		if got := l.Downstreams(0, 1)[0]; got.Early || got.Attempts != 1 {
			t.Errorf("put off: %+v", got)
		}
		verify(t, l)
	}
}

// The same id with another NotBefore or Replace is another message. // P2
func TestNotBeforeIsContent(t *testing.T) {
	l := open(t, t.TempDir())
	at := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
	with := func(notBefore time.Time, replace string) entry.Changes {
		s := send("d-1", `{}`)
		s.Message.NotBefore, s.Message.Replace = notBefore, replace
		return entry.Changes{Sends: []entry.Send{s}}
	}
	for range 2 {
		if err := updateAs(t, l, "p", with(at, "r")); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []entry.Changes{with(at.Add(time.Millisecond), "r"), with(time.Time{}, "r"), with(at, ""), with(at, "s")} {
		wantErr(t, updateAs(t, l, "p", other), entry.ErrExists)
	}
	if n := l.Counts().Sent; n != 1 {
		t.Errorf("%d were sent", n)
	}
}
