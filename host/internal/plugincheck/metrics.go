package plugincheck

import (
	"context"
	"slices"
	"time"

	"balhost/host/internal/plain"
	"balhost/host/internal/pluginhost"
	"balhost/sdk/wire"
)

// scrapeWithin is how long a host waits for a plugin's own metrics.
const scrapeWithin = time.Second

// metrics asks for the plugin's own metrics as a host does that is scraped.
func (c *check) metrics(ctx context.Context, l *life) finding {
	if !slices.Contains(l.manifest.GetCapabilities(), wire.Metrics) {
		return none("it has no metrics of its own")
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Patience)
	defer cancel()
	began := time.Now()
	text, err := wire.NewClient(l.proc.Conn()).Metrics(ctx)
	spent := time.Since(began)
	if err != nil && ctx.Err() != nil {
		return fails("§6: the call must not wait for handlers, nor for another call; answer within 1 s", "no answer within %v", c.o.Patience)
	} else if err != nil {
		return fails("§6: answer balhost.plugin.v1.Metrics/Text with a google.protobuf.BytesValue", "the call fails: %s", plain.Line(err.Error(), 300))
	}
	series, err := pluginhost.ReadMetrics(c.solo.Name, text)
	if err != nil {
		return fails("§6: all metrics of a plugin are refused for one that is wrong; give it a registry with its own metrics only", "the host takes none: %s", plain.Line(err.Error(), 300))
	}
	found := plural(series, "series", "series") + " after " + took(spent)
	if spent > scrapeWithin {
		return slowly("§6: answer within 1 s; count while events are handled, and only write the text in the call", "%s; the host waits %v", found, scrapeWithin)
	}
	return ok("%s", found)
}
