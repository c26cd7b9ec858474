package pluginhost

import (
	"context"
	"slices"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/mend"
)

// State says where a plugin is in its life.
type State string

// The states of a plugin.
const (
	Discovered State = "discovered" // seen in the folder, waiting until the file has settled
	Starting   State = "starting"   // from the start of its process until it is configured
	Running    State = "running"    // takes events
	Draining   State = "draining"   // finishes what it holds, if anything, then is stopped
	Backoff    State = "backoff"    // crashed, hung or was not able to start; tried again at Retry
	Refused    State = "refused"    // this content is not tried again until the file changes
	Stopped    State = "stopped"    // its file is gone, or the host is stopping
)

// Status is what a person should know about one plugin.
type Status struct {
	Name       string      `json:"name"`
	State      State       `json:"state"`
	Reason     string      `json:"reason,omitempty"` // why it is in this state, or why its last process ended
	Version    string      `json:"version,omitempty"`
	SHA256     string      `json:"sha256,omitempty"` // of the content that runs or ran last
	PID        int         `json:"pid,omitempty"`    // 0 without a process
	Started    time.Time   `json:"started,omitzero"` // of the process, zero without one
	Retry      time.Time   `json:"retry,omitzero"`   // Backoff: when it is started again
	Restarts   int         `json:"restarts"`         // since the host's start; a changed file doesn't count
	Categories []string    `json:"categories,omitempty"`
	Candidate  string      `json:"candidate,omitempty"`   // sha256 of content that is being started to take over
	Probation  time.Time   `json:"probation,omitzero"`    // until then, and on until it has handled what there is, new content is watched, and rolled back when it does badly
	Previous   []string    `json:"previous,omitempty"`    // sha256 of other proven contents that are kept, the newest first
	Pinned     bool        `json:"pinned,omitempty"`      // rolled back by a person: stays until the file changes
	Memory     int64       `json:"memory,omitempty"`      // bytes resident, of the process alone
	Run        *RunFailure `json:"run_failure,omitempty"` // of the process that serves; nil: none
	Refusal    *Refusal    `json:"refusal,omitempty"`     // the last one; nil when a later content was taken
}

// Refusal says which content was not taken, or was rolled back, and why.
type Refusal struct {
	SHA256 string    `json:"sha256,omitempty"` // "": it was not even read
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Tried: it was run, and isn't again until the file or the config changes, or
	// by Reload with force. Else the reason says what to mend; that is noticed.
	Tried bool `json:"tried"`
}

// Ignored is what has a plugin's name in the folder and is none, by name with the
// reason.
func (h *Host) Ignored() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ignored // never changed, only replaced
}

// Status tells of every plugin that has a file or a process, by name.
func (h *Host) Status() []Status {
	plugins, _ := h.named("") // no error for all
	all := make([]Status, 0, len(plugins))
	for _, s := range plugins {
		s.mu.Lock()
		status := s.status
		if s.shown != nil {
			status.Run = s.shown.failure.Load()
		}
		s.mu.Unlock()
		if status.PID != 0 { // a look at /proc, so with no lock
			status.Memory = memory(status.PID)
		}
		all = append(all, status)
	}
	return all
}

// show derives the status from what there is.
func (s *supervisor) show(ctx context.Context) {
	st := Status{Name: s.name, State: Stopped, Pinned: s.record.pinned(s.content.sha256) != "", Retry: s.retry}
	l, ending := s.serving, context.Cause(ctx)
	switch {
	case ending != nil:
		ending = errStopping
	case s.removed:
		ending = errRemoved
	}
	if l == nil {
		l = s.green
	}
	for other := range s.lives {
		if l == nil {
			l = other
		}
	}
	_, wanted := s.want()
	switch {
	case ending != nil && len(s.lives) > 0:
		st.State, st.Reason = Draining, ending.Error()
	case ending != nil:
		st.Reason = ending.Error()
	case l != nil && l == s.serving && (l.running || s.leaving() > 0): // the old one serves until it does
		st.State, st.Reason = Running, s.why
	case l != nil && (l == s.serving || l == s.green):
		st.State, st.Reason = Starting, s.why
	case l != nil:
		st.State, st.Reason = Draining, errReplaced.Error()
	case s.content.sha256 != "" && !wanted:
		st.State, st.Reason = Refused, s.why
	case s.content.sha256 == "" && s.declined != "":
		st.State, st.Reason = Refused, s.declined
	case s.content.sha256 == "" && s.why != "" && !s.restage.IsZero():
		st.State, st.Reason, st.Retry = Backoff, s.why, s.restage
	case !s.retry.IsZero():
		st.State, st.Reason = Backoff, s.why
	default:
		st.State, st.Reason = Discovered, s.why
	}
	if s.green != nil && s.green != l {
		st.Candidate = s.green.version.bin.sha256
	}
	if s.probation != nil {
		st.Probation = s.probation.until
	}
	for _, sum := range slices.Backward(s.record.Proven) {
		if l == nil || sum != l.version.bin.sha256 {
			st.Previous = append(st.Previous, sum)
		}
	}
	s.mu.Lock()
	was := s.status
	st.Restarts, st.Refusal = was.Restarts, was.Refusal
	st.SHA256, st.Version, st.Categories = was.SHA256, was.Version, was.Categories
	if l != nil && l.version.bin.sha256 != was.SHA256 {
		st.SHA256, st.Version, st.Categories = l.version.bin.sha256, "", nil
	}
	if l != nil && l.known {
		st.PID, st.Started = l.process.pid(), l.began
		st.Version, st.Categories = clean(l.manifest.GetVersion(), 64), l.options.Categories
	}
	s.status, s.shown = st, l
	s.mu.Unlock()
	if st.State != was.State || st.PID != was.PID && st.State == Running {
		s.log.Info("plugin "+string(st.State), "state", string(st.State), "version", st.Version, "sha256", st.SHA256[:min(12, len(st.SHA256))])
	}
	if s.told || st.State == Backoff || st.State == Refused {
		s.first() // which asks for Host.mu, so without s.mu: Status takes them the other way round
	}
}

// blame notes a content that was not taken, or taken back.
func (s *supervisor) blame(r Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Refusal = &r
}

// clear forgets the last refusal: another content was taken.
func (s *supervisor) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Refusal = nil
}

// backoff: it failed, and is started again after a delay.
func (s *supervisor) backoff(err error) {
	err = mend.With(err)
	delay := backoff.Policy{Min: s.options.RestartMin, Max: s.options.RestartMax}.DelayAtLeast(s.failures, s.rnd)
	s.why, s.retry = err.Error(), time.Now().Add(delay)
	s.log.Warn("plugin failed: started again after a while", "attempt", s.failures, "err", err)
}

// busy: the file is still being written; the boot doesn't wait for it.
func (s *supervisor) busy() {
	s.box.put(func() {
		s.log.Warn("plugin's file is still being written: not taken yet")
		if !s.removed {
			s.resume()
		}
		if s.content.sha256 == "" {
			s.why = "its file is still being written"
		}
	})
}

// restarted counts.
func (s *supervisor) restarted() {
	s.mu.Lock()
	s.status.Restarts++
	s.mu.Unlock()
	s.host.metrics.restarts.WithLabelValues(s.name).Inc()
}
