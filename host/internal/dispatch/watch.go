package dispatch

import (
	"fmt"
	"time"

	"balhost/sdk/wire"
)

const (
	stuckGrace  = 5 * time.Second
	extendEvery = 3 * wire.ExtendWithin // some patience beside what the wire asks for
)

// watch looks once a second for handlers whose time is up: their contexts end.
// When handlers that go on all the same fill a quarter of the credit, the process
// counts as hung.
func (d *Dispatcher) watch(now time.Time) {
	for _, p := range d.plugins {
		p.measure(now)
		if p.unread != nil {
			d.readPause(p)
		}
		p.turns.Tidy(now)
		p.listed.tidy(now)
		stuck := 0
		for in := range p.instances {
			if !in.dead {
				d.watchOver(in, now)
				stuck += in.stuck
			}
		}
		if p.measured {
			p.stucks.Set(float64(stuck))
		}
	}
}

// watchOver is watch for one process. One that may stand in a debugger is left alone.
func (d *Dispatcher) watchOver(in *Instance, now time.Time) {
	in.stuck, in.ended = 0, 0
	if in.Debug {
		return
	}
	var revoke []uint64
	for number, out := range in.out {
		if !out.givenUp.IsZero() {
			in.stuck++ // it still takes a place of the process
			continue
		}
		if now.Sub(out.started) > in.HandlerTimeout && !out.revoked {
			out.revoked = true
			revoke = append(revoke, number)
		}
		if now.Sub(out.started) > in.HandlerTimeout+stuckGrace {
			in.of.turns.End(out.run) // from here on only its lane waits
			out.run = nil
		}
		if in.isStuck(out, now) {
			in.stuck++
			if out.lane.ended {
				in.ended++
			}
			d.hangs(in.of, out, now)
		}
	}
	if revoke != nil {
		in.process.Send(&wire.HostFrame{Revoke: revoke})
	}
	full := in.stuck >= max(1, in.credit/4)
	blocks := in.stuck == len(in.out) && (in.trial != nil || in.Alone && in.of.trials.len() > 0) // suspects wait behind it
	if in.stuck > 0 && (full || blocks) {
		in.process.Kill(fmt.Sprintf("hung: %d of its handlers went on for %s after their time was up", in.stuck, stuckGrace))
	}
}

// isStuck reports whether a handler went on after its time was up, or gives no
// sign of life. In a debugger it does both.
func (in *Instance) isStuck(out *delivery, now time.Time) bool {
	if in.Debug {
		return false
	}
	return now.Sub(out.started) > in.HandlerTimeout+stuckGrace || now.Sub(out.extended) > extendEvery
}

// hangs logs a stuck handler: each once, and at most one of a plugin in sayEvery.
func (d *Dispatcher) hangs(p *plugin, out *delivery, now time.Time) {
	if out.told {
		return
	}
	out.told = true
	if now.Sub(p.hungAt) < sayEvery {
		p.hungUnsaid++
		return
	}
	head := out.lane.head()
	d.log.Warn("a handler goes on after its time is up, and its lane waits", append(d.letter(head.Seq),
		"plugin", p.name, "lane", d.laneName(p, out.lane), "seq", head.Seq, "attempt", head.Attempts+1,
		"took", now.Sub(out.started).Round(time.Second), "unsaid", p.hungUnsaid)...)
	p.hungAt, p.hungUnsaid = now, 0
}

// uncoded logs that a plugin sends results without a code that the host knows: at most
// once in sayEvery, since such a plugin sends no others.
func (d *Dispatcher) uncoded(p *plugin, now time.Time) {
	if now.Sub(p.uncodedAt) < sayEvery {
		p.uncodedUnsaid++
		return
	}
	d.log.Warn("plugin sends results without a known code, so their events come again: it must set DONE, RETRY, REJECT or RELEASE",
		"plugin", p.name, "unsaid", p.uncodedUnsaid)
	p.uncodedAt, p.uncodedUnsaid = now, 0
}

// measure follows the rate of the last seconds. The latest second weighs a third.
func (p *plugin) measure(now time.Time) {
	if took := now.Sub(p.rated).Seconds(); took > 0 && !p.rated.IsZero() {
		p.rate += (float64(p.handled-p.ratedAt)/took - p.rate) / 3
	}
	p.rated, p.ratedAt = now, p.handled
}
