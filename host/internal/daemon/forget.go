package daemon

import (
	"context"
	"errors"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/ledger"
)

// forget takes a plugin that is gone out of the ledger, and then out of what dispatch knows.
func (h *host) forget(ctx context.Context, name string, o admin.ForgetOrder) (did entry.Forgotten, err error) {
	if err := stateOf(name); err != nil {
		return did, err
	}
	still := func(ctx context.Context) error {
		err := h.plugins.Absent(ctx, name)
		if err == nil {
			err = h.dispatch.Absent(ctx, name)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, entry.ErrClosed) {
			err = admin.Refusal{Err: err}
		}
		return err
	}
	if err := still(ctx); err != nil {
		return did, err
	}
	defer h.eraseStage.set("")
	did, err = h.ledger.Forget(ctx, entry.Forgetting{Plugin: name, Delete: o.Delete, State: o.State, Plan: o.Plan}, ledger.Absence{
		Watcher: ledger.Watcher{Seen: h.dispatch.Seen, Gone: h.dispatch.Gone, Stage: h.eraseStage.set},
		Owners:  h.dispatch.Owners, Still: still,
	})
	if errors.Is(err, ledger.ErrErasing) {
		err = admin.Refusal{Err: err}
	}
	if err == nil {
		did.Pauses, err = h.dispatch.Pauses(name)
	}
	switch {
	case err != nil:
		return did, err
	case !did.Any():
		return did, entry.NoSuch("there is nothing of a plugin %.64q: no file, no message, no state and no category", name)
	case o.Plan:
		return did, nil
	}
	return did, h.dispatch.Forget(ctx, name)
}
