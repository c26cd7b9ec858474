package pluginhost

import (
	"time"

	"balhost/host/internal/plain"
	"balhost/host/internal/pluginhost/policy"
	"balhost/host/internal/pluginhost/process"
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

// Refusal says which content was not taken, or was rolled back, and why.
type Refusal = policy.Refusal

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
	Probation  time.Time   `json:"probation,omitzero"`    // new content is watched until then, and on until it has handled what there is; if it does badly it is rolled back
	Previous   []string    `json:"previous,omitempty"`    // sha256 of other proven contents that are kept, the newest first
	Pinned     bool        `json:"pinned,omitempty"`      // rolled back by a person: stays until the file changes
	Memory     int64       `json:"memory,omitempty"`      // bytes resident, of the process alone
	Run        *RunFailure `json:"run_failure,omitempty"` // of the process that serves; nil: none
	Refusal    *Refusal    `json:"refusal,omitempty"`     // the last one; nil when a later content was taken
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
			status.Memory = process.Memory(status.PID)
		}
		all = append(all, status)
	}
	return all
}

// show tells what the policy has decided, and what is known of the process that
// a person should see: the version that ran last stays there after its end.
func (s *supervisor) show(d policy.Decision) {
	st := Status{
		Name: s.name, State: d.State, Reason: d.Reason, Retry: d.Retry, Restarts: d.Restarts, Candidate: d.Candidate,
		Probation: d.Probation, Previous: d.Previous, Pinned: d.Pinned, Refusal: d.Refusal,
	}
	l := s.lives[d.Shown]
	s.mu.Lock()
	was := s.status
	st.SHA256, st.Version, st.Categories = was.SHA256, was.Version, was.Categories
	if l != nil && l.version.SHA256 != was.SHA256 {
		st.SHA256, st.Version, st.Categories = l.version.SHA256, "", nil
	}
	known := l != nil && l.known
	if known {
		st.PID, st.Started = l.process.PID(), l.began
		st.Version, st.Categories = plain.Line(l.manifest.GetVersion(), 64), l.facts.Claim.Categories
	}
	s.status, s.shown = st, l
	s.mu.Unlock()
	if st.State != was.State || st.PID != was.PID && st.State == Running {
		s.log.Info("plugin "+string(st.State), "state", string(st.State), "version", st.Version, "sha256", st.SHA256[:min(12, len(st.SHA256))])
	}
	if known || d.Known() {
		s.first() // without s.mu: it locks Host.mu, and Status locks these in the other order
	}
}
