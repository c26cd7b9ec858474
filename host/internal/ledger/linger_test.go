package ledger

import (
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
)

// TestLinger: an end waits for the next message's commit, but no longer than
// linger, and not at all when no message came lately.
func TestLinger(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		commits := 0
		l := open(t, dir, func(o *Options) {
			o.Light = true
			o.Commit = func(commit func() error) error { commits++; return commit() }
		})
		settled := func() <-chan error {
			c := make(chan error, 1)
			l.Settle(entry.Settlement{Seq: l.Events(0, 1)[0].Seq, Verdict: entry.Done, Plugin: "p"}, func(err error) { c <- err })
			return c
		}
		took := func(c <-chan error) time.Duration {
			start := time.Now()
			if err := <-c; err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		mustAccept(t, l, "tokA", "1", `{}`)
		before := commits
		end := settled()
		time.Sleep(linger / 2)
		mustAccept(t, l, "tokA", "2", `{}`)
		if took(end); commits != before+1 {
			t.Errorf("an end and a message took %d commits", commits-before)
		}
		if d := took(settled()); d != linger {
			t.Errorf("an end that no message followed waited %s", d)
		}
		mustAccept(t, l, "tokA", "3", `{}`)
		time.Sleep(time.Second)
		if d := took(settled()); d != 0 {
			t.Errorf("a lone end waited %s", d)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
