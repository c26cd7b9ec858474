package logs

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestDurationsHaveUnits: durations have units in both formats, in the pairs of a
// line and in those of a logger.
func TestDurationsHaveUnits(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var out strings.Builder
		l := New(&hclog.LoggerOptions{Output: &out, JSONFormat: asJSON, Level: hclog.Trace})
		pairs := []any{"after", 943307454 * time.Nanosecond, "count", 3}
		for _, log := range []func(string, ...any){l.Trace, l.Debug, l.Info, l.Warn, l.Error, l.Named("a").Error, l.ResetNamed("b").Info, l.With("took", 90*time.Minute+time.Millisecond).Warn} {
			log("line", pairs...)
		}
		l.Log(hclog.Info, "line", pairs...)
		if n := strings.Count(out.String(), "943ms"); n != 9 || strings.Contains(out.String(), "943307") || !strings.Contains(out.String(), "1h30m0s") {
			t.Errorf("%d of 9 are told:\n%s", n, &out)
		}
		if pairs[1] != 943307454*time.Nanosecond {
			t.Error("the caller's pairs have changed")
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 12: "12ns", 1234: "1µs", 1540 * time.Microsecond: "1.5ms", 943307454: "943ms", 2345678901: "2.35s",
		187654321098: "3m8s", -943307454: "-943ms", 26*time.Hour + 1: "26h0m0s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%d is %q, want %q", d, got, want)
		}
	}
}
