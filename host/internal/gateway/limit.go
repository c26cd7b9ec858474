package gateway

import "golang.org/x/time/rate"

const (
	burst   = 100     // messages that a device may send at once
	devices = 100_000 // whose rates are kept
)

// limits bound what devices may do. Spec: fcm-v1-and-gateway.md C5.
type limits struct {
	devices *lru[*rate.Limiter]
}

func newLimits(o *Options) *limits {
	return &limits{devices: newLRU(devices, func() *rate.Limiter { return rate.NewLimiter(rate.Limit(o.Rate), burst) })}
}

// allow reports whether the device may send one more message now, and counts it.
func (g *Gateway) allow(from string) bool { return g.limits.devices.get(from).Allow() }
