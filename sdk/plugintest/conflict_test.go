package plugintest

import (
	"context"
	"errors"
	"testing"

	"balhost/sdk"
)

// TestBeforeCommit: what comes between a handler and its commit makes it run again if it had
// read or listed that, whatever it returned; and only once.
func TestBeforeCommit(t *testing.T) {
	for name, tt := range map[string]struct {
		meddle func(h *Host)
		runs   int
	}{
		"read":          {func(h *Host) { h.SetState("n", 1) }, 2},
		"listed":        {func(h *Host) { h.SetState("order/2", 1) }, 2},
		"another event": {func(h *Host) { h.Upstream(sdk.Upstream{From: "another"}) }, 2},
		"beside":        {func(h *Host) { h.SetState("other", 1) }, 1},
	} {
		for _, fails := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				h := New(t, sdk.Plugin{
					Name: "shop", Version: "1", Categories: []string{"app"},
					Upstream: func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
						n := 0
						_, err := tx.Get(ctx, "n", &n)
						orders, _, listErr := tx.List(ctx, "order/", "", 0)
						if n+len(orders) == 1 && fails && m.From != "another" {
							return errors.New("too few")
						}
						return errors.Join(err, listErr, tx.Put("n", n+1))
					},
				}, Options{Sessions: []string{"de", "fr"}})
				h.SetState("order/1", 1)
				h.BeforeCommit(func() { tt.meddle(h) })
				r := h.Upstream(sdk.Upstream{Session: "fr"})
				if done := tt.runs == 2 || !fails; r.Runs != tt.runs || (r.Status == Done) != done {
					t.Errorf("%v (%s) after %d runs, want %d", r.Status, r.Reason, r.Runs, tt.runs)
				}
				if again := h.Upstream(sdk.Upstream{From: "another"}); again.Runs != 1 {
					t.Errorf("the next event: %d runs", again.Runs)
				}
			})
		}
	}
}
