package ccs

import (
	"slices"
	"time"

	"balhost/host/internal/fcm"
)

// fullWindow is how many un-acked upstreams make CCS send no more of them, nor
// receipts (ccs-protocol.md §5 rule 4). Each step towards it is logged.
const fullWindow = 100

var holeSteps = []int64{1, 10, 25, 50, 75, 90, fullWindow}

// hole notes an upstream that is never acked. It holds a slot of CCS's window until
// the connection ends; then CCS sends it again. from and id are as far as known.
func (c *conn) hole(from, id fcm.Name, why string) {
	c.s.remember(time.Now(), from.Text, id.Text, why+"; not acked: it holds a slot of CCS's window")
	n := c.holes.Add(1)
	if !slices.Contains(holeSteps, n) {
		return
	}
	level, what := c.s.o.Log.Warn, "an upstream can't be acked: at 100 of these CCS sends no more"
	if n >= fullWindow {
		level, what = c.s.o.Log.Error, "CCS sends no more upstreams on this connection: too many can't be acked"
	}
	level(what, "conn", c.number, "count", n, "device", short(from.Text), "msg_id", short(id.Text), "err", why)
}

// short is s as it fits into a log line.
func short(s string) string {
	const enough = 64
	if len(s) > enough {
		return s[:enough] + "…"
	}
	return s
}
