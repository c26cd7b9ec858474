package plugincheck

import (
	"context"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"balhost/sdk/wire"
)

// logTries is how often a plugin must log below the level until it counts.
const logTries = 3

// logs changes the log level and compares what is printed.
func (c *check) logs(_ context.Context, l *life) finding {
	const mend = "§8: send no lines below the log_level of ConfigureRequest, and of HostFrame when it changes; a line without a level is info on stdout, and a warning on stderr"
	chatty, _, good := c.atLevel(l, hclog.Trace)
	if !good {
		return c.died(l, mend, "with the level trace, events have not ended within %v", c.o.Patience)
	}
	lines, first, good := c.atLevel(l, hclog.Error)
	for tries := 1; good && lines > 0 && tries < logTries; tries++ { // they may be those from before, on a busy machine
		lines, first, good = c.atLevel(l, hclog.Error)
	}
	l.session.send(&wire.HostFrame{LogLevel: "info"})
	switch {
	case !good:
		return c.died(l, mend, "with the level error, events have not ended within %v", c.o.Patience)
	case lines > 0:
		return fails(mend, "with the level error it logged %s below it; the first: %.100q", plural(lines, "line", "lines"), first)
	case chatty == 0:
		return none("it logs nothing, not even with the level trace")
	}
	return ok("%s with the level trace, none below error with the level error", plural(chatty, "line", "lines"))
}

// atLevel sets the level, delivers events, and counts the lines below error.
func (c *check) atLevel(l *life, level hclog.Level) (lines int, first string, good bool) {
	const events = 200
	s := l.session
	s.send(&wire.HostFrame{LogLevel: level.String()})
	if s.sendPing(); !c.failed["ping"] { // its pong comes when the level is set
		s.until(pingWithin, func() bool { return len(s.pings) == 0 })
	}
	l.log.settle(slack)
	l.log.mark()
	var ds []*delivery
	for _, k := range kinds4(l.manifest) {
		for i := 0; k.has && i < events && len(ds) < l.inFlight()/2; i++ {
			ds = append(ds, &delivery{event: k.make(c, l, i)})
		}
	}
	good = s.finish(c.o.Patience, ds...)
	l.log.settle(slack)
	if level == hclog.Trace {
		l.log.await(slack)
	}
	lines, first = l.log.below(hclog.Error)
	return lines, first, good
}

// signals sends what a service manager and a terminal send to the host's children.
func (c *check) signals(_ context.Context, l *life) finding {
	const mend = "§7: ignore SIGTERM, SIGINT and SIGHUP while Session is open, also in a shell that starts the program (exec it)"
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		l.proc.Signal(sig)
		select {
		case <-l.proc.Exited():
		case <-time.After(300 * time.Millisecond):
		}
		if why := l.dead(); why != nil {
			return fails(mend, "at the signal %v the process ended: %v", sig, why)
		}
		if d := (&delivery{event: c.seen.any}); c.seen.any != nil && !l.session.finish(c.o.Patience, d) {
			return c.died(l, mend, "after the signal %v an event has not ended within %v", sig, c.o.Patience)
		}
	}
	return ok("SIGHUP, SIGINT and SIGTERM are ignored")
}
