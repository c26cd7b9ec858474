// Package status has the types in which engines report their state. An engine fills them
// in, and package admin shows them. Their JSON is a part of the API, so fields are only
// added. A zero time means never, and is absent in the JSON. The package starts nothing
// and keeps nothing. Start at [Work].
package status

import "time"

// Work is what a plugin has to do and has done. Counters count since the start.
type Work struct {
	Paused        bool           `json:"paused"`                       // it is given no events; see balhost resume
	PausedSince   time.Time      `json:"paused_since,omitzero"`        // absent if an older host paused it
	PausedDevices []PausedDevice `json:"paused_devices,omitempty"`     // whose messages wait
	PausedLanes   []PausedLane   `json:"paused_lanes,omitempty"`       // by an ordering key
	Lost          []string       `json:"lost_categories,omitempty"`    // asked for, but another plugin has them
	LostTo        []string       `json:"lost_categories_to,omitempty"` // the plugin that has each of these
	Order         string         `json:"order,omitempty"`
	Waiting       int            `json:"waiting"`                  // events that wait for their next attempt, each with its lane
	NextTry       time.Time      `json:"next_try,omitzero"`        // when the first of them is tried again
	LastTry       time.Time      `json:"last_try,omitzero"`        // when the last of them is tried again
	Pending       int            `json:"pending"`                  // events stored and not handled
	InFlight      int            `json:"in_flight"`                // of these, given to the plugin
	Oldest        time.Time      `json:"oldest,omitzero"`          // of the pending events, when the first was stored
	HandlingP50   float64        `json:"handling_p50_ms"`          // from giving out an event to the plugin's result, over the last 5 to 10 minutes
	HandlingP99   float64        `json:"handling_p99_ms"`          // 1 % take longer
	Lanes         int            `json:"lanes"`                    // lanes with something pending
	Stuck         int            `json:"stuck"`                    // handlers that run longer than handler_timeout
	StuckHandlers []StuckHandler `json:"stuck_handlers,omitempty"` // of these, the ten that began first
	Suspects      int            `json:"suspects"`                 // events that were in flight at too many crashes, to be tried alone
	LastFailure   string         `json:"last_failure,omitempty"`   // why the last event that failed was not handled
	LastFailureAt time.Time      `json:"last_failure_at,omitzero"`
	Troubles      []Trouble      `json:"troubles,omitempty"` // why events were not handled, the one that came last first; of many kinds the last eight
	Handled       uint64         `json:"handled"`
	Rate          float64        `json:"rate"` // events handled per second, over the last few seconds
	Retried       uint64         `json:"retried"`
	Died          uint64         `json:"died"`   // events that it sent to the dead letters
	Reruns        uint64         `json:"reruns"` // handlers and updates that ran again because state that they had read had changed
	RerunKey      string         `json:"last_rerun_key,omitempty"`
	RerunAt       time.Time      `json:"last_rerun_at,omitzero"`
	Turns         int            `json:"turns"` // handlers, commits and updates that wait for keys that others have
}

// Trouble is one reason why events are not handled, or downstreams not taken, and how often
// that was so since the start. Those whose words differ in a number or a name only are one.
type Trouble struct {
	Code   string    `json:"code,omitempty"` // of a downstream
	Reason string    `json:"reason"`         // as it was said last
	Gone   bool      `json:"gone,omitempty"` // the targets of these downstreams do not exist any more: routine
	Again  uint64    `json:"again"`          // attempts after which there is another one
	Ended  uint64    `json:"ended"`          // that ended it: a dead letter, or a downstream that failed or expired
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

// Times is how often it was so.
func (t Trouble) Times() int { return int(t.Again + t.Ended) }

// State is the state of a plugin or of a connection to CCS.
type State string

// Process is the content of a plugin's file and the process that runs it.
type Process struct {
	State        State       `json:"state"`             // discovered, starting, running, draining, backoff, refused, stopped, ignored, absent
	Reason       string      `json:"reason,omitempty"`  // why it is not running, with what to do
	Version      string      `json:"version,omitempty"` // of the content that runs or ran last
	SHA256       string      `json:"sha256,omitempty"`  // of that content
	PID          int         `json:"pid,omitempty"`
	Started      time.Time   `json:"started,omitzero"`
	Restarts     int         `json:"restarts"`               // since the host's start; a changed file doesn't count
	Candidate    string      `json:"candidate,omitempty"`    // sha256 of content that is being started to take over
	NextStart    time.Time   `json:"next_start,omitzero"`    // in state backoff: when it is started again
	Probation    time.Time   `json:"probation,omitzero"`     // new content is watched until then, and until it has handled an event if there is one; if it does badly, it is rolled back
	Previous     []string    `json:"previous,omitempty"`     // sha256 of contents that rollback can go to, the newest first
	Debug        bool        `json:"debug,omitempty"`        // it may stand in a debugger: nothing notices that it hangs
	Pinned       bool        `json:"pinned,omitempty"`       // rolled back by a person: stays until the file changes
	Memory       int64       `json:"memory_bytes,omitempty"` // resident, of the process alone
	Refusal      *Refusal    `json:"last_refusal,omitempty"` // nil if later content was accepted
	Categories   []string    `json:"categories,omitempty"`
	MetricsError string      `json:"metrics_error,omitempty"` // why the metrics of its own were not had at the last scrape
	RunFailure   *RunFailure `json:"run_failure,omitempty"`   // of the plugin's Run in the process that serves
	LastCrash    *Crash      `json:"last_crash,omitempty"`    // nil if no process has ended unasked since the host's start; of a refused content its refusal tells
}

// Crash tells how a process ended unasked.
type Crash struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// RunFailure tells of a Run that failed. The SDK starts it again.
type RunFailure struct {
	Failing  bool      `json:"failing"`  // since then it has not run for a minute
	Failures int       `json:"failures"` // in a row
	Error    string    `json:"error"`
	At       time.Time `json:"at"`
	Next     time.Time `json:"next"` // when it is or was started again
}

// Refusal says which content of a plugin was not accepted, or was rolled back, and why.
type Refusal struct {
	SHA256 string    `json:"sha256,omitempty"` // "": it was not even read
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Tried: it was run. It is run again when the file or the config changes, or by a
	// reload with force. If not Tried, Reason says what to mend, and the host notices that.
	Tried bool `json:"tried"`
	// Again is when it is run once more in any case, since what it lacked may lie outside
	// of it. A touch of its file, or a reload of the plugin, does so at once.
	Again time.Time `json:"again,omitzero"`
}

// Connection is one connection of a session.
type Connection struct {
	Number    int       `json:"number"`                        // counts up over the host's life
	State     State     `json:"state"`                         // dialing, opening, ready, draining, waiting
	Since     time.Time `json:"since"`                         // of this state
	Address   string    `json:"address,omitempty"`             // what it connects to: one of the addresses behind the session's address
	NextTry   time.Time `json:"next_try,omitzero"`             // in state waiting: when it is tried again, if that is known
	NextTryIn float64   `json:"next_try_in_seconds,omitempty"` // the same, in seconds from now
	Window    int       `json:"window"`                        // how many downstreams may be unanswered at a time
	InFlight  int       `json:"in_flight"`
	Unacked   int       `json:"unacked"`           // upstreams that were read and are not acked yet; each holds a slot of CCS's window
	Unackable int       `json:"unackable"`         // upstreams that can't be acked; each holds a slot until the connection ends
	Refused   string    `json:"refused,omitempty"` // why upstreams are not stored now; CCS sends them again
}

// Unusable is one payload from CCS that could not be understood, or could not be stored.
type Unusable struct {
	At        time.Time `json:"at"`
	Session   string    `json:"session"`
	Reason    string    `json:"reason"`
	From      string    `json:"from,omitempty"` // with From and MessageID it is acked and a dead letter, unless Reason says otherwise
	MessageID string    `json:"message_id,omitempty"`
}

// PausedDevice is a device whose messages wait at one plugin, because a person paused it.
type PausedDevice struct {
	Device  string    `json:"device"`    // its token, shortened
	Session string    `json:"sender_id"` // of its session
	Since   time.Time `json:"since"`
	Hash    uint64    `json:"-"` // the host's own name for it
}

// PausedLane is a lane by an ordering key whose messages wait at one plugin, because a person
// paused it.
type PausedLane struct {
	Lane   string    `json:"lane"` // its key, shortened
	Since  time.Time `json:"since"`
	Hashes []uint64  `json:"-"` // the host's own names for it
}

// StuckHandler is a handler that still runs after its time-out. Its lane waits, until a
// person gives the handler up.
type StuckHandler struct {
	Event    string    `json:"event"` // its id
	Kind     string    `json:"kind"`
	Device   string    `json:"device,omitempty"` // its token; shortened for who may only read
	Category string    `json:"category,omitempty"`
	Started  time.Time `json:"started"`
	Behind   int       `json:"behind"`            // events in its lane that wait for it
	GivenUp  time.Time `json:"given_up,omitzero"` // its lane has gone on since then, and its result will not count
}

// Holding is a category that no plugin claims. Its upstreams are stored and wait.
type Holding struct {
	Category string    `json:"category"` // "" for upstreams without one
	Pending  int       `json:"pending"`
	Since    time.Time `json:"since"` // of the oldest
}

// Rest sums up what a listing leaves out.
type Rest struct {
	Categories int `json:"categories"`
	Pending    int `json:"pending"`
}

// Recent is one event that ended.
type Recent struct {
	At       time.Time `json:"at"`
	Plugin   string    `json:"plugin"`
	Kind     string    `json:"kind"` // upstream, outcome or receipt
	End      string    `json:"end"`  // handled, retried or dead
	Category string    `json:"category,omitempty"`
}
