package dispatch

import (
	"context"

	"balhost/host/internal/entry"
)

// Seen is the seq of the last event that Run knows of.
func (d *Dispatcher) Seen(ctx context.Context) (seq uint64, err error) {
	err = d.ask(ctx, func(d *Dispatcher) error { seq = d.cursor; return nil })
	return seq, err
}

// Gone says that a person erased events that Run knows of, and that the ledger has no more.
// Their lanes go on without them.
func (d *Dispatcher) Gone(events []entry.Event) {
	d.box.put(func(d *Dispatcher) {
		for i := range events {
			if owner := d.owner(&events[i]); owner != "" {
				d.unload(d.plugin(owner)) // then what is not handed out is in no lane
			}
		}
		for i := range events {
			switch e := &events[i]; {
			case d.noticed[e.Seq]: // its lane has gone on
				delete(d.noticed, e.Seq)
			case d.busy[e.Seq]: // notice comes
				d.noticed[e.Seq] = true
			default:
				d.over(e)
			}
		}
	})
}

// notice takes the head of a lane off it, which is not in the ledger any more. Gone tells why,
// before or after.
func (d *Dispatcher) notice(p *plugin, l *lane) {
	seq := l.head().Seq
	if d.noticed[seq] {
		delete(d.noticed, seq)
	} else {
		d.noticed[seq] = true
	}
	d.advance(p, l)
}
