package admin

import (
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/status"
)

// Status is the answer to `GET /v1/status`, the first question to a running host. Later
// versions only add fields. Counters count since this start, if no comment says otherwise.
// The ledger's totals count since the ledger was made.
type Status struct {
	Version       string            `json:"version"`
	PID           int               `json:"pid"`
	Started       time.Time         `json:"started"`
	Now           time.Time         `json:"now"` // by the host's clock, as all other times are
	UptimeSeconds int64             `json:"uptime_seconds"`
	Ready         bool              `json:"ready"`
	Reasons       []string          `json:"reasons,omitempty"`  // why it is not ready, each with what to do
	Warnings      []string          `json:"warnings,omitempty"` // what is wrong although the host is ready
	Sessions      []status.Session  `json:"sessions"`
	Ledger        Ledger            `json:"ledger"`
	Plugins       []Plugin          `json:"plugins"`
	Holding       []status.Holding  `json:"holding,omitempty"`     // upstreams that no plugin claims: the 100 categories with the most
	HoldingMore   status.Rest       `json:"holding_more,omitzero"` // the other categories
	Recent        []status.Recent   `json:"recent,omitempty"`      // the events that ended last, newest first
	Unusable      []status.Unusable `json:"unusable,omitempty"`    // what CCS sent last that could not be understood, newest first
	Log           *Log              `json:"log,omitempty"`         // the host's own log; absent if its lines are not counted
}

// Log counts the lines of the host's log that were lost.
type Log struct {
	Dropped uint64    `json:"dropped"`          // lines that were dropped because nobody read the log
	Failed  uint64    `json:"failed"`           // lines that could not be written
	Error   string    `json:"error,omitempty"`  // why the last of them could not
	Stalled time.Time `json:"stalled,omitzero"` // nobody has read the log since then
}

// Ledger is the store: its totals, and how much space is left.
type Ledger struct {
	entry.Counts
	Full       bool    `json:"full"`                      // below the soft limit: takes no new upstreams
	DiskFree   *int64  `json:"disk_free_bytes,omitempty"` // absent if the disk can't be read
	DiskError  string  `json:"disk_error,omitempty"`      // why it can't be read
	DiskSoft   int64   `json:"disk_soft_bytes"`           // full below this
	InodesFree *uint64 `json:"inodes_free,omitempty"`
	Encrypted  bool    `json:"encrypted"` // by a key file: the ledger's files, and backups of it
}

// Plugin is one file in the plugins folder, running or not.
type Plugin struct {
	Name string `json:"name"`
	status.Work
	status.Process
}
