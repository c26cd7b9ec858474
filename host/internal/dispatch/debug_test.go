package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/instance"
)

// A handler that stands in a debugger gives no sign of life, for longer than every limit.
// Its process is left alone, the event is not handed out again, and its result counts.
func TestDebuggedHandlerIsLeftAlone(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil, func(f *instance.Facts) {
			f.Debug, f.HandlerTimeout, f.MaxInFlight, f.Alone = true, time.Second, 1, true
		})
		b.upstreams("anna", "1")
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if kills := p.kills(); len(kills) > 0 {
			t.Errorf("killed: %q", kills)
		}
		for _, f := range p.frames {
			if len(f.Revoke) > 0 {
				t.Errorf("revoked %v", f.Revoke)
			}
		}
		if s := b.status().Plugins[0]; s.Stuck != 0 || s.InFlight != 1 || s.Retried != 0 {
			t.Errorf("status %+v", s)
		}
		b.wantIDs(p, "1")
		if limit := p.last().TimeoutMs; limit != 0 {
			t.Errorf("its handler has %d ms, want no limit", limit)
		}
		p.done(p.last())
		synctest.Wait()
		if n := b.ledger.pending(); n != 0 {
			t.Errorf("%d events are left", n)
		}
	})
}
