package ledger

import (
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
)

// TestBubble: a ledger works in a synctest bubble, where simulations run, and
// tidies up as its time passes.
func TestBubble(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, dir, func(o *Options) { o.Retention = 10 * time.Minute })
		mustAccept(t, l, "tokA", "1", `{}`)
		if err := settleAs(t, l, entry.Settlement{Seq: l.Events(0, 1)[0].Seq, Verdict: entry.Done, Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Minute)
		verify(t, l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l.tally.finished != 0 {
			t.Error("the summary is still there after the retention time")
		}
	})
}
