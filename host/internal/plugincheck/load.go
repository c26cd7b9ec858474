package plugincheck

import (
	"context"
	"fmt"
	"time"

	"balhost/sdk/wire"
)

// loaded is what was seen while many messages were delivered.
type loaded struct {
	load   finding
	pings  finding
	memory finding
}

const (
	mendPing   = "§3: send a ping's number back from the task that reads; the reader never waits, not for a handler, a call or the writer"
	mendMemory = "§4: keep nothing of a delivery when it has ended"
	pingEvery  = 200 * time.Millisecond
	slowPong   = 2 * time.Second // a machine under load is no reason to be slower
)

// loadRow is a row about the load, which happens once.
func loadRow(pick func(*loaded) finding) func(*check, context.Context) finding {
	return func(c *check, ctx context.Context) finding {
		if c.loaded == nil {
			l, err := c.process(ctx)
			if err != nil {
				return unknown("the plugin does not start: %v", err)
			}
			c.hold(l) // if it can be had, its handler waits all the while
			c.loaded = c.underLoad(ctx, l)
			c.loaded.load = c.survived(c.loaded.load, l)
		}
		return pick(c.loaded)
	}
}

// loader delivers many events, as many at once as the plugin takes.
type loader struct {
	c     *check
	l     *life
	kind  kind
	open  []*delivery
	made  int
	codes map[string]int
	lost  int // to conflicts
	early int64
	fell  int    // RETRY for samples that were DONE before
	why   string // the error of the first of them
	pings int
	at    time.Time // of the last ping
	moved time.Time // when an event ended, or a handler gave a sign of life
}

func (c *check) underLoad(ctx context.Context, l *life) *loaded {
	ld := &loader{c: c, l: l, codes: map[string]int{}}
	for _, k := range kinds4(l.manifest) {
		if k.has {
			ld.kind = k
			break
		}
	}
	if ld.kind.name == "" {
		f := none("it has no handlers")
		return &loaded{f, f, f}
	}
	began, cpu := time.Now(), l.proc.CPU()
	stuck := ld.run(ctx)
	elapsed, cpu := time.Since(began), l.proc.CPU()-cpu
	out := &loaded{pings: ld.judgePings(), memory: ld.judgeMemory(), load: stuck}
	if stuck.verdict == Fails {
		l.kill() // the rows that follow get a process that has lost nothing
		return out
	}
	n := c.o.Messages
	out.load = ok("%s %ss, each ended once: %s in %s, %.0f/s", fmt.Sprint(n), ld.kind.name, counts(ld.codes), took(elapsed), float64(n)/elapsed.Seconds())
	if cpu > 0 {
		out.load.found += fmt.Sprintf("; %d µs of CPU each", cpu.Microseconds()/int64(n))
	}
	if ld.lost > 0 {
		out.load.found += fmt.Sprintf("; %d would come again after conflicts", ld.lost)
	}
	if ld.fell > 0 {
		out.load = warns("§4: an event is a RETRY only when its handler failed; look for what handlers that run at the same time share", "%s; %d RETRY for samples that were DONE before, the first with the error %.120q", out.load.found, ld.fell, ld.why)
	}
	return out
}

// run delivers all. It fails when nothing moves any more.
func (ld *loader) run(ctx context.Context) finding {
	s, n := ld.l.session, ld.c.o.Messages
	most := ld.l.inFlight()
	if ld.c.held != nil && most > 1 {
		most-- // the one that is held
	}
	ld.moved = time.Now()
	for (ld.made < n || len(ld.open) > 0) && ctx.Err() == nil {
		var more []*delivery
		for len(ld.open)+len(more) < most && ld.made < n {
			known := ld.kind.name == "upstream" && ld.c.seen.done[ld.made%len(ld.c.o.Data)]
			more = append(more, &delivery{event: ld.kind.make(ld.c, ld.l, ld.made), known: known})
			ld.made++
		}
		s.deliver(more...)
		ld.open = append(ld.open, more...)
		if now := time.Now(); now.Sub(ld.at) > pingEvery {
			s.sendPing()
			ld.pings, ld.at = ld.pings+1, now
		}
		if ld.take(); time.Since(ld.moved) > ld.c.o.Patience || s.over() {
			return ld.c.died(ld.l, mendEnd, "%s of %d %ss have not ended, and for %v none did", fmt.Sprint(len(ld.open)), ld.made, ld.kind.name, ld.c.o.Patience)
		}
		if ld.early == 0 && ld.made > n/10 {
			ld.early = ld.l.proc.Memory()
		}
	}
	return finding{}
}

// take waits for events to end, and counts them.
func (ld *loader) take() {
	s := ld.l.session
	s.until(pingEvery, func() bool {
		rest := ld.open[:0]
		for _, d := range ld.open {
			switch {
			case d.over.IsZero():
				rest = append(rest, d)
				n, late := len(d.extended), d.began.Add(ld.c.o.Plugin.HandlerTimeout)
				if n > 0 && d.extended[n-1].After(ld.moved) && d.extended[n-1].Before(late) { // it is slow, and within its time
					ld.moved = d.extended[n-1]
				}
				continue
			case d.conflict:
				ld.lost++
			}
			if d.known && d.result.GetCode() == wire.Result_RETRY {
				if ld.fell++; ld.fell == 1 {
					ld.why = d.result.GetError()
				}
			}
			ld.codes[d.result.GetCode().String()]++
			ld.moved = time.Now()
		}
		ended := len(rest) < len(ld.open)
		clear(ld.open[len(rest):])
		ld.open = rest
		return ended
	})
}

// judgePings waits for the last pong.
func (ld *loader) judgePings() finding {
	s := ld.l.session
	answered := s.until(pingWithin, func() bool { return len(s.pings) == 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !answered && s.ended:
		return unknown("the process ended before")
	case !answered:
		return fails(mendPing, "no pong within %v under load: the host kills the process as hung", pingWithin)
	case s.slowest > slowPong:
		return slowly(mendPing, "%s under load, the slowest pong after %s", plural(ld.pings, "ping", "pings"), took(s.slowest))
	}
	return ok("%s under load, the slowest pong after %s", plural(ld.pings, "ping", "pings"), took(s.slowest))
}

// judgeMemory compares the memory after a tenth of the load with that at its end.
func (ld *loader) judgeMemory() finding {
	late := ld.l.proc.Memory()
	const much = 64 << 20
	mib := func(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
	switch {
	case late == 0 || ld.early == 0:
		return none("not known here")
	case late-ld.early > much && late > 2*ld.early:
		return warns(mendMemory, "%s after a tenth of the load, %s at its end", mib(ld.early), mib(late))
	}
	return ok("%s after a tenth of the load, %s at its end", mib(ld.early), mib(late))
}

// sendPing sends a ping, and notes when.
func (s *session) sendPing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ping++
	s.pings[s.ping] = time.Now()
	s.send(&wire.HostFrame{Ping: s.ping})
}

// over reports whether the stream has ended.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}
