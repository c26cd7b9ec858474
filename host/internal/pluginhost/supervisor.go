package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"balhost/host/internal/feed"
	"balhost/host/internal/pluginhost/artefact"
	"balhost/host/internal/pluginhost/policy"
	"balhost/host/internal/pluginhost/process"
	"balhost/host/internal/status"
	"balhost/sdk/wire"
)

// supervisor keeps one plugin running, as its policy decides. It never gives a plugin
// up for good. All that happens, in the folder, to processes and on the command line,
// goes through its mailbox, so that only run touches the policy.
type supervisor struct {
	host  *Host
	name  string
	log   hclog.Logger
	box   mailbox
	first func() // its first process was described or failed; the first call counts
	lines *process.Output
	over  chan struct{} // closed when run has ended

	// What follows is owned by run.
	policy  *policy.Policy
	options map[string]PluginOptions // those that the policy knows, by fingerprint
	tasks   errgroup.Group           // the processes' lives
	lives   map[*policy.Process]*life
	store   *artefact.Store
	file    *artefact.File // what the folder holds; nil: nothing that is stable
	asked   int            // how often file was to be staged

	mu     sync.Mutex // guards status and shown
	status Status
	shown  *life // that status tells of; nil: none
}

func newSupervisor(h *Host, name string, o PluginOptions, first func()) *supervisor {
	log := h.o.Log.With("plugin", name)
	s := &supervisor{
		host: h, name: name, log: log, lines: process.NewOutput(log, h.limits.lines), box: mailbox{hint: make(chan struct{}, 1)},
		first: sync.OnceFunc(first), over: make(chan struct{}),
		options: map[string]PluginOptions{}, lives: map[*policy.Process]*life{}, store: artefact.NewStore(h.o.DataDir, name),
		status: Status{Name: name, Process: status.Process{State: Discovered}},
	}
	s.policy = policy.New(name, s.know(o), policy.Record{}, h.limits.Times, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	return s
}

// know keeps options for the versions that are to run with them, and says what the
// policy has to know of them.
func (s *supervisor) know(o PluginOptions) policy.Options {
	print := fingerprint(o)
	s.options[print] = o
	return policy.Options{
		Print: print, Recreate: o.Strategy == Recreate, Probation: o.Probation,
		RestartMin: o.RestartMin, RestartMax: o.RestartMax, Keep: o.KeepRemoved, SHA256: o.SHA256,
	}
}

// run supervises until ctx ends or the plugin's file is gone, and all processes
// are drained and gone.
func (s *supervisor) run(ctx context.Context) error {
	defer s.first()
	defer close(s.over)
	var err error
	if s.policy.Record, err = s.store.Load(); err != nil {
		s.log.Warn("the plugin's earlier contents are forgotten", "err", err)
	}
	done := ctx.Done()
	for {
		for _, happened := range s.box.drain() {
			happened()
		}
		f := s.facts()
		if s.policy.JudgesNow(f.Now) && !f.Stopping {
			s.weigh(&f)
		}
		d := s.policy.Decide(f)
		s.carryOut(ctx, d)
		s.show(d)
		if len(s.lives) == 0 && (ctx.Err() != nil || d.State == Stopped && s.file == nil && s.host.forget(s)) {
			return s.tasks.Wait()
		}
		select {
		case <-s.box.hint:
		case <-time.After(time.Until(d.Next)):
		case <-done:
			done = nil // the ends of the processes come by the box
		}
	}
}

// facts are what the policy can't know by itself.
func (s *supervisor) facts() policy.Facts {
	f := policy.Facts{Now: time.Now(), File: s.file != nil, Whole: map[string]bool{}}
	select {
	case <-s.host.stopping:
		f.Stopping = true
	default:
	}
	for _, sum := range s.policy.Contents() {
		whole, err := s.store.Whole(sum)
		if f.Whole[sum] = whole; err != nil {
			s.log.Error("copy of a plugin's content is damaged: removed", "sha256", sum, "err", err)
		}
	}
	return f
}

// weigh adds what is known of the process that serves.
func (s *supervisor) weigh(f *policy.Facts) {
	l := s.lives[s.policy.The(policy.Serving)]
	if l == nil || !l.known {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.host.limits.Moment)
	defer cancel()
	if results, err := l.dispatch.Results(ctx); err == nil {
		f.Results, f.RunFails = &results, failing(l.failure.Load(), f.Now)
	}
}

// carryOut does what the policy has decided.
func (s *supervisor) carryOut(ctx context.Context, d policy.Decision) {
	for _, n := range d.News {
		s.report(n)
	}
	if d.Resumed != "" {
		s.log.Warn("what was proven last is started, since the plugin's file can't be taken", "sha256", d.Resumed[:12])
	}
	if d.Save {
		s.remember()
	}
	if d.Stage {
		s.stage()
	}
	if d.Restart {
		s.host.metrics.restarts.WithLabelValues(s.name).Inc()
	}
	for _, p := range d.Start {
		s.launch(ctx, p)
	}
	for _, stop := range d.Stop {
		s.stop(s.lives[stop.Process], stop)
	}
	for _, p := range d.Permit {
		close(s.lives[p].permit)
	}
	if d.Run != nil {
		s.lives[d.Run].session.Send(&wire.HostFrame{Run: true})
	}
	if d.Leave {
		s.leave()
	}
}

// stop has a process end. Of one that another has replaced, the log tells until its end.
func (s *supervisor) stop(l *life, stop policy.Stop) {
	if stop.Process.Ready() && !l.trier && errors.Is(stop.Cause, policy.ErrReplaced) {
		l.replaced = time.Now()
		s.tell(feed.Step{What: feed.Replaced, Version: l.facts.Version})
		s.log.Info("plugin's old process drains", l.which()...)
	}
	l.cancel(stop.Cause)
}

// report logs and counts what became of a version.
func (s *supervisor) report(n policy.News) {
	switch n.Verdict {
	case policy.Proven:
		s.log.Info("plugin's new content is proven", "state", string(Running))
	case policy.Retried:
		s.tell(feed.Step{What: feed.Crashed, Attempt: n.Failures, Error: n.Err.Error()})
		s.log.Warn("plugin failed: started again after a while", "attempt", n.Failures, "err", n.Err)
	case policy.Declined:
		if s.host.complain(s.name, n.Err.Error()) {
			s.log.Error("plugin's file is not taken", "err", n.Err)
		}
	case policy.KeptOld:
		if n.Tries > 0 {
			s.log.Error("new content of the plugin did not start: what served before goes on; "+s.howAgain(n), "err", n.Err)
			break
		}
		s.log.Error("new content of the plugin refused until its file or config changes: what served before goes on", "err", n.Err)
	case policy.RolledBack:
		if n.Tries > 0 {
			s.log.Error("plugin did not start, and goes back to the last content that was proven; "+s.howAgain(n), "err", n.Err)
			break
		}
		s.log.Error("plugin is rolled back to the last content that was proven", "err", n.Err)
	case policy.GivenUp, policy.StillRefused:
		if n.Tries > 0 {
			s.log.Error("plugin's content did not start earlier; "+s.howAgain(n), "err", n.Err)
			break
		}
		s.log.Error("plugin refused until its file changes", "err", n.Err)
	}
	switch n.Verdict {
	case policy.Declined, policy.KeptOld, policy.RolledBack, policy.GivenUp:
		s.tell(feed.Step{What: feed.Refused, Error: n.Err.Error()})
	}
	switch n.Verdict {
	case policy.KeptOld, policy.RolledBack, policy.GivenUp:
		s.host.metrics.refusals.WithLabelValues(s.name).Inc()
	}
}

// howAgain says how a version that did not start gets another try.
func (s *supervisor) howAgain(n policy.News) string {
	how := fmt.Sprintf("touch its file, or balhost reload %s, to try it again", s.name)
	if !n.Again.IsZero() {
		how += "; otherwise that is done in " + time.Until(n.Again).Round(time.Second).String()
	}
	return how
}

// launch runs the life of a process; its news come by the box.
func (s *supervisor) launch(ctx context.Context, p *policy.Process) {
	alive, cancel := context.WithCancelCause(ctx)
	l := &life{
		host: s.host, name: s.name, log: s.log, version: p.Version, options: s.options[p.Version.Options.Print],
		store: s.store, cancel: cancel,
		places: s.host.others, trier: p.Role == policy.Trier,
		lines: s.lines, permit: make(chan struct{}),
	}
	if s.policy.Record.HasProven(p.Version.SHA256) {
		l.places = s.host.proven
	}
	if l.options.Debug {
		s.log.Warn("plugin runs with debug = true: no handler_timeout, no start_timeout, no pings; nothing notices when it hangs")
	}
	if l.trier {
		s.log.Info("a second process is started to try suspects in")
	}
	l.news = func(n news) { s.box.put(func() { s.hear(p, l, n) }) }
	s.lives[p] = l
	s.tasks.Go(func() error {
		err := l.run(alive, ctx)
		cancel(nil)
		s.box.put(func() { s.ended(p, l, err) })
		return nil
	})
}

// hear follows a process through its life.
func (s *supervisor) hear(p *policy.Process, l *life, n news) {
	switch n {
	case described: // its claims are known, so the boot need not wait for it
		l.known = true
	case configured:
		f := s.facts()
		s.weigh(&f)
		s.policy.Configured(f, p)
	case ready:
		s.policy.Started(s.facts(), p)
		s.tellSessions(l)
	case wantsTrier:
		s.policy.Try(s.facts(), p)
	case retired:
		s.policy.Retire(p)
	case buried:
		s.policy.Exited(p)
	}
}

// ended: nothing is left of a process.
func (s *supervisor) ended(p *policy.Process, l *life, err error) {
	delete(s.lives, p)
	if l.trier {
		s.log.Info("the process for suspects has ended", "err", err)
	}
	if !l.replaced.IsZero() {
		s.log.Info("plugin's old process has ended", append(l.which(), "took", time.Since(l.replaced).Round(time.Millisecond))...)
	}
	_, fault := errors.AsType[artefact.Fault](err)
	s.policy.Ended(s.facts(), p, policy.Failure{Err: err, Fault: fault, Started: l.process.Started()})
}

// remember keeps on disk what the policy needs, and nothing else.
func (s *supervisor) remember() {
	if err := s.store.Remember(s.policy.Record, s.policy.Contents()); err != nil {
		s.log.Warn("old copies of the plugin stay, or its contents are not remembered over a restart", "err", err)
	}
	maps.DeleteFunc(s.options, func(print string, _ PluginOptions) bool { return !s.policy.Uses(print) })
}

// leave tidies up after a plugin whose file is gone.
func (s *supervisor) leave() {
	s.host.o.Dispatcher.Removed(s.name)
	s.host.metrics.forget(s.name)
	if err := s.store.Clear(); err != nil {
		s.log.Warn("copies of a removed plugin stay", "err", err)
	}
}
