package plugincheck

import (
	"cmp"
	"context"
	"time"

	"balhost/sdk/wire"
)

const (
	mendCalls  = "§5: ids of calls are unique in the session, and not 0: the reply has the id by which its handler is found"
	mendEnd    = "§4: each delivery ends with its number in done, or with a Result"
	mendSample = "§4: that is allowed; give data that the plugin takes, with --data (and --category, --config), so that more can be checked"
)

// kindRow is the row of one kind of event.
func kindRow(name string) func(*check, context.Context) finding {
	return with(func(c *check, _ context.Context, l *life) finding {
		for _, k := range kinds4(l.manifest) {
			if k.name == name && k.has {
				return c.tryKind(l, k)
			}
		}
		return none("it has no handler for it")
	})
}

// tryKind delivers samples of a kind, one after the other.
func (c *check) tryKind(l *life, k kind) finding {
	var events []*wire.Delivery
	if k.name != "upstream" {
		events = append(events, k.make(c, l, 0))
	} else {
		for i, data := range c.o.Data { // as they are: a later one may answer an earlier one
			events = append(events, c.upstreamOf(l, i, data))
		}
	}
	said, good, mend := "", false, ""
	loose := l.session.looseReads()
	for i, event := range events {
		d := &delivery{event: event}
		if !c.finishSlowly(l, d) {
			if text, n := c.flaws.of("limits"); n > 0 { // a handler waits for a reply to a call that can have none
				return c.died(l, mendCalls, "it has not ended within %s: %s", took(time.Since(d.began)), text)
			}
			return c.died(l, mendEnd, "it has not ended within %s", took(time.Since(d.began)))
		}
		c.seen.note(d)
		mend = cmp.Or(mend, mendOf(d))
		if d.result.GetCode() == wire.Result_DONE {
			good = true
			if k.name == "upstream" {
				c.seen.done[i] = true
			}
		}
		if text := says(d.result); said == "" {
			said = text + " after " + took(d.over.Sub(d.began))
		} else {
			said += "; " + text
		}
	}
	c.seen.loose = c.seen.loose || l.session.looseReads() > loose
	if !good {
		return warns(mend, "%s", said)
	}
	return ok("%s", said)
}

// mendOf is what to do when a sample is not DONE.
func mendOf(d *delivery) string {
	switch code := d.result.GetCode(); {
	case code != wire.Result_RETRY && code != wire.Result_REJECT:
		return "§4: the code is none that the host knows; see the row codes"
	case d.refused != "":
		return "§5 and §9: a call of the handler was INVALID, and can never work: " + d.refused
	}
	return mendSample
}

// looseReads counts gets and lists without a delivery while a handler ran.
func (s *session) looseReads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loose
}

// finishSlowly delivers, and waits for the end. It waits for as long as the handler gives
// signs of life, within its time.
func (c *check) finishSlowly(l *life, d *delivery) bool {
	l.session.deliver(d)
	for signs := -1; !l.session.await(c.o.Patience, d); {
		l.session.mu.Lock()
		now := len(d.extended)
		l.session.mu.Unlock()
		if now <= signs || now == 0 || time.Since(d.began) > c.o.Plugin.HandlerTimeout {
			return false
		}
		signs = now
	}
	return true
}

// finish delivers, and waits until all have ended.
func (s *session) finish(limit time.Duration, ds ...*delivery) bool {
	s.deliver(ds...)
	return s.await(limit, ds...)
}

// await waits until all have ended.
func (s *session) await(limit time.Duration, ds ...*delivery) bool {
	return s.until(limit, func() bool {
		for _, d := range ds {
			if d.over.IsZero() {
				return false
			}
		}
		return true
	})
}
