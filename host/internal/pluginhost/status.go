package pluginhost

import "time"

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
}
