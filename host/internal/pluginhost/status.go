package pluginhost

import (
	"time"

	"balhost/host/internal/feed"
	"balhost/host/internal/plain"
	"balhost/host/internal/pluginhost/policy"
	"balhost/host/internal/pluginhost/process"
	"balhost/host/internal/status"
)

// State says where a plugin is in its life; see the policy's.
type State = policy.State

// The states of a plugin.
const (
	Discovered = policy.Discovered
	Starting   = policy.Starting
	Running    = policy.Running
	Draining   = policy.Draining
	Backoff    = policy.Backoff
	Refused    = policy.Refused
	Stopped    = policy.Stopped
)

// Status is what a person should know about one plugin.
type Status struct {
	Name string
	status.Process
}

// Ignored is what has a plugin's name in the folder and is none, by name with the
// reason.
func (h *Host) Ignored() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ignored // never changed, only replaced
}

// Status tells of every plugin that has a file or a process, by name. What it returns is
// the caller's own.
func (h *Host) Status() []Status {
	plugins, _ := h.named("") // no error for all
	all := make([]Status, 0, len(plugins))
	for _, s := range plugins {
		s.mu.Lock()
		st := s.status
		if s.shown != nil {
			st.RunFailure = s.shown.failure.Load()
		}
		s.mu.Unlock()
		if f := st.RunFailure; f != nil {
			st.RunFailure = new(*f)
			st.RunFailure.Failing = failing(f, time.Now())
		}
		if st.Refusal != nil {
			st.Refusal = new(*st.Refusal)
		}
		all = append(all, st)
	}
	weighed(all)
	return all
}

// weighed notes how much memory the plugins use. It is one look at all processes of the
// system, with no lock.
func weighed(all []Status) {
	pids := make([]int, len(all))
	for i, st := range all {
		pids[i] = st.PID
	}
	for i, bytes := range process.Memory(pids...) {
		if all[i].PID != 0 {
			all[i].Memory = bytes
		}
	}
}

// show tells what the policy has decided, and what is known of the process that
// a person should see: the version that ran last stays there after its end.
func (s *supervisor) show(d policy.Decision) {
	st := Status{s.name, status.Process{
		State: d.State, Reason: d.Reason, Restarts: d.Restarts, Candidate: d.Candidate,
		Probation: d.Probation, Previous: d.Previous, Pinned: d.Pinned, Refusal: d.Refusal, LastCrash: d.Crash,
	}}
	if d.State == Backoff {
		st.NextStart = d.Retry
	}
	l := s.lives[d.Shown]
	s.mu.Lock()
	was := s.status
	st.SHA256, st.Version, st.Categories, st.MetricsError = was.SHA256, was.Version, was.Categories, was.MetricsError
	if l != nil && l.version.SHA256 != was.SHA256 {
		st.SHA256, st.Version, st.Categories = l.version.SHA256, "", nil
	}
	known := l != nil && l.known
	if known {
		st.PID, st.Started, st.Debug = l.process.PID(), l.began, l.options.Debug
		st.Version, st.Categories = plain.Line(l.manifest.GetVersion(), 64), l.facts.Claim.Categories
	}
	s.status, s.shown = st, l
	s.mu.Unlock()
	if st.State != was.State || st.PID != was.PID && st.State == Running {
		facts := []any{"state", string(st.State), "version", st.Version, "sha256", st.SHA256[:min(12, len(st.SHA256))]}
		if st.PID != 0 { // for a debugger, among others
			facts = append(facts, "pid", st.PID)
		}
		s.log.Info("plugin "+string(st.State), facts...)
		if st.State == Running {
			s.tell(feed.Step{What: feed.Started, Version: st.Version})
		}
	}
	// What the plugin is, or what became of its file, is known.
	if known || d.State == Backoff || d.State == Refused || d.State == Stopped || d.State == Discovered && d.Reason != "" {
		s.first() // without s.mu: it locks Host.mu, and Status locks these in the other order
	}
}

// tell tells those who watch what became of the plugin.
func (s *supervisor) tell(step feed.Step) {
	step.Kind, step.Plugin = feed.Plugin, s.name
	s.host.o.Feed.Tell(step)
}
