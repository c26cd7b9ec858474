package pluginhost

import (
	"context"
	"sync"
	"time"

	"balhost/host/internal/pluginhost/policy"
)

// maxStaging is how many copies are made at the same time. One that takes long
// makes room for another.
const maxStaging = 2

// place waits until one more process may be started. release lets the next one begin.
// It may be called more than once, and is called when the start takes long.
func (h *Host) place(ctx context.Context, proven bool) (release func(), err error) {
	places := h.others
	if proven {
		places = h.proven
	}
	return h.enter(places, ctx.Done())
}

// enter waits for one of these places until done is closed; see place.
func (h *Host) enter(places chan struct{}, done <-chan struct{}) (release func(), err error) {
	select {
	case places <- struct{}{}:
	case <-done:
		return nil, policy.ErrStopping
	}
	leave := sync.OnceFunc(func() { <-places })
	late := time.AfterFunc(h.limits.crowd, leave)
	return func() { late.Stop(); leave() }, nil
}
