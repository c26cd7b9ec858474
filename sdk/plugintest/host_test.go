package plugintest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/sdk"
)

// recorder is a testing.TB that collects its errors and does not fail.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// TestHandlerThatIgnoresItsContext: the result of a late handler counts. A handler
// that never returns fails the author's test, because a host would kill the plugin.
func TestHandlerThatIgnoresItsContext(t *testing.T) {
	for _, tt := range []struct {
		name   string
		after  time.Duration // the handler's return; 0: never
		status Status
		fails  string
	}{
		{"late", 4 * time.Second, Done, ""},
		{"never", 0, Hung, "has not returned 5s after the end of its ctx (HandlerTimeout is 1s)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, let := &recorder{TB: t}, make(chan struct{})
				h := New(r, sdk.Plugin{
					Name: "slow", Version: "1", Categories: []string{"app"},
					Upstream: func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
						if tt.after > 0 {
							time.Sleep(tt.after)
						} else {
							<-let
						}
						if ctx.Err() == nil {
							t.Error("the handler's ctx has not ended")
						}
						return nil
					},
				}, Options{HandlerTimeout: time.Second})
				if got := h.Upstream(sdk.Upstream{}); got.Status != tt.status {
					t.Errorf("status %v, want %v", got.Status, tt.status)
				}
				close(let)
				h.Stop()
				if all := strings.Join(r.errors, "\n"); !strings.Contains(all, tt.fails) || (all == "") != (tt.fails == "") {
					t.Errorf("the author's test fails with %q, want %q", all, tt.fails)
				}
			})
		})
	}
}

// A session that is not in the config is no mistake of the event: as in the host it comes
// again, and nothing is committed.
func TestUnknownSession(t *testing.T) {
	var sent error
	h := New(t, sdk.Plugin{
		Name: "shop", Version: "1", Categories: []string{"app"},
		Upstream: func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
			_, sent = tx.Send(sdk.Downstream{To: sdk.Token(m.From)})
			return tx.Put("k", 1)
		},
	}, Options{Sessions: []string{"de"}})
	r := h.Upstream(sdk.Upstream{Session: "fr"}) // one that a reload has taken away
	if want := `session "fr" is not in config.hcl; there are ["de"]`; sent != nil || r.Status != Retried || r.Delay != -1 || !strings.Contains(r.Reason, want) {
		t.Errorf("sent with %v, then %v after %v: %s", sent, r.Status, r.Delay, r.Reason)
	}
	if keys, all := h.Keys(), h.Sent(); len(keys)+len(all) > 0 {
		t.Errorf("committed %q, %v", keys, all)
	}
}
