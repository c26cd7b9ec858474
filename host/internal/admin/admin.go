// Package admin is the host's HTTP API for people, scripts and probes, and the
// client that the commands use. It keeps the second half of P8: here a person
// replays or deletes dead letters. It decides nothing: the host gives it
// [Functions]. [Server.Run] owns its goroutines, which are net/http's. Start at
// [Listen].
package admin

import (
	"context"
	"encoding/json"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// Functions are what the API can do to the host. All are set. Many goroutines may
// call them at the same time. The error decides the HTTP status: entry.ErrUnknown
// 404, entry.ErrExists 409, a [Refusal] or entry.ErrUnusable 422, entry.ErrTooLarge 413, entry.ErrFull 507, entry.ErrClosed 503, any other
// 500. The caller sees its text, so the text says what to do.
type Functions struct {
	// Status collects the host's state; the server adds nothing.
	Status func() Status
	// Live says why the process should be restarted; nil when it is fine.
	Live func() error
	// Ready gives the reasons why /readyz answers 503; none means ready. Warnings
	// are other problems.
	Ready func() (reasons, warnings []string)
	// Send stores a downstream and returns its id when the message is on disk (P2).
	// The message passed Checked. An unknown Session is entry.ErrUnknown.
	Send func(context.Context, message.Checked) (messageID string, err error)
	// Messages searches messages, a bounded part at a time.
	Messages func(context.Context, MessageQuery) (MessagePage, error)
	// Life says what became of one message; entry.ErrUnknown if none is meant.
	Life func(context.Context, LifeQuery) (Life, error)
	// Cancel cancels downstreams that have not gone out, whoever sent them. It returns how
	// many, and the ids of those that were not canceled.
	Cancel func(context.Context, CancelOrder) (Ordered, error)
	// Dead lists dead letters by ascending id.
	Dead func(DeadQuery) (DeadPage, error)
	// DeadLetter gives one dead letter with its payload.
	DeadLetter func(id string) (entry.DeadLetter, error)
	// Replay puts dead letters back at the end of their lanes, in their old order
	// (P5). It returns how many, and the ids that were gone.
	Replay func(ids []string) (done int, gone []string, err error)
	// DeleteDead removes dead letters for good, and returns as Replay does.
	DeleteDead func(ids []string) (done int, gone []string, err error)
	// ExportDead gives dead letters whole, about most bytes of them at most.
	ExportDead func(q DeadQuery, most int) (ExportPage, error)
	// ImportDead makes exported letters dead letters again.
	ImportDead func(ImportOrder) (Imported, error)
	// Pauses lists what is paused.
	Pauses func(context.Context) (PausePage, error)
	// PauseBy pauses a plugin, a device at a plugin, or a session, and ResumeBy undoes that. A
	// restart of the host keeps it.
	PauseBy, ResumeBy func(context.Context, PauseOrder) error
	// Stuck lists the handlers that go on after their time is up, the oldest first.
	Stuck func(context.Context) (StuckPage, error)
	// GiveUp ends the wait for a stuck handler. It returns when its event's new place is on disk.
	GiveUp func(context.Context, GiveUpOrder) error
	// Retries lists at most max events that wait for their next attempt, the soonest first; plugin "" means all.
	Retries func(ctx context.Context, plugin string, max int) (RetryPage, error)
	// RetryNow retries events now. It returns how many, and the named ids that were not waiting.
	RetryNow func(context.Context, RetryOrder) (Ordered, error)
	// StateOwners lists who has state, by name, after that name.
	StateOwners func(after string) (entry.StateOwners, error)
	// State lists a plugin's state. A plugin without state has an empty one.
	State func(plugin string, s entry.Span) (entry.Listing, error)
	// StateValue gives one key of it.
	StateValue func(plugin, key string) (json.RawMessage, error)
	// DeleteState deletes of it, and returns how many keys.
	DeleteState func(ctx context.Context, plugin string, o StateOrder) (int, error)
	// Bindings lists which device belongs to which user of a session's gateway.
	Bindings func(BindingQuery) (BindingPage, error)
	// Unbind takes devices from their users, and returns how many; gone are those that nobody had.
	Unbind func(context.Context, UnbindOrder) (Unbound, error)
	// Erase erases all that the ledger has of a device, or says what there is; Erasing says how far
	// it is.
	Erase   func(context.Context, EraseOrder) (entry.Erased, error)
	Erasing func() Erasing
	// Forget takes away what a plugin has that is gone for good, or says what there is; Erasing
	// says how far it is.
	Forget func(ctx context.Context, plugin string, o ForgetOrder) (entry.Forgotten, error)
	// Tail begins to read what happens to messages. If too many read, the error is feed.ErrReaders.
	Tail func(TailQuery) (Tailing, error)
	// Series has the figures of the last minutes.
	Series func() Series
	// Pause gives a plugin no more events until Resume. A restart of the host keeps the pause.
	Pause, Resume func(ctx context.Context, plugin string) error
	// Rollback starts the plugin's previous proven content.
	Rollback func(ctx context.Context, plugin string) error
	// LogLevel changes how much a plugin logs, until the host ends; "" is the host's level.
	LogLevel func(ctx context.Context, plugin, level string) error
	// Reload applies the config file again, completely or not at all, and looks at
	// the plugins folder now. It returns what it did.
	Reload func(context.Context, ReloadOrder) (Reloaded, error)
	// Backup writes a backup of the ledger, at most perSecond bytes a second; 0 means no limit.
	Backup func(ctx context.Context, w io.Writer, perSecond int64) error
	// Verify checks that the whole ledger is consistent.
	Verify func(context.Context) (Verified, error)
}

// Refusal is an error that the caller can fix.
type Refusal struct {
	Err    error
	Config bool // the fix belongs in the config
}

func (r Refusal) Error() string { return r.Err.Error() }
func (r Refusal) Unwrap() error { return r.Err }

// ReloadOrder says what Reload is to do.
type ReloadOrder struct {
	Plugin string `json:"plugin,omitempty"` // only this plugin, not the config; "": all plugins and the config
	Force  bool   `json:"force,omitempty"`  // try refused content again, restart unchanged plugins, and use sessions without trying them
}

// Reloaded lists what Reload did.
type Reloaded struct {
	Changed []string `json:"changed"` // one sentence for each change
}

// Options are what [Listen] needs.
type Options struct {
	Listen string // "127.0.0.1:8765" or "unix:/path"
	TLS    TLS    // not of a unix socket
	// Tokens are those of the config that is in force; nil stands for none. With any, every
	// request must have one, except probes and the login. Without any, whoever can connect
	// has the role admin.
	Tokens    func() []Token
	AuditDir  string // the folder of the audit log; "": there is none
	Functions Functions
	Pages     []Page // for people in a browser, at paths that the API does not have
	Metrics   prometheus.Gatherer
	Log       hclog.Logger
}
