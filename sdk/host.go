package sdk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"balhost/sdk/message"
	"balhost/sdk/wire"

	hclog "github.com/hashicorp/go-hclog"
	"github.com/oklog/ulid/v2"
)

// Host lets a plugin call its host outside of an event. Start and Run get it. Keep
// it in Start if handlers or Stop need it. Its methods may be called from any
// goroutine.
type Host struct {
	log      hclog.Logger
	calls    *calls
	sessions *sessions
	timed    bool // the plugin has a Timer handler
}

// Log is the plugin's log. The host shows its lines among its own. The host sets
// its level, and can change it at any time.
func (h *Host) Log() hclog.Logger { return h.log }

// Sessions are the names of the host's sessions, in the order of config.hcl. A
// reload of the config can change them.
func (h *Host) Sessions() []string { return h.sessions.names() }

// Transport is how a session's downstreams travel: [CCS], [FCMv1], [Gateway] or [Huawei].
// A session with a gateway beside CCS or FCM's HTTP v1 has that one's name. The empty name
// means the host's only session. It returns "" if the host has no such session.
func (h *Host) Transport(session string) Transport {
	_, t, _ := h.sessions.transport(session)
	return t
}

// Send gives one downstream to the host, outside of any event. It returns when the
// downstream is on disk (P2). If d.Session is empty, the host's only session is
// used; if the host has several, the error is ErrInvalid. So it is if the host has no
// session of that name, or its transport cannot carry the downstream. If ctx has a span of
// OpenTelemetry, the downstream belongs to its trace.
//
// After an ErrInvalid nothing is stored. After any other error nobody knows whether
// the host has stored the downstream. Send then returns its id as well: put it into
// d.MessageID and call Send again. The message is sent at most once, whatever the
// first call did.
func (h *Host) Send(ctx context.Context, d Downstream) (messageID string, err error) {
	if d.MessageID == "" {
		d.MessageID = ulid.Make().String()
	}
	p, _, err := encode(d, h.sessions, "")
	if err != nil {
		return "", err
	}
	p.Traceparent = spanOf(ctx)
	if _, err := h.calls.call(ctx, &wire.Call{Op: &wire.Call_Send{Send: p}}); err != nil {
		return d.MessageID, fmt.Errorf("send %s: %w", d.MessageID, err)
	}
	return d.MessageID, nil
}

// Cancel cancels the plugin's downstream with this id, as [Tx.CancelSend] does, and
// reports whether it was in time. It returns when that is on disk. If it returns false,
// the downstream has gone out, has ended before, perhaps by an earlier Cancel, or there is
// none.
func (h *Host) Cancel(ctx context.Context, messageID string) (canceled bool, err error) {
	if err := message.CheckID(messageID); err != nil {
		return false, fmt.Errorf("cancel %.64q: %w: %w", messageID, ErrInvalid, err)
	}
	r, err := h.calls.call(ctx, &wire.Call{Op: &wire.Call_Cancel{Cancel: messageID}})
	if err != nil {
		return false, fmt.Errorf("cancel %s: %w", messageID, err)
	}
	return r.GetCanceled(), nil
}

// Get decodes the value of a key of the plugin's state into v, and reports whether
// the key exists. The value may have changed by the time Get returns. To read and
// write safely, use Update.
func (h *Host) Get(ctx context.Context, key string, v any) (bool, error) {
	return (&Tx{calls: h.calls}).Get(ctx, key, v)
}

// List returns keys of the plugin's state as [Tx].List does. They may have changed by the
// time List returns.
func (h *Host) List(ctx context.Context, prefix, after string, max int) (items []Item, more bool, err error) {
	return (&Tx{calls: h.calls}).List(ctx, prefix, after, max)
}

// Update runs fn with a Tx outside of any event. If fn returns nil, the Tx is
// committed, and Update returns when it is on disk. If another commit has changed a
// key that fn read, fn runs again with a new Tx, also after an error. This repeats
// until ctx ends. So fn must do nothing outside of its Tx. From the second run on
// the host reserves the keys for fn, so a third run is rare. If the commit fails
// with an error other than ErrInvalid, the changes may or may not be stored.
//
// Don't call Update in a handler; use the handler's Tx. An Update that changes a key
// which the handler has read forces the handler to run again. In that run the Update
// waits for the handler, and the handler waits for the Update, until the handler's
// timeout.
func (h *Host) Update(ctx context.Context, fn func(tx *Tx) error) error {
	number, span := h.calls.number(), spanOf(ctx)
	for attempt := 1; ; attempt++ {
		tx := &Tx{calls: h.calls, sessions: h.sessions, timed: h.timed, span: span} // an empty Session is as in Send
		err := fn(tx)
		changes := tx.end()
		failed := err
		if failed != nil {
			changes = changes.Reads() // the error counts only if these keys have not changed
		}
		if attempt == 1 && changes.Empty() {
			return failed // in later runs an empty update must go out: it frees the keys that the host reserves
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
		if attempt > 3 { // others write the keys although they are reserved
			if err := pause(ctx, rand.N(time.Millisecond<<min(attempt, 8))); err != nil {
				return fmt.Errorf("update: gave up after %d conflicts: %w", attempt, err)
			}
		}
	}
}

// pause waits for d, and returns nil; or for the end of ctx, and returns its cause.
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
