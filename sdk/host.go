package sdk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"balhost/sdk/wire"

	hclog "github.com/hashicorp/go-hclog"
	"github.com/oklog/ulid/v2"
)

// Host is the host as Start, Run and Stop see it. Handlers may keep it from
// Start. Its methods may be called from any goroutine.
type Host struct {
	log      hclog.Logger
	calls    *calls
	sessions atomic.Pointer[[]string] // never changed in place
}

// Log is the plugin's log: lines that the host shows among its own. Its level
// is the host's, and changes with it.
func (h *Host) Log() hclog.Logger { return h.log }

// Sessions are the names of the host's sessions, in config.hcl's order. A reload
// of the config can change them.
func (h *Host) Sessions() []string {
	if names := h.sessions.Load(); names != nil {
		return slices.Clone(*names)
	}
	return nil
}

// Send hands one downstream to the host, outside of any event, and returns when
// it is on disk (P2). An empty Session is the host's only one, as its config is
// when the message comes; with several the message is ErrInvalid. The id comes back with an error too, unless that is
// ErrInvalid: calling again with that id in d.MessageID sends the message once
// at most, whatever became of the first call.
func (h *Host) Send(ctx context.Context, d Downstream) (messageID string, err error) {
	if d.MessageID == "" {
		d.MessageID = ulid.Make().String()
	}
	p, _, err := encode(d)
	if err != nil {
		return "", err
	}
	if _, err := h.calls.call(ctx, &wire.Call{Op: &wire.Call_Send{Send: p}}); err != nil {
		return d.MessageID, fmt.Errorf("send %s: %w", d.MessageID, err)
	}
	return d.MessageID, nil
}

// Get decodes a key of the plugin's state into v and says whether there is such
// a key. What it saw may have changed when it returns; see Update.
func (h *Host) Get(ctx context.Context, key string, v any) (bool, error) {
	return (&Tx{calls: h.calls}).Get(ctx, key, v)
}

// Update runs fn with a Tx outside of any event, and commits it when fn returns
// nil; it returns when that is on disk. When a key that fn read was changed by
// someone else meanwhile, fn runs again with a new Tx, until ctx ends, also when it
// returned an error: it must have no other effects. The host keeps the keys that it
// used for it then, so that it seldom runs a third time. After an error of the
// commit other than ErrInvalid the changes may have been made or not.
//
// In a handler, use its own Tx. An Update of a key that the handler has read there makes
// the handler lose: it runs again, and while it does, the Update waits for it until
// the handler's time is up.
func (h *Host) Update(ctx context.Context, fn func(tx *Tx) error) error {
	number := h.calls.number()
	for attempt := 1; ; attempt++ {
		tx := &Tx{calls: h.calls} // an empty Session is as in Send
		err := fn(tx)
		changes := tx.end()
		failed := err
		if failed != nil {
			changes = &wire.Changes{Read: changes.GetRead()} // was it true, what fn came to its error by?
		}
		if attempt == 1 && len(changes.GetSend())+len(changes.GetWrite())+len(changes.GetRead()) == 0 {
			return failed // later an empty one gives back the keys that the host keeps
		}
		_, err = h.calls.call(ctx, &wire.Call{Op: &wire.Call_Update{Update: changes}, Transaction: number})
		if !errors.Is(err, wire.ErrConflict) {
			switch {
			case failed != nil:
				return failed
			case err != nil:
				return fmt.Errorf("update: %w", err)
			}
			return nil
		}
		if attempt > 3 { // somebody writes the keys all the same
			if err := pause(ctx, rand.N(time.Millisecond<<min(attempt, 8))); err != nil {
				return fmt.Errorf("update: gave up after %d conflicts: %w", attempt, err)
			}
		}
	}
}

// pause waits for d or for the end of ctx, which it returns.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
