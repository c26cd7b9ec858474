package pluginhost

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"balhost/sdk/wire"
)

// supervisor keeps one plugin running: the version that should run now (want),
// by as many processes as that takes (act). It never gives one up for good.
//
// All that happens, be it in the folder, to a process or on the command line,
// goes through its mailbox, so that run alone decides.
type supervisor struct {
	host  *Host
	name  string
	log   hclog.Logger
	box   mailbox
	first func() // its first process was described or failed; the first call counts
	lines *output
	over  chan struct{} // closed when run has ended

	// What follows is owned by run.
	rnd       *rand.Rand
	tasks     errgroup.Group  // the processes' lives
	file      *file           // what the folder holds; nil: nothing that has settled
	removed   bool            // its file is gone, and so it shall be
	left      bool            // and all is tidied up
	content   binary          // the last content of the folder that was taken; zero: none
	declined  string          // why the file that is there was not taken; "": it was
	asked     int             // how often file was to be staged
	forcing   bool            // the next time at a person's order
	restage   time.Time       // try again to take file; zero: no need
	whole     map[string]file // copies that were seen to be whole, by sha256
	options   PluginOptions
	print     string // of the options
	forced    int    // starts that a person has forced
	record    record
	good      *version // proven in this host's life, the last one; nil: none
	lives     map[*life]bool
	serving   *life // takes events; nil: none
	green     *life // is starting, to serve in its place; nil: none
	trier     *life // for suspects; nil: none
	failures  int   // in a row
	retry     time.Time
	why       string // what the last failure was
	probation *probation
	before    score // of what served before
	told      bool  // something is known of it

	mu     sync.Mutex // guards status and shown
	status Status
	shown  *life // that status tells of; nil: none
}

func newSupervisor(h *Host, name string, o PluginOptions, first func()) *supervisor {
	log := h.o.Log.With("plugin", name)
	return &supervisor{
		host: h, name: name, log: log, lines: newOutput(log, h.limits.lines), box: mailbox{hint: make(chan struct{}, 1)},
		first: sync.OnceFunc(first), over: make(chan struct{}),
		rnd:     rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		options: o, print: fingerprint(o), lives: map[*life]bool{}, whole: map[string]file{},
		status: Status{Name: name, State: Discovered},
	}
}

// run supervises until ctx ends or the plugin's file is gone, and all processes
// are drained and gone.
func (s *supervisor) run(ctx context.Context) error {
	defer s.first()
	defer close(s.over)
	var err error
	if s.record, err = s.store().load(); err != nil {
		s.log.Warn("the plugin's earlier contents are forgotten", "err", err)
	}
	done := ctx.Done()
	for {
		for _, happened := range s.box.take() {
			happened()
		}
		s.judge(ctx)
		s.act(ctx)
		s.show(ctx)
		if len(s.lives) == 0 && (ctx.Err() != nil || s.left && s.file == nil && s.host.forget(s)) {
			return s.tasks.Wait()
		}
		alarm := time.NewTimer(s.nap())
		select {
		case <-s.box.hint:
		case <-alarm.C:
		case <-done:
			done = nil // the ends of the processes come by the box
		}
		alarm.Stop()
	}
}

// nap is how long nothing is to do unless something happens.
func (s *supervisor) nap() time.Duration {
	next := time.Now().Add(time.Hour)
	soon := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	soon(s.retry)
	soon(s.restage)
	if s.probation != nil {
		soon(s.probation.next)
	}
	return time.Until(next)
}

// act brings about what should run now: it starts what is missing, and stops
// what is in the way. Whatever it has to wait for comes by the box, or is a time.
func (s *supervisor) act(ctx context.Context) {
	now := time.Now()
	if !s.restage.IsZero() && !now.Before(s.restage) {
		s.stage()
	}
	s.mend()
	want, wanted := s.want()
	switch {
	case ctx.Err() != nil: // which ends all lives
		return
	case s.removed:
		s.stopAll(errRemoved)
		if len(s.lives) == 0 && s.file == nil && !s.left {
			s.leave()
		}
	case !wanted:
	case s.green != nil:
		if !s.green.version.same(want) {
			s.green.stop(errReplaced) // a newer one supersedes it; we are here again at its end
		}
	case s.serving != nil && s.serving.version.same(want):
	case now.Before(s.retry):
	case s.alone(want):
		s.stopAll(errReplaced)
		if len(s.lives) == 0 {
			s.green = s.start(ctx, want)
		}
	case s.serving != nil && !s.refused(s.serving.version) && s.leaving() > 0:
		// One change at a time; a way back doesn't wait.
	default:
		s.green = s.start(ctx, want)
	}
	if l := s.serving; l != nil && l.running && !l.runs && s.leaving() == 0 {
		l.runs = true
		l.session.Send(&wire.HostFrame{Run: true}) // no other instance of it runs
	}
}

// mend has the copy of what is to be started made anew, if that is damaged.
func (s *supervisor) mend() {
	sum := s.content.sha256
	if sum == "" || s.removed || s.serving != nil && s.serving.version.bin.sha256 == sum {
		return
	}
	if _, ok := s.copyOf(sum); !ok {
		s.content = binary{}
		if s.stage(); s.file == nil {
			s.resume()
		}
	}
}

// want says what should run now; false for nothing.
func (s *supervisor) want() (version, bool) {
	v := version{bin: s.content, options: s.options, print: s.print, forced: s.forced}
	switch {
	case s.removed, s.content.sha256 == "":
		return v, false
	case s.record.pinned(s.content.sha256) != "":
		if bin, ok := s.copyOf(s.record.Pin.To); ok {
			v.bin = bin
		}
	}
	if !s.refused(v) {
		return v, true
	}
	return s.fallback(v)
}

func (s *supervisor) refused(v version) bool {
	_, refused := s.record.refusal(v)
	return refused
}

// fallback finds what to go back to from v: what serves, if that is another, or
// what was proven last, with the options that it was proven with, if they are known.
func (s *supervisor) fallback(v version) (version, bool) {
	usable := func(w version) bool {
		_, staged := s.copyOf(w.bin.sha256)
		other := w.bin.sha256 != v.bin.sha256 || w.print != v.print
		return staged && other && !s.refused(w) && checkSum(file{}, w.bin.sha256, s.options) == ""
	}
	if s.serving != nil && usable(s.serving.version) {
		return s.serving.version, true
	}
	if s.good != nil && usable(*s.good) {
		return *s.good, true
	}
	for i := len(s.record.Proven) - 1; i >= 0; i-- {
		bin, _ := s.copyOf(s.record.Proven[i])
		w := version{bin: bin, options: s.options, print: s.print, forced: v.forced}
		if usable(w) {
			return w, true
		}
	}
	return v, false
}

// alone reports whether v can't start beside what runs.
func (s *supervisor) alone(v version) bool {
	for l := range s.lives {
		if l.version.options.Strategy == Recreate {
			return true
		}
	}
	return v.options.Strategy == Recreate
}

// leaving counts the processes that only have to end.
func (s *supervisor) leaving() (n int) {
	for l := range s.lives {
		if l != s.serving && l != s.green && l != s.trier {
			n++
		}
	}
	return n
}

// stopAll ends all processes in order.
func (s *supervisor) stopAll(cause error) {
	for l := range s.lives {
		l.stop(cause)
	}
	s.serving, s.green, s.trier, s.probation = nil, nil, nil, nil
}

// start starts a process of v.
func (s *supervisor) start(ctx context.Context, v version) *life {
	if !s.retry.IsZero() {
		s.retry = time.Time{}
		s.restarted()
	}
	return s.launch(ctx, &life{version: v})
}

// launch runs a life; its news come by the box.
func (s *supervisor) launch(ctx context.Context, l *life) *life {
	alive, cancel := context.WithCancelCause(ctx)
	l.host, l.name, l.log, l.dir, l.cancel = s.host, s.name, s.log, s.store().work(), cancel
	l.proven = s.record.proven(l.version.bin.sha256)
	l.level, l.lines, l.permit = s.lines.name(), s.lines, make(chan struct{})
	l.news = func(n news) { s.box.put(func() { s.hear(ctx, l, n) }) }
	s.lives[l] = true
	s.tasks.Go(func() error {
		err := l.run(alive, ctx)
		cancel(nil)
		s.box.put(func() { s.ended(ctx, l, err) })
		return nil
	})
	return l
}

// hear follows a process through its life.
func (s *supervisor) hear(ctx context.Context, l *life, n news) {
	switch n {
	case described: // its claims are known, so the boot need not wait for it
		l.known, s.told = true, true
	case configured:
		s.configured(l)
	case ready:
		s.ready(l)
	case wantsTrier:
		s.try(ctx, l)
	case retired:
		if l == s.trier {
			l.stop(errRetired)
		}
	case buried:
		if l == s.trier {
			s.trier = nil // the dispatcher may ask for the next one at once
		}
	}
}

// configured: it may serve from now on, if it is still wanted.
func (s *supervisor) configured(l *life) {
	switch l {
	case s.trier:
	case s.green:
		if s.probation == nil {
			if score, known := s.score(s.serving); known { // else as before
				s.before = score
			}
		}
		s.serving, s.green, s.probation = l, nil, nil
	default:
		return // it is being stopped
	}
	close(l.permit)
}

// ready: it serves. What served before finishes what it holds.
func (s *supervisor) ready(l *life) {
	l.running = true
	s.tellSessions(l)
	if l != s.serving {
		return
	}
	for other := range s.lives {
		if other != s.serving && other != s.green {
			other.stop(errReplaced)
		}
	}
	s.trier, s.why = nil, ""
	s.watch(l)
}

// try starts a second process of what l is one of, for suspects.
func (s *supervisor) try(ctx context.Context, l *life) {
	if l == s.serving && s.trier == nil && ctx.Err() == nil && !s.alone(l.version) {
		if _, ok := s.copyOf(l.version.bin.sha256); !ok { // somebody has removed it
			s.stage()
			return // the dispatcher asks again
		}
		s.log.Info("a second process is started to try suspects in")
		s.trier = s.launch(ctx, &life{version: l.version, trier: true})
	}
}

// ended: nothing is left of a process.
func (s *supervisor) ended(ctx context.Context, l *life, err error) {
	delete(s.lives, l)
	asked := l.asked || ctx.Err() != nil
	switch {
	case l.trier:
		if l == s.trier {
			s.trier = nil
		}
		s.log.Info("the process for suspects has ended", "err", err)
	case l == s.green:
		s.green = nil
		if !asked {
			s.failed(l, err)
		}
	case l == s.serving:
		s.serving = nil
		if !asked {
			s.failed(l, err)
		}
		s.probation = nil
	}
}

// failed decides whether a version is refused for its failure or tried again.
func (s *supervisor) failed(l *life, err error) {
	v, back := l.version, s.serving != nil
	if !back {
		_, back = s.fallback(v)
	}
	watched := s.probation != nil && s.probation.life == l
	spared := watched && s.before.crashes > 0 // the one before it was no better
	trial := l.ready.IsZero() || watched && !spared
	_, refusal := errors.AsType[refusal](err)
	if !s.isProven(v) && trial && (refusal || back && l.process != nil && l.process.started()) {
		s.refuse(v, err.Error())
		return
	}
	if s.healthy(l) {
		s.failures = 0
	}
	s.failures++
	if spared {
		s.before.crashes--
	} else {
		s.before.crashes = s.failures
	}
	s.backoff(err)
}

// healthy reports whether it has served for so long that what was before is forgotten.
func (s *supervisor) healthy(l *life) bool {
	return !l.ready.IsZero() && time.Since(l.ready) >= s.host.limits.healthy
}

// isProven reports whether v's failures are its circumstances' fault: the
// content has worked, and with these options as far as we know.
func (s *supervisor) isProven(v version) bool {
	if !s.record.proven(v.bin.sha256) {
		return false
	}
	return s.good == nil || s.good.bin.sha256 != v.bin.sha256 || s.good.print == v.print
}

// refuse gives a version up, until the file or the config changes. What is to
// take its place follows at once (act).
func (s *supervisor) refuse(v version, reason string) {
	at := time.Now()
	s.record.refuse(v, reason, at)
	s.remember()
	s.failures, s.retry, s.why = 0, time.Time{}, reason
	s.host.metrics.refusals.WithLabelValues(s.name).Inc()
	s.blame(Refusal{SHA256: v.bin.sha256, Reason: reason, At: at, Tried: true})
	switch _, back := s.fallback(v); {
	case s.serving != nil && !s.serving.version.same(v):
		s.log.Error("new content of the plugin refused until its file or config changes: what served before goes on", "err", reason)
	case back:
		s.log.Error("plugin is rolled back to the last content that was proven", "err", reason)
	default:
		s.log.Error("plugin refused until its file changes", "err", reason)
	}
}

// prove: v has done well, and is what to go back to.
func (s *supervisor) prove(v version) {
	s.good = &v
	if s.record.Pin == nil || s.record.Pin.To != v.bin.sha256 { // one gone back to keeps its place among the others
		s.record.prove(v.bin.sha256)
	}
	s.remember()
}

// remember writes the record, if there is something to remember, and removes the
// copies that nobody needs.
func (s *supervisor) remember() {
	if s.record.empty() && !s.store().marked() {
		return
	}
	if err := s.store().save(s.record); err != nil {
		s.log.Warn("the plugin's contents are not remembered over a restart", "err", err)
	}
	needed := append([]string{s.content.sha256}, s.record.Proven...)
	if s.record.Pin != nil {
		needed = append(needed, s.record.Pin.To)
	}
	if s.good != nil {
		needed = append(needed, s.good.bin.sha256)
	}
	for l := range s.lives {
		needed = append(needed, l.version.bin.sha256)
	}
	if err := s.store().keep(needed...); err != nil {
		s.log.Warn("old copies of the plugin stay", "err", err)
	}
	maps.DeleteFunc(s.whole, func(sum string, _ file) bool { return !slices.Contains(needed, sum) })
}

// leave tidies up after a plugin whose file is gone.
func (s *supervisor) leave() {
	s.left, s.told = true, true
	s.content, s.record, s.good = binary{}, record{}, nil
	s.declined, s.why, s.failures, s.retry = "", "", 0, time.Time{}
	s.host.o.Dispatcher.Removed(s.name)
	s.host.metrics.forget(s.name)
	if err := s.store().clear(); err != nil {
		s.log.Warn("copies of a removed plugin stay", "err", err)
	}
}
