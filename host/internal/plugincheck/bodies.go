package plugincheck

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"balhost/sdk/wire"
)

// large delivers bodies that are larger than gRPC's usual limit for a message.
func (c *check) large(_ context.Context, l *life) finding {
	const mend = "§1: set the largest message that the server receives to 16 MiB or more; gRPC's default is 4 MiB in most languages"
	if !l.manifest.GetUpstream() {
		return none("it has no handler for upstreams")
	}
	one := json.RawMessage(`{"text":"` + strings.Repeat("x", 1<<20) + `"}`)
	d := &delivery{event: c.upstreamOf(l, 0, one)}
	if !l.session.finish(c.o.Patience, d) {
		return c.died(l, mend, "a body of 1 MiB has not ended within %v", c.o.Patience)
	}
	many := make([]*delivery, 5)
	for i := range many {
		many[i] = &delivery{event: c.upstreamOf(l, i, one)}
	}
	l.session.deliverAsOne(many...)
	if !l.session.await(c.o.Patience, many...) {
		return c.died(l, mend, "a frame with %d bodies of 1 MiB has not ended within %v", len(many), c.o.Patience)
	}
	return ok("1 MiB: %s after %s; %d of them in a frame: after %s", says(d.result), took(d.over.Sub(d.began)), len(many), took(many[0].over.Sub(many[0].began)))
}

// died fails a row, with why the process ended if it did.
func (c *check) died(l *life, mend, format string, args ...any) finding {
	if why := l.dead(); why != nil {
		return fails(mend, "%s: the process ended: %v", fmt.Sprintf(format, args...), why)
	}
	return fails(mend, format, args...)
}

// deliverAsOne gives out deliveries in one frame, however large.
func (s *session) deliverAsOne(ds ...*delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &wire.HostFrame{}
	for _, d := range ds {
		s.number++
		s.out[s.number] = d
		d.began = time.Now()
		f.Deliver = append(f.Deliver, &wire.Delivery{Delivery: s.number, Attempt: 1, TimeoutMs: d.event.TimeoutMs, Event: d.event.Event})
	}
	s.send(f)
}

// counts are numbers by name, for people.
func counts(all map[string]int) string {
	var parts []string
	for _, name := range []string{"DONE", "RETRY", "REJECT", "RELEASE", "UNSPECIFIED"} {
		if n := all[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, name))
		}
	}
	return strings.Join(parts, ", ")
}
