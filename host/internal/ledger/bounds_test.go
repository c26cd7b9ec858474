package ledger

import (
	"fmt"
	"testing"

	"balhost/host/internal/entry"
)

// TestManyReads: an operation has up to 1,000 reads; they count in its weight.
func TestManyReads(t *testing.T) {
	l := open(t, t.TempDir())
	var c entry.Changes
	for i := range maxReads {
		c.Reads = append(c.Reads, entry.Read{Key: fmt.Sprint(i)})
	}
	if err := updateAs(t, l, "p", c); err != nil {
		t.Fatal(err)
	}
	if _, records := weighChanges("p", c); records != maxReads {
		t.Errorf("%d reads weigh %d records", maxReads, records)
	}
	c.Reads = append(c.Reads, entry.Read{Key: "one more"})
	wantErr(t, updateAs(t, l, "p", c), entry.ErrTooLarge)
	mustAccept(t, l, "tokA", "1", `{}`)
	ev := lease(t, l, 5)
	s := entry.Settlement{Seq: ev.Seq, Lease: 5, Verdict: entry.Done, Plugin: "p", Changes: c}
	wantErr(t, settleAs(t, l, s), entry.ErrTooLarge)
}
