package daemon

import (
	"context"
	"fmt"
	"slices"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

// cancel cancels downstreams for the API, in the session that o names or in whatever session
// they wait, also in one that is no longer in the config.
func (h *host) cancel(ctx context.Context, o admin.CancelOrder) (did admin.Ordered, err error) {
	type end struct {
		of, canceled int
		err          error
	}
	ids, senders := o.IDs, h.outbox.Senders()
	if o.Session != "" {
		labels := h.labels()
		senders = slices.DeleteFunc(senders, func(id string) bool { return labels.Name(id) != o.Session })
	}
	ends := make(chan end, len(ids))
	for i, id := range ids {
		var which []entry.Cancel
		for _, sender := range senders {
			which = append(which, entry.Cancel{Session: sender, MessageID: id})
		}
		h.ledger.Cancel("", which, func(n int, err error) { ends <- end{i, n, err} })
	}
	canceled := make([]int, len(ids))
	for range ids {
		select {
		case e := <-ends:
			if e.err != nil {
				return admin.Ordered{}, e.err
			}
			canceled[e.of] = e.canceled
		case <-ctx.Done():
			return admin.Ordered{}, fmt.Errorf("cancel: %w; some may be canceled: ask again", ctx.Err())
		}
	}
	for i, id := range ids {
		if canceled[i] > 0 {
			did.Done++
		} else {
			did.Gone = append(did.Gone, id)
		}
	}
	return did, nil
}
