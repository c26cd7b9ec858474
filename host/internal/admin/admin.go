// Package admin is the host's HTTP API for people, scripts and probes, and the
// client that the commands use. It keeps P8's second half: what went to the
// dead letters is replayed or deleted here, by a person. It decides nothing:
// the parts hand it [Functions]. [Server.Run] owns its goroutines, which are
// net/http's. Start at [Listen].
package admin

import (
	"context"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// Functions are what the host lets the API do. All are set, all may be called
// at once from many goroutines. An error that wraps entry.ErrUnknown answers
// 404, entry.ErrExists 409, a [Refusal] or entry.ErrUnusable 422, entry.ErrTooLarge 413, entry.ErrFull 507, entry.ErrClosed 503, any other
// 500; its text is shown to the caller, so it says what to do.
type Functions struct {
	// Status collects the host's state; the server fills nothing in.
	Status func() Status
	// Live says why the process should be killed and started again; nil when it is fine.
	Live func() error
	// Ready says why the host can't do its work now, no reasons when it can, and
	// what else is wrong.
	Ready func() (reasons, warnings []string)
	// Send stores a downstream and returns its id when that is on disk (P2).
	// The message has been through Checked; a Session that does not exist is entry.ErrUnknown.
	Send func(context.Context, message.Checked) (messageID string, err error)
	// Dead lists dead letters by ascending id, after the id given ("" from the start), at most max.
	Dead func(after string, max int) ([]entry.DeadLetter, error)
	// DeadLetter is one of them, with its payload.
	DeadLetter func(id string) (entry.DeadLetter, error)
	// Replay puts dead letters back at the end of their lanes, in their old
	// order (P5), and returns how many, and those that were gone.
	Replay func(ids []string) (done int, gone []string, err error)
	// DeleteDead removes dead letters for good, and returns as Replay does.
	DeleteDead func(ids []string) (done int, gone []string, err error)
	// Retries tells what waits for its next attempt, of a plugin or of all with "", the soonest first, at most max.
	Retries func(ctx context.Context, plugin string, max int) (RetryPage, error)
	// RetryNow has some of it tried now, and tells how many, and which of those named don't wait.
	RetryNow func(context.Context, RetryOrder) (Ordered, error)
	// Pause gives a plugin no more events until Resume, over restarts of the host too.
	Pause, Resume func(ctx context.Context, plugin string) error
	// Rollback starts the plugin's previous proven content.
	Rollback func(ctx context.Context, plugin string) error
	// LogLevel changes how much a plugin logs, until its host ends; "" is the host's own level.
	LogLevel func(ctx context.Context, plugin, level string) error
	// Reload applies the config file again, all of it or nothing, and looks at
	// the plugins folder now. It tells what it did.
	Reload func(context.Context, ReloadOrder) (Reloaded, error)
	// Backup writes a backup of the ledger, at most so many bytes a second; 0 is as fast as it goes.
	Backup func(ctx context.Context, w io.Writer, perSecond int64) error
	// Verify holds all of the ledger against itself.
	Verify func(context.Context) (Verified, error)
}

// Refusal is an error that the caller can mend.
type Refusal struct {
	Err    error
	Config bool // in the config
}

func (r Refusal) Error() string { return r.Err.Error() }
func (r Refusal) Unwrap() error { return r.Err }

// ReloadOrder says what Reload is to do.
type ReloadOrder struct {
	Plugin string `json:"plugin,omitempty"` // only this one, without the config; "" for all and the config
	Force  bool   `json:"force,omitempty"`  // try refused content again, start unchanged plugins anew, and take sessions untried
}

// Reloaded tells what Reload did.
type Reloaded struct {
	Changed []string `json:"changed"` // in words, one for each thing
}

// Options are what [Listen] needs.
type Options struct {
	Listen    string // "127.0.0.1:8765" or "unix:/path"
	Token     string // when not empty, every request but /livez and /readyz must carry it
	Functions Functions
	Metrics   prometheus.Gatherer
	Log       hclog.Logger
}
