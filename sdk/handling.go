package sdk

import (
	"context"
	"errors"
	"sync"
	"time"

	"balhost/sdk/wire"
)

// The causes for the end of a handler's ctx, as context.Cause returns them.
var (
	errTimeout  = errors.New("the handler timed out")
	errRevoked  = errors.New("the host has revoked the event")
	errStopping = errors.New("the plugin is stopping")
	errReturned = errors.New("the handler has returned")
)

// handling is one delivery that the plugin holds. It is also its handler's context.
// Most handlers never ask for Done. So the context with its timer and channels is
// made at the first use.
type handling struct {
	delivery *wire.Delivery
	tx       Tx
	parent   context.Context // of all handlers; ends when they must end
	deadline time.Time       // zero: none

	mu     sync.Mutex              // guards what follows
	ctx    context.Context         // nil until it is needed
	cancel context.CancelCauseFunc // of ctx
	cause  error                   // the first one that end got
}

var _ context.Context = (*handling)(nil)

func newHandling(parent context.Context, d *wire.Delivery, now time.Time) *handling {
	h := &handling{delivery: d, parent: traced(parent, d.Traceparent)}
	if d.TimeoutMs > 0 {
		h.deadline = now.Add(time.Duration(d.TimeoutMs) * time.Millisecond)
	}
	return h
}

// end ends the context. The first cause counts.
func (h *handling) end(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cause == nil {
		h.cause = cause
	}
	if h.cancel != nil {
		h.cancel(h.cause)
	}
}

// made returns ctx, and makes it if it does not exist yet.
func (h *handling) made() context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx == nil {
		h.ctx, h.cancel = context.WithCancelCause(h.parent)
		if !h.deadline.IsZero() {
			ctx, stopTimer := context.WithDeadlineCause(h.ctx, h.deadline, errTimeout)
			endParent := h.cancel
			h.ctx, h.cancel = ctx, func(cause error) { endParent(cause); stopTimer() }
		}
		if h.cause != nil {
			h.cancel(h.cause)
		}
	}
	return h.ctx
}

func (h *handling) Done() <-chan struct{} { return h.made().Done() }
func (h *handling) Value(key any) any     { return h.made().Value(key) }

func (h *handling) Deadline() (time.Time, bool) { return h.deadline, !h.deadline.IsZero() }

func (h *handling) Err() error {
	h.mu.Lock()
	live := h.ctx == nil && h.cause == nil && h.parent.Err() == nil && (h.deadline.IsZero() || time.Now().Before(h.deadline))
	h.mu.Unlock()
	if live {
		return nil
	}
	return h.made().Err()
}
