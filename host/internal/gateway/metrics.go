package gateway

import (
	"github.com/prometheus/client_golang/prometheus"
)

// register registers a gateway's metrics, each with the constant label session: its name
// in config.hcl. All but the histogram that it returns read the gateway's own counts.
func register(reg prometheus.Registerer, g *Gateway) prometheus.Histogram {
	if reg == nil {
		return nil
	}
	label := prometheus.Labels{"session": g.o.Name}
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "balhost_gateway_ack_seconds", Help: "From reading an upstream or a request to writing its ack or answer.", ConstLabels: label,
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 10},
	})
	reg.MustRegister(seconds)
	gauge := func(name, help string, value func() int) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: label},
			func() float64 { return float64(value()) }))
	}
	counter := func(name, help string, labels prometheus.Labels, value func() uint64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value()) }))
	}
	result := func(value string) prometheus.Labels {
		return prometheus.Labels{"session": g.o.Name, "result": value}
	}
	c, upstreams := &g.tally, "Upstreams by what became of them."
	gauge("balhost_gateway_connections", "Connections of devices and of proxies.", g.seats.taken)
	gauge("balhost_gateway_sockets", "Devices that are connected by WebSocket.", g.sockets.registry.count)
	gauge("balhost_gateway_inflight", "Downstreams that were written and are not acked.", func() int { return int(c.inFlight.Load()) })
	gauge("balhost_gateway_uncommitted_bytes", "Bytes that were read and are not on disk.", g.budget.bytes)
	counter("balhost_gateway_upstreams_total", upstreams, result("stored"), c.stored.Load) // label result: stored, duplicate, refused, no_room; refused and no_room count receipts too
	counter("balhost_gateway_upstreams_total", upstreams, result("duplicate"), c.duplicates.Load)
	counter("balhost_gateway_upstreams_total", upstreams, result("refused"), c.refused.Load)
	counter("balhost_gateway_upstreams_total", upstreams, result("no_room"), c.noRoom.Load)
	counter("balhost_gateway_receipts_total", "Receipts of devices that were stored.", label, c.receipts.Load)
	counter("balhost_gateway_downstreams_total", "Downstreams written to sockets, repeats included.", label, c.downstreams.Load)
	counter("balhost_gateway_acked_total", "Downstreams that devices have acked.", label, c.acked.Load)
	counter("balhost_gateway_returned_total", "Downstreams that were given back: no ack in time, or the connection ended.", label, c.returned.Load)
	counter("balhost_gateway_denied_total", "Credentials that fit no auth block.", label, g.counts.denied.Load)
	counter("balhost_gateway_foreign_total", "Requests of web pages whose origin is not allowed.", label, func() uint64 {
		g.counts.mu.Lock()
		defer g.counts.mu.Unlock()
		return g.counts.foreign
	})
	counter("balhost_gateway_limited_total", "Connections, requests and messages over a limit.", label, func() uint64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.limits
	})
	return seconds
}
