// Package status has the words in which engines say how they are. An engine fills
// them in and package admin shows them, so their JSON is the API's: fields are only
// ever added. A time that is zero stands for never, and is absent in the JSON. The
// package starts nothing and keeps nothing. Start at [Work].
package status

import "time"

// Work is what a plugin has to do and has done. Counters count since the start.
type Work struct {
	Paused        bool           `json:"paused"`                    // it is given no events; see balhost resume
	Lost          []string       `json:"lost_categories,omitempty"` // asked for, but another plugin has them
	Order         string         `json:"order,omitempty"`
	Waiting       int            `json:"waiting"`                  // events that wait for their next attempt, each with its lane
	NextTry       time.Time      `json:"next_try,omitzero"`        // when the first of them is tried again
	LastTry       time.Time      `json:"last_try,omitzero"`        // and the last
	Pending       int            `json:"pending"`                  // events stored and not handled
	InFlight      int            `json:"in_flight"`                // of these, given to the plugin
	Lanes         int            `json:"lanes"`                    // lanes with something pending
	Stuck         int            `json:"stuck"`                    // handlers that went on past handler_timeout
	StuckHandlers []StuckHandler `json:"stuck_handlers,omitempty"` // of these, the ten that began first
	Suspects      int            `json:"suspects"`                 // events that were in flight at too many crashes, to be tried alone
	LastFailure   string         `json:"last_failure,omitempty"`   // why an event was not handled last
	LastFailureAt time.Time      `json:"last_failure_at,omitzero"`
	Handled       uint64         `json:"handled"`
	Rate          float64        `json:"rate"` // handled a second, over the last few
	Retried       uint64         `json:"retried"`
	Died          uint64         `json:"died"`   // events that it sent to the dead letters
	Reruns        uint64         `json:"reruns"` // handlers and updates that ran again because state that they had read had changed
	RerunKey      string         `json:"last_rerun_key,omitempty"`
	RerunAt       time.Time      `json:"last_rerun_at,omitzero"`
	Turns         int            `json:"turns"` // handlers, commits and updates that wait for keys which others have
}

// StuckHandler is a handler that went on after its time was up. Its lane waits.
type StuckHandler struct {
	Event   string    `json:"event"` // its id
	Kind    string    `json:"kind"`
	Device  string    `json:"device,omitempty"` // its token
	Started time.Time `json:"started"`
}

// Holding is a category that no plugin claims: its upstreams are stored and wait.
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
