package daemon

import (
	"context"
	"errors"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

func (h *host) stuck(ctx context.Context) (page admin.StuckPage, err error) {
	all, err := h.dispatch.Stuck(ctx)
	now := time.Now()
	for _, s := range all {
		s.StuckHandler.Started, s.StuckHandler.GivenUp = today(now, s.Started), today(now, s.GivenUp)
		page.Stuck = append(page.Stuck, admin.Stuck{Plugin: s.Plugin, StuckHandler: s.StuckHandler, RunningSeconds: now.Sub(s.Started).Seconds()})
	}
	return page, err
}

func (h *host) giveUp(ctx context.Context, o admin.GiveUpOrder) error {
	verdict := entry.Dead
	if o.Replay {
		verdict = entry.Again
	}
	err := h.dispatch.GiveUp(ctx, o.ID, verdict)
	switch {
	case errors.Is(err, entry.ErrNotStuck):
		return admin.Refusal{Err: err}
	case errors.Is(err, entry.ErrLease): // a timer that was canceled meanwhile: it has ended, and its lane goes on
		return nil
	}
	return err
}
