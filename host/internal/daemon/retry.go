package daemon

import (
	"context"
	"errors"
	"math"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

// retries lists what waits for its next attempt, and why.
func (h *host) retries(ctx context.Context, plugin string, limit int) (admin.RetryPage, error) {
	waiting, all, err := h.dispatch.Waiting(ctx, plugin, limit)
	page := admin.RetryPage{Total: all, Now: time.Now()}
	if err != nil {
		return page, err
	}
	for _, w := range waiting {
		body, err := h.ledger.Body(w.Seq)
		if errors.Is(err, entry.ErrUnknown) {
			continue // it has ended meanwhile
		} else if err != nil {
			return page, err
		}
		r := admin.Retry{
			Plugin: w.Plugin, Kind: w.Kind.String(), Category: w.Category, Attempts: w.Attempts, Next: today(page.Now, w.Until), Behind: w.Behind,
		}
		switch {
		case body.Upstream != nil:
			r.ID, r.From = body.Upstream.ID, body.Upstream.From
		case body.Outcome != nil:
			r.ID, r.From = body.Outcome.ID, body.Outcome.To.Token
		default:
			r.ID, r.From = body.Receipt.ID, body.Receipt.Device
		}
		if r.Reason, err = h.ledger.Last(w.Seq); err != nil {
			return page, err
		}
		page.Retries = append(page.Retries, r)
	}
	return page, nil
}

// retryNow makes waiting events be tried now. Named events that don't wait, because
// they were handled for example, are skipped and returned.
func (h *host) retryNow(ctx context.Context, o admin.RetryOrder) (did admin.Ordered, err error) {
	if o.Plugin != "" {
		err := h.known(func(ctx context.Context, name string) (err error) {
			did.Done, err = h.dispatch.Try(ctx, name, func(uint64) bool { return true })
			return err
		})(ctx, o.Plugin)
		return did, err
	}
	if o.All {
		did.Done, err = h.dispatch.Try(ctx, "", func(uint64) bool { return true })
		return did, err
	}
	waiting, _, err := h.dispatch.Waiting(ctx, "", math.MaxInt)
	if err != nil {
		return did, err
	}
	seqs := map[string]uint64{}
	for _, w := range waiting {
		if id, err := h.ledger.EventID(w.Seq); err == nil {
			seqs[id] = w.Seq
		}
	}
	wanted := map[uint64]bool{}
	for _, id := range o.IDs {
		if seq, ok := seqs[id]; ok {
			wanted[seq] = true
		} else {
			did.Gone = append(did.Gone, id)
		}
	}
	did.Done, err = h.dispatch.Try(ctx, "", func(seq uint64) bool { return wanted[seq] })
	return did, err
}
