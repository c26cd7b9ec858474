package outbox

import (
	"fmt"
	"testing"
	"time"
)

// What one downstream costs from the ledger to its outcome, without groups and with
// many at once. The cost must not grow with the number of groups.
func BenchmarkGroups(b *testing.B) {
	for _, groups := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprint("groups=", groups), func(b *testing.B) {
			l := newLedger()
			o := New(Options{Ledger: l})
			pending := 2 * max(groups, 1000) // each group has one that waits behind its head
			made := 0
			accept := func() {
				var group uint64
				if groups > 0 {
					group = uint64(made%groups) + 1
				}
				l.accept(fmt.Sprint("device-", made%1000), group, time.Hour)
				made++
			}
			for range pending {
				accept()
			}
			o.load()
			for done := 0; b.Loop(); {
				for _, g := range o.Take("main", 1, 1) {
					o.Answered("main", g.Seq, acked)
					done++
				}
				accept()
				o.load()
				l.ends = l.ends[:0]
				if made-done != pending {
					b.Fatalf("%d are pending, want %d", made-done, pending)
				}
			}
		})
	}
}
