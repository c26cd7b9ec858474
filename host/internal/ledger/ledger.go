package ledger

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// Options says where a ledger is and how careful it is. Only Dir is needed.
type Options struct {
	Dir         string        // made when it is missing; one process at a time
	DedupWindow time.Duration // how long an upstream is known again (P6); 48 h when 0
	Retention   time.Duration // how long summaries of what ended are kept; 24 h when 0

	DiskSoft int64  // bytes that must stay free besides as much as the ledger has now; below, ErrFull; 1 GiB when 0
	DiskHard int64  // bytes free below which the ledger stops for good; 256 MiB when 0, at most half of DiskSoft
	Ballast  int64  // size of a file that the next start gives up when the disk is full; 0: none
	Inodes   uint64 // inodes that must stay free; below, ErrFull; 10,000 when 0

	Log     hclog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: none
	// Poison is called once, when a commit failed or badger cannot be trusted
	// any more; nothing is acknowledged afterwards (P10). When nil the error
	// is logged and the process exits with status 75.
	Poison func(error)
	Now    func() time.Time                // the clock; nil: time.Now
	Statfs func(dir string) (Space, error) // nil: the operating system
}

// Space is what a file system has left for an unprivileged user.
type Space struct {
	Bytes  int64
	Inodes uint64 // math.MaxUint64 where the file system has no limit
}

// Ledger is the store.
type Ledger struct{}

// Open opens or makes the ledger in o.Dir and recovers what a crash left.
func Open(ctx context.Context, o Options) (*Ledger, error) { panic("soon") }

// Close commits what is waiting, calls what is to be called back, and closes the files.
func (l *Ledger) Close() error { panic("soon") }

// Accept stores one inbound message, and calls done after the commit, in the
// order of the calls: nil when it is on disk (also when it was before, P6),
// entry.ErrFull, entry.ErrTooLarge or entry.ErrClosed when it is not. What in
// points to belongs to the ledger from now on. It never blocks.
func (l *Ledger) Accept(in entry.Inbound, done func(error)) { panic("soon") }

// Events returns up to max pending events with a seq greater than after, in seq order.
func (l *Ledger) Events(after uint64, max int) []entry.Event { panic("soon") }

// EventsChanged returns a channel that is closed when events come, go, or are
// due at another time. Fetch it before looking, so that no change is missed.
func (l *Ledger) EventsChanged() <-chan struct{} { panic("soon") }

// Body returns the content of a pending event, or entry.ErrUnknown. Its bytes are shared: read only.
func (l *Ledger) Body(seq uint64) (entry.Body, error) { panic("soon") }

// Lease notes who holds an event, for Settle to check (P5); 0: nobody.
func (l *Ledger) Lease(seq, lease uint64) { panic("soon") }

// Settle ends one handing out of an event; done gets nil after the commit, or
// entry.ErrLease, ErrConflict, ErrExists, ErrTooLarge, ErrClosed, and nothing was stored.
func (l *Ledger) Settle(s entry.Settlement, done func(error)) { panic("soon") }

// Get reads one key of a plugin's state: version 0 and no value when there is none.
func (l *Ledger) Get(plugin, key string) (value json.RawMessage, version uint64, err error) {
	panic("soon")
}

// Update commits changes outside an event; done as in Settle, and entry.ErrFull.
// The plugin owns them; "" is the API, which has no state and hears no outcomes.
func (l *Ledger) Update(plugin string, c entry.Changes, done func(error)) { panic("soon") }

// Downstreams returns up to max pending downstreams with a seq greater than after, in seq order.
func (l *Ledger) Downstreams(after uint64, max int) []entry.Downstream { panic("soon") }

// DownstreamsChanged is to Downstreams what EventsChanged is to Events.
func (l *Ledger) DownstreamsChanged() <-chan struct{} { panic("soon") }

// Downstream returns a pending downstream, or entry.ErrUnknown. Its bytes are shared: read only.
func (l *Ledger) Downstream(seq uint64) (message.Downstream, error) { panic("soon") }

// Finish ends a downstream: it is gone, its outcome recorded, and told to its
// owner as an event when Send.Tell was set, in one commit (P4). done gets nil,
// entry.ErrUnknown when it has ended before, or entry.ErrClosed.
func (l *Ledger) Finish(e entry.End, done func(error)) { panic("soon") }

// Postpone keeps a downstream until due; attempts and code replace what was known.
func (l *Ledger) Postpone(seq uint64, due time.Time, attempts int, code string, done func(error)) {
	panic("soon")
}

// Owner returns the plugin that owns a category, or "".
func (l *Ledger) Owner(category string) string { panic("soon") }

// SetOwner records the plugin that owns a category; "" for none.
func (l *Ledger) SetOwner(category, plugin string, done func(error)) { panic("soon") }

// Dead lists up to max dead letters with an id greater than afterID, oldest id first, without Raw.
func (l *Ledger) Dead(afterID string, max int) ([]entry.DeadLetter, error) { panic("soon") }

// DeadLetter returns one dead letter, or entry.ErrUnknown.
func (l *Ledger) DeadLetter(id string) (entry.DeadLetter, error) { panic("soon") }

// Replay makes dead letters pending again, at the end and in their old order
// (P5), with attempts 0 and their ids. entry.ErrUnknown names an id that is no
// dead letter; then nothing was replayed.
func (l *Ledger) Replay(ids []string) error { panic("soon") }

// DeleteDead deletes dead letters for good; errors as Replay.
func (l *Ledger) DeleteDead(ids []string) error { panic("soon") }

// Counts returns the totals.
func (l *Ledger) Counts() entry.Counts { panic("soon") }

// Full reports whether the disk is at its soft limit: Accept and Update give entry.ErrFull.
func (l *Ledger) Full() bool { panic("soon") }

// Room returns a channel that is closed as soon as, or while, the ledger is not full.
func (l *Ledger) Room() <-chan struct{} { panic("soon") }

// Verify reads everything and compares it with the ledger's own counters.
func (l *Ledger) Verify(ctx context.Context) error { panic("soon") }

// Alarms tells what a person must know: signs of lost data found at the start or by Verify.
func (l *Ledger) Alarms() []string { panic("soon") }
