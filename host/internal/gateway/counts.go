package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"balhost/host/internal/plain"
	"balhost/host/internal/status"
)

// counts are those of status.Gateway that [tally] has not.
type counts struct {
	denied atomic.Uint64

	mu         sync.Mutex // guards what follows
	lastDenied string
	deniedAt   time.Time

	noCategory       uint64
	lastNoCategory   string
	lastNoCategoryAt time.Time
	foreign          uint64
	lastForeign      string
	lastForeignAt    time.Time
}

// Status is what a gateway does.
type Status struct {
	status.Gateway
	Unready  []string // why it can't do its work, each a sentence with the session's name
	Warnings []string // what is wrong although it can
}

// Status is what the gateway does now.
func (g *Gateway) Status() Status {
	t, c := &g.tally, &g.counts
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	ack := t.acks.Summary()
	s := Status{Gateway: status.Gateway{
		Address: g.address(), Sockets: g.sockets.registry.count(), Connections: g.seats.taken(), MaxConnections: g.o.MaxConnections,
		Stored: t.stored.Load(), Duplicates: t.duplicates.Load(), Refused: t.refused.Load(), NoRoom: t.noRoom.Load(), Receipts: t.receipts.Load(),
		Downstreams: t.downstreams.Load(), Acked: t.acked.Load(), InFlight: int(t.inFlight.Load()), Returned: t.returned.Load(),
		Denied: c.denied.Load(), AckP50: ms(ack.P50), AckP99: ms(ack.P99),
	}}
	c.mu.Lock()
	s.LastDenied, s.LastDeniedAt = c.lastDenied, c.deniedAt
	s.NoCategory, s.LastNoCategory, s.LastNoCategoryAt = c.noCategory, c.lastNoCategory, c.lastNoCategoryAt
	s.Foreign, s.LastForeign, s.LastForeignAt = c.foreign, c.lastForeign, c.lastForeignAt
	c.mu.Unlock()
	t.mu.Lock()
	s.Limited, s.LastLimited, s.LastLimitedAt = t.limits, t.lastLimited, t.lastLimitedAt
	t.mu.Unlock()
	if h := g.huawei; h != nil {
		s.Stored += h.stored.Load()
		s.Duplicates += h.duplicates.Load()
		s.Receipts += h.receipts.Load()
		s.Refused += h.refused.Load()
		s.Denied += h.denied.Load()
	}
	if err := g.muted(); err != nil {
		s.Mute = err.Error()
		s.Unready = append(s.Unready, s.Mute+"; it tries again")
	}
	unready, warnings := g.keys.health()
	for _, why := range unready {
		s.Unready = append(s.Unready, "gateway of session \""+g.o.Name+"\": "+why)
	}
	for _, why := range warnings {
		s.Warnings = append(s.Warnings, "gateway of session \""+g.o.Name+"\": "+why)
	}
	g.trouble(&s, time.Now())
	return s
}

// deny counts a credential that fits no auth block. why has no part of it.
func (g *Gateway) deny(address, why string) {
	c := &g.counts
	c.denied.Add(1)
	c.mu.Lock()
	c.lastDenied, c.deniedAt = why+" (from "+address+")", time.Now()
	c.mu.Unlock()
	g.said.Log(g.log.Warn, "a credential was denied", "conn", address, "err", why)
}

// without counts an upstream of from that has no category. It is stored and waits, perhaps
// for ever, so it has to be seen (P8). A from that is empty is none.
func (g *Gateway) without(from string) {
	if from == "" {
		return
	}
	c := &g.counts
	c.mu.Lock()
	c.noCategory++
	c.lastNoCategory, c.lastNoCategoryAt = plain.Brief(from), time.Now()
	c.mu.Unlock()
	g.said.Log(g.log.Warn, "an upstream has no category: only a plugin with the category \"*\" gets it", "conn", plain.Brief(from))
}

// foreigner counts a request of a web page whose origin is not allowed.
func (g *Gateway) foreigner(origin string) {
	origin = plain.Line(origin, 100)
	c := &g.counts
	c.mu.Lock()
	c.foreign++
	c.lastForeign, c.lastForeignAt = origin, time.Now()
	c.mu.Unlock()
	g.said.Log(g.log.Warn, "a page's origin is not in cors_origins", "err", origin)
}

// limited counts what was over a limit. who is a device or an address.
func (g *Gateway) limited(who, limit string) {
	who = plain.Brief(who)
	g.tally.limited(who, limit)
	g.said.Log(g.log.Warn, "over a limit", "conn", who, "err", limit)
}
