package plugincheck

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

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

// unicodes are texts that have broken programs, as JSON: what is behind \u too.
func unicodes() (all []json.RawMessage) {
	var every strings.Builder
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if r > 0xFFFF && r%0x10000 > 0x40 && r%0x10000 < 0xFFF0 {
			continue // of the planes above the first, the beginnings and ends
		}
		if utf8.ValidRune(r) {
			every.WriteRune(r)
		}
		if every.Len() > 3000 { // under the limit of a message to a device
			all = append(all, text(every.String()))
			every.Reset()
		}
	}
	return append(all, text(every.String()))
}

// halves are what JSON can have and UTF-8 can't.
var halves = []json.RawMessage{
	json.RawMessage(`{"text":"\ud800"}`), json.RawMessage(`{"text":"a\udc00b"}`), json.RawMessage(`{"text":"\udc00\ud800"}`),
	json.RawMessage(`{"\ud83d":"\ud83d\ud83d\ude00"}`), json.RawMessage(`{"text":"\u0000\u2028\ufeff\ud83d\ude00"}`),
}

func text(s string) json.RawMessage {
	b, err := json.Marshal(map[string]string{"text": s})
	if err != nil {
		panic(err) // of a string
	}
	return b
}

// unicode delivers every character, and halves of surrogate pairs.
func (c *check) unicode(_ context.Context, l *life) finding {
	const mend = "§4, strings: they must be UTF-8; replace half of a surrogate pair (toWellFormed()), or refuse it with RETRY or REJECT"
	if !l.manifest.GetUpstream() {
		return none("it has no handler for upstreams")
	}
	all := append(unicodes(), halves...)
	codes := map[string]int{}
	var batch []*delivery
	for i, data := range all {
		batch = append(batch, &delivery{event: c.upstreamOf(l, i, data)})
		if len(batch) < l.inFlight()/2 && i < len(all)-1 {
			continue
		}
		if !l.session.finish(c.o.Patience, batch...) {
			return c.died(l, mend, "data with unusual characters has not ended within %v", c.o.Patience)
		}
		for _, d := range batch {
			codes[d.result.GetCode().String()]++
		}
		batch = nil
	}
	if text, n := c.flaws.of("unicode"); n > 0 {
		return fails(mend, "%s", text)
	}
	return ok("%d texts with every character, %d of which have halves of pairs: %s", len(all), len(halves)-1, counts(codes))
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
