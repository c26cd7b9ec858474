package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"balhost/host/internal/latency"

	"github.com/prometheus/client_golang/prometheus"
)

// tally counts what devices do, in the words of status.Gateway.
type tally struct {
	stored, duplicates, refused, noRoom, receipts atomic.Uint64
	downstreams, acked, returned                  atomic.Uint64
	inFlight                                      atomic.Int64
	acks                                          latency.Histogram    // from reading an upstream to writing its answer
	seconds                                       prometheus.Histogram // the same, for /metrics; nil: there is none

	mu            sync.Mutex // guards what follows
	limits        uint64
	lastLimited   string
	lastLimitedAt time.Time
}

// told counts one answer, which was written at now.
func (t *tally) told(o *owed, now time.Time) {
	switch {
	case o.state == refused:
		t.refused.Add(1)
	case o.state == later:
		t.noRoom.Add(1)
	case o.again:
		t.duplicates.Add(1)
	case o.receipt():
		t.receipts.Add(1)
	default:
		t.stored.Add(1)
	}
	if o.state == stored {
		t.took(now.Sub(o.read))
	}
}

// took counts how long an answer took.
func (t *tally) took(d time.Duration) {
	t.acks.Add(d)
	if t.seconds != nil {
		t.seconds.Observe(d.Seconds())
	}
}

// limited counts that who, a from or an address, was over a limit.
func (t *tally) limited(who, by string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits++
	t.lastLimited, t.lastLimitedAt = who+": "+by, time.Now()
}
