package outbox

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// When downstreams have expired before the host starts, a log line says so: after a
// start of the machine the clock may be wrong. // P8
func TestExpiredWhileAwayIsSaid(t *testing.T) {
	for _, away := range []time.Duration{time.Minute, 2 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			l := newLedger()
			l.accept("tokA", 0, time.Hour)
			l.accept("tokB", 0, time.Hour)
			l.accept("tokC", 0, -1)
			time.Sleep(away)
			var log lines
			b := New(Options{Ledger: l, Log: hclog.New(&hclog.LoggerOptions{Output: &log})})
			ended := make(chan error, 1)
			go func() { ended <- b.Run(t.Context()) }()
			synctest.Wait()
			said := strings.Contains(log.String(), "downstreams have expired while no host ran: count=2")
			if said != (away > time.Hour) || len(l.outcomes()) != map[bool]int{true: 2, false: 0}[said] {
				t.Errorf("after %v: %d outcomes, and the log says %q", away, len(l.outcomes()), log.String())
			}
		})
	}
}
