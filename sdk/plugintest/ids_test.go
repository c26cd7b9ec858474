package plugintest

import (
	"slices"
	"sync"
	"testing"
)

// Many who give events at the same time each see ids that grow.
func TestIDsGrow(t *testing.T) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			var mine []string
			for range 2000 {
				mine = append(mine, ids.next())
			}
			if !slices.IsSorted(mine) || len(slices.Compact(mine)) != 2000 {
				t.Error("ids fall, or come twice")
			}
		})
	}
	all.Wait()
}
