package dispatch

import (
	"errors"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/plain"
)

// sayEvery is how often a plugin's re-runs are logged, and how often its stuck handlers.
const sayEvery = 30 * time.Second

// contest is what the operator is told of a plugin's conflicts.
type contest struct {
	key    string    // the last key over which a run has lost
	at     time.Time // when
	saidAt time.Time
	unsaid int
}

// changed returns over what a commit has lost.
func changed(err error) entry.Conflict {
	if c, ok := errors.AsType[*entry.Conflict](err); ok {
		return *c
	}
	return entry.Conflict{}
}

// rerun counts that a handler or an update runs again. It reports whether to log that.
func (d *Dispatcher) rerun(p *plugin, kind string, keys []string) (say bool, unsaid int) {
	p.reruns++
	if p.measured {
		d.metrics.reruns.WithLabelValues(p.name, kind).Inc()
	}
	c, now := &p.contest, time.Now()
	c.at = now
	if len(keys) > 0 {
		c.key = keys[0]
	}
	if now.Sub(c.saidAt) < sayEvery {
		c.unsaid++
		return false, 0
	}
	unsaid, c.saidAt, c.unsaid = c.unsaid, now, 0
	return true, unsaid
}

// reran counts that an event's handler runs again, and logs it.
func (d *Dispatcher) reran(p *plugin, l *lane, e *ending, err error) {
	keys := d.contended(p, e.Changes, err)
	say, unsaid := d.rerun(p, l.head().Kind.String(), keys)
	if !say {
		return
	}
	d.log.Warn("a handler runs again, because state that it had read has changed", append(d.letter(e.Seq),
		"plugin", p.name, "lane", d.laneName(p, l), "seq", e.Seq, "key", plain.Text(p.contest.key), "runs", l.loss.times, "unsaid", unsaid)...)
}

// rerunUpdate counts that an update outside of events runs again, and logs it.
func (d *Dispatcher) rerunUpdate(p *plugin, u *outside, keys []string) {
	if say, unsaid := d.rerun(p, "update", keys); say {
		d.log.Warn("an update runs again, because state that it had read has changed",
			"plugin", p.name, "key", plain.Text(p.contest.key), "runs", u.loss.times, "unsaid", unsaid)
	}
}

// laneName is the name of a lane in the log: its device, the value of its ordering key,
// or its group.
func (d *Dispatcher) laneName(p *plugin, l *lane) string {
	body, err := d.o.Ledger.Body(l.head().Seq)
	switch {
	case err != nil:
	case body.Upstream != nil:
		return plain.Brief(p.order.Name(body.Upstream.From, body.Upstream.Raw))
	case body.Outcome != nil:
		return plain.Brief(body.Outcome.Group)
	case body.Timer != nil:
		return plain.Brief(body.Timer.Device)
	}
	return ""
}
