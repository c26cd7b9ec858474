package pluginhost

import (
	"maps"
	"slices"
	"time"
)

// State says where a plugin is in its life.
type State string

// The states of a plugin.
const (
	Discovered State = "discovered" // seen in the folder, waiting until the file has settled
	Starting   State = "starting"   // from the start of its process until it is configured
	Running    State = "running"    // takes events
	Draining   State = "draining"   // finishes what it holds, then is stopped
	Backoff    State = "backoff"    // crashed, hung or was not able to start; tried again at Retry
	Refused    State = "refused"    // this content is not tried again until the file changes
	Stopped    State = "stopped"    // its file is gone, or the host is stopping
)

// Status is what a person should know about one plugin.
type Status struct {
	Name       string    `json:"name"`
	State      State     `json:"state"`
	Reason     string    `json:"reason,omitempty"` // why it is in this state, or why its last process ended
	Version    string    `json:"version,omitempty"`
	SHA256     string    `json:"sha256,omitempty"` // of the content that runs or ran last
	PID        int       `json:"pid,omitempty"`    // 0 without a process
	Started    time.Time `json:"started,omitzero"` // of the process, zero without one
	Retry      time.Time `json:"retry,omitzero"`   // Backoff: when it is started again
	Restarts   int       `json:"restarts"`         // since the host's start; a changed file doesn't count
	Categories []string  `json:"categories,omitempty"`
	Candidate  string    `json:"candidate,omitempty"` // sha256 of content that is being started to take over
	Probation  time.Time `json:"probation,omitzero"`  // until then new content is watched, and rolled back when it does badly
	Previous   []string  `json:"previous,omitempty"`  // sha256 of other proven contents that are kept, the newest first
	Pinned     bool      `json:"pinned,omitempty"`    // rolled back by a person: stays until the file changes
	Memory     int64     `json:"memory,omitempty"`    // bytes resident, of the process alone
	Refusal    *Refusal  `json:"refusal,omitempty"`   // the last one; nil when a later content was taken
}

// Refusal says which content was not taken, or was rolled back, and why. It is
// not tried again until the file or the config changes, or by Reload with force.
type Refusal struct {
	SHA256 string    `json:"sha256,omitempty"` // "": it was not even read
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Status tells of every plugin that was seen since the start, by name.
func (h *Host) Status() []Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]Status, 0, len(h.plugins))
	for _, name := range slices.Sorted(maps.Keys(h.plugins)) {
		s := h.plugins[name]
		s.mu.Lock()
		all = append(all, s.status)
		s.mu.Unlock()
	}
	return all
}

// change edits the status, and keeps what belongs to a process from outliving it.
func (s *supervisor) change(state State, edit func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.State, s.status.Retry = state, time.Time{}
	if state != Running && state != Draining {
		s.status.PID, s.status.Started = 0, time.Time{}
	}
	edit(&s.status)
}

// set is a state without a process.
func (s *supervisor) set(state State, reason string) {
	s.change(state, func(st *Status) { st.Reason = reason })
}

// starting: a process of bin is about to be started. The reason why the last
// one ended stays until this one runs.
func (s *supervisor) starting(bin binary) {
	s.change(Starting, func(st *Status) { st.SHA256, st.Version = bin.sha256, "" })
}

// follow takes over what is known of a process that was described.
func (s *supervisor) follow(state State, reason string, p *Instance) {
	s.change(state, func(st *Status) {
		st.PID, st.Version, st.Categories = p.PID, p.Version, p.Options.Categories
		if st.Started.IsZero() {
			st.Started = time.Now()
		}
		if state != Starting {
			st.Reason = reason
		}
	})
	s.log.Info("plugin "+string(state), "state", string(state))
}

// backoff: it failed, and is started again after the delay.
func (s *supervisor) backoff(err error, failures int, delay time.Duration) {
	s.change(Backoff, func(st *Status) { st.Reason, st.Retry = err.Error(), time.Now().Add(delay) })
	s.log.Warn("plugin failed: started again after a while", "attempt", failures, "err", err)
}

// busy: the file is still being written; the boot doesn't wait for it.
func (s *supervisor) busy() {
	s.log.Warn("plugin's file is still being written: not taken yet")
	s.mu.Lock()
	if s.status.State == Discovered {
		s.status.Reason = "its file is still being written"
	}
	s.mu.Unlock()
	s.first()
}

// restarted counts.
func (s *supervisor) restarted() {
	s.mu.Lock()
	s.status.Restarts++
	s.mu.Unlock()
	s.host.metrics.restarts.WithLabelValues(s.name).Inc()
}
