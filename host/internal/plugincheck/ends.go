package plugincheck

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"balhost/host/internal/plain"
)

const mendLost = "§7: when the host closes its half without a drain, or the stream breaks, end the handlers, and exit within 5 s"

// other is a process for a row that ends it: one that another row has left, or a new one.
func (c *check) other(ctx context.Context) (*life, error) {
	for len(c.spare) > 0 {
		l := c.spare[0]
		if c.spare = c.spare[1:]; !l.buried && l.dead() == nil {
			return l, nil
		}
	}
	if _, err := c.process(ctx); err != nil { // so that the first one is known
		return nil, err
	}
	return c.fresh(ctx)
}

// departures are how a host goes away without a drain, by the row that is about it.
var departures = map[string]func(*life){
	"half-close": func(l *life) { l.session.halfClose() },
	"broken":     func(l *life) { l.proc.HangUp() },
}

// lost is a row in which the host goes away. It goes away in all ways at once, each from
// another process, since plugins may take their time.
func lost(row string) func(*check, context.Context) finding {
	return func(c *check, ctx context.Context) finding {
		if c.departed == nil {
			c.departed = map[string]finding{}
			var waits sync.WaitGroup
			var mu sync.Mutex // guards c.departed
			for name, leave := range departures {
				l, err := c.other(ctx)
				if err != nil {
					return unknown("the plugin does not start: %v", err)
				}
				c.know(l)
				waits.Go(func() {
					f := c.leave(l, leave)
					mu.Lock()
					defer mu.Unlock()
					c.departed[name] = f
				})
			}
			waits.Wait()
		}
		return c.departed[row]
	}
}

// leave leaves a process alone while it works.
func (c *check) leave(l *life, leave func(*life)) finding {
	defer l.bury()
	if c.seen.any != nil {
		l.session.deliver(&delivery{event: c.seen.any}, &delivery{event: c.seen.any})
	}
	began := time.Now()
	l.session.leave() // what comes from now on has no host that it could reach
	leave(l)
	select {
	case <-l.proc.Exited():
	case <-time.After(exitWithin + c.o.Patience):
		l.proc.Kill("did not exit")
		return fails(mendLost, "it has not exited within %v", exitWithin+c.o.Patience)
	}
	if after := time.Since(began); after > exitWithin+slack {
		return slowly(mendLost, "it exited after %s", took(after))
	}
	return ok("it exited after %s", took(time.Since(began)))
}

// leave lets nothing count that comes later.
func (s *session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
}

// killed kills the process in the middle of work, and gives the same event to the next one.
func killed(c *check, ctx context.Context) finding {
	const mend = "§7: the host ends what a process has started; run no process that hides from it"
	if _, err := c.process(ctx); err != nil {
		return unknown("the plugin does not start: %v", err)
	}
	l, err := c.fresh(ctx)
	if err != nil {
		return unknown("the plugin does not start: %v", err)
	}
	c.know(l)
	event, before := c.seen.sends, &delivery{event: c.seen.sends, dry: true}
	if event != nil && !l.session.finish(c.o.Patience, before) {
		l.kill()
		return fails(mendEnd, "an event has not ended within %v", c.o.Patience)
	}
	kin := l.proc.Kin()
	l.proc.KillHead()
	select {
	case <-l.proc.Exited():
	case <-time.After(c.o.Patience):
		l.kill()
		return fails(mend, "killed by signal 9, it has not ended within %v", c.o.Patience)
	}
	l.bury()
	if left := l.proc.Kin(); left > 0 {
		return fails(mend, "%s of it could not be ended", plural(left, "process", "processes"))
	}
	found := "nothing was left"
	if kin > 0 {
		found = plural(kin, "process that it had started was ended too", "processes that it had started were ended too")
	}
	next, err := c.fresh(ctx)
	if err != nil {
		return fails("§7: a process that dies is followed by another", "%s; the next one does not start: %v", found, err)
	}
	c.spare = append(c.spare, next)
	if event == nil {
		return ok("%s, and the next one started", found)
	}
	after := &delivery{event: event, dry: true}
	if !next.session.finish(c.o.Patience, after) {
		return c.died(next, mendEnd, "the next process has not ended the same event within %v", c.o.Patience)
	}
	f := compareIDs(eventID(event), before.result, after.result)
	if f.verdict == Fails && !c.failed["ids"] { // else that row tells of it
		return f
	}
	return ok("%s, and the next one ended the same event: %s", found, says(after.result))
}

// strangeKey is in no plugin's config.
const strangeKey = "balhost_check_no_such_key"

// badConfig starts a process with a key in the config that it can't know.
func badConfig(c *check, ctx context.Context) finding {
	const mend = "§2: an error in ConfigureReply means that the plugin can't start with this config; name the wrong key in it, so that a slip in config.hcl is seen"
	if _, err := c.process(ctx); err != nil {
		return unknown("the plugin does not start: %v", err)
	}
	object := map[string]json.RawMessage{}
	if len(c.o.Plugin.Config) > 0 {
		if err := json.Unmarshal(c.o.Plugin.Config, &object); err != nil {
			return unknown("its config is no object: %v", err)
		}
	}
	object[strangeKey] = json.RawMessage(`1`)
	config, err := json.Marshal(object)
	if err != nil {
		return unknown("%v", err)
	}
	l := &life{c: c, log: newListener()}
	l.proc = c.solo.New(l.log)
	defer l.kill()
	how := start{config: config, note: func(string, finding) {}}
	for _, step := range []func(context.Context, start) error{l.shake, l.connect, l.describe, l.open} {
		if err := step(ctx, how); err != nil {
			return unknown("it does not start: %v", err)
		}
	}
	said, err := l.tellConfig(ctx, how)
	switch {
	case err != nil:
		return fails(mend, "at an unknown key Configure failed: %s", plain.Line(status.Convert(err).Message(), 300))
	case said == "":
		return warns(mend, "a key that the plugin can't know, %s, was accepted in silence", strangeKey)
	}
	return ok("an unknown key is refused: %s", plain.Line(said, 120))
}

// twice opens a second session, and configures a second time.
func twice(c *check, ctx context.Context) finding {
	const mend = "§2: a second Session and a second Configure are errors: FAILED_PRECONDITION"
	l, err := c.other(ctx)
	if err != nil {
		return unknown("the plugin does not start: %v", err)
	}
	st, err := openStream(l.proc.Conn())
	if err == nil {
		err = st.refused(c.o.Patience)
		st.cut()
		_ = st.work.Wait() // the stream is of no more use
	}
	if status.Code(err) != codes.FailedPrecondition {
		l.kill()
		if status.Code(err) == codes.Canceled { // by refused
			return fails(mend, "a second Session was accepted")
		}
		return warns(mend, "a second Session ended with %v", status.Code(err))
	}
	how := start{config: c.o.Plugin.Config, note: func(string, finding) {}}
	if said, err := l.tellConfig(ctx, how); said == "" && status.Code(err) != codes.FailedPrecondition {
		l.kill()
		if err == nil {
			return fails(mend, "a second Configure was accepted")
		}
		return warns(mend, "a second Configure ended with %v", status.Code(err))
	}
	if f := c.survived(ok("FAILED_PRECONDITION"), l); f.verdict != OK {
		return f
	}
	c.spare = append(c.spare, l)
	return ok("both are refused")
}

// refused is how a stream ends on which nothing is sent.
func (s *stream) refused(limit time.Duration) error {
	late := time.AfterFunc(limit, s.cut)
	defer late.Stop()
	for {
		if _, _, err := s.recv(); err != nil {
			return err
		}
	}
}

// runs starts what must never run twice, which happens in each process.
func (c *check) runs(_ context.Context, l *life) finding {
	l.session.mu.Lock()
	defer l.session.mu.Unlock()
	if f := l.session.failure; f != nil {
		return warns("§2 step 6, and RunFailure in plugin.proto: that is told to a person, and the SDK starts run again", "run has failed %d times, the last time with: %s", f.GetFailures(), plain.Line(f.GetError(), 200))
	}
	return ok("no failure of run is told; %s outside of handlers", plural(l.session.calls, "call", "calls"))
}

// children tells what the drained process has left behind.
func children(c *check, ctx context.Context) finding {
	if f := (*check).exit(c, ctx); c.drained == nil {
		return f
	}
	if n := c.drained.left; n > 0 {
		return fails("§7: end what the plugin has started before the process exits; the host kills it otherwise", "%s lived on after it had exited", plural(n, "process", "processes"))
	}
	return ok("nothing of it was left after its exit")
}

// flawRow tells of what was noticed while the other rows were checked.
func flawRow(name, good, mend string) func(*check, context.Context) finding {
	return func(c *check, ctx context.Context) finding {
		if c.begin == nil || c.begin.failed != nil || c.seen.any == nil {
			l, err := c.process(ctx)
			if err != nil {
				return unknown("the plugin does not start: %v", err)
			}
			if c.know(l); c.seen.any == nil {
				return none("it has no handlers")
			}
		}
		if text, n := c.flaws.of(name); n > 0 {
			return fails(mend, "%s", text)
		}
		return ok("%s", good)
	}
}
