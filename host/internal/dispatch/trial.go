package dispatch

import "time"

// askAgain is how often a process to try suspects in is asked for.
const askAgain = 10 * time.Second

// try hands suspects out, one at a time: to a second process that holds nothing
// else. A plugin that can't run twice gets them in its only process, when that
// holds nothing.
func (d *Dispatcher) try(p *plugin, now time.Time) {
	in := p.trier
	if p.serving != nil && p.serving.Alone {
		in = p.serving
	}
	switch {
	case p.trials.len() == 0:
		if p.trier != nil && !p.trier.busy() {
			p.trier.process.Retire()
			p.trier = nil
		}
	case in == nil:
		if p.serving != nil && now.Sub(p.triedAt) >= askAgain {
			p.triedAt = now
			p.serving.process.StartTrier()
		}
	case len(in.out) == 0:
		if frame := d.handOut(in, p.trials.pop(), nil, now, nil); frame != nil {
			in.trial = in.out[d.lease] // the newest
			in.process.Send(frame)
		}
	}
}
