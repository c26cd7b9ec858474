package ccs

import (
	"math/rand/v2"
	"time"
)

// patience is how long to wait before the next connection.
type patience struct {
	o                         *Options
	rnd                       *rand.Rand
	failures, denials, drains int // in a row, since a connection was stable
}

func newPatience(o *Options) patience {
	return patience{o: o, rnd: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
}

// calm begins anew when all was well for long enough.
func (p *patience) calm(d time.Duration) {
	if d >= p.o.Stable {
		p.failures, p.denials, p.drains = 0, 0, 0
	}
}

// lost is the wait after a connection that was in for lasted, or that was not let in.
func (p *patience) lost(lasted time.Duration) time.Duration {
	p.calm(lasted)
	p.failures++
	return p.o.Backoff.Delay(p.failures, p.rnd)
}

// blamed is the wait after a connection that was of use until a downstream ended
// it. It does not grow: the cause is the message, not the connection.
func (p *patience) blamed(lasted time.Duration) time.Duration {
	p.calm(lasted)
	return p.o.Backoff.Delay(1, p.rnd)
}

// denied is the wait after CCS denied a login: long, and longer each time.
func (p *patience) denied(calm time.Duration) time.Duration {
	p.calm(calm)
	p.denials++
	long := p.o.Backoff
	long.Min = p.o.Denied
	long.Max = max(long.Max, long.Min)
	return long.DelayAtLeast(p.denials, p.rnd)
}

// drainPause is the longest wait before a connection that drains is replaced.
// Until then no downstream goes out, so it stays far below the wait after a loss.
const drainPause = 5 * time.Second

// drained is the wait after a connection that drains. The first is replaced at
// once. CCS may drain the replacement too, and again (ccs-protocol.md §7): a server
// that drains all it lets in must not be stormed.
func (p *patience) drained(lasted time.Duration) time.Duration {
	p.calm(lasted)
	p.drains++
	if p.drains == 1 {
		return 0
	}
	short := p.o.Backoff
	short.Max = min(short.Max, max(short.Min, drainPause))
	return short.Delay(p.drains-1, p.rnd)
}
