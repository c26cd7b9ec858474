package daemon

import (
	"context"
	"errors"
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
		r.ID, r.From = idOf(body)
		if r.Reason, err = h.ledger.Last(w.Seq); err != nil {
			return page, err
		}
		page.Retries = append(page.Retries, r)
	}
	return page, nil
}

// idOf is the id of an event, and the device that it is about; "": it is about none.
func idOf(body entry.Body) (id, device string) {
	switch {
	case body.Upstream != nil:
		return body.Upstream.ID, body.Upstream.From
	case body.Outcome != nil:
		return body.Outcome.ID, body.Outcome.To.Token
	case body.Receipt != nil:
		return body.Receipt.ID, body.Receipt.Device
	case body.Timer != nil:
		return body.Timer.ID, body.Timer.Device
	}
	return "", ""
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
	seqs, err := h.pendingSeqs(o.IDs)
	if err != nil {
		return did, err
	}
	wanted, tried := map[uint64]bool{}, map[uint64]bool{}
	for _, seq := range seqs {
		wanted[seq] = true
	}
	did.Done, err = h.dispatch.Try(ctx, "", func(seq uint64) bool {
		tried[seq] = wanted[seq]
		return wanted[seq]
	})
	if err != nil {
		return did, err
	}
	for _, id := range o.IDs {
		if seq, known := seqs[id]; known && tried[seq] {
			continue
		}
		n, err := h.resend(id)
		if err != nil {
			return did, err
		}
		if did.Done += n; n == 0 {
			did.Gone = append(did.Gone, id)
		}
	}
	return did, nil
}

// resend has downstreams with this message id go now, in whatever sessions they wait for
// their next attempt. It returns how many.
func (h *host) resend(id string) (n int, err error) {
	var seqs []uint64
	for _, sender := range h.outbox.Senders() {
		switch seq, err := h.ledger.SentSeq(sender, id); {
		case err == nil:
			seqs = append(seqs, seq)
		case !errors.Is(err, entry.ErrUnknown):
			return 0, err
		}
	}
	return len(h.outbox.Try(seqs)), nil
}

// pendingSeqs finds pending events by their ids.
// Weak: one that was replayed has an old id in a new place, so it is searched. If more
// events came after it than one search reads, it is not found.
func (h *host) pendingSeqs(ids []string) (map[string]uint64, error) {
	seqs, missing := map[string]uint64{}, map[string]bool{}
	for _, id := range ids {
		switch t, err := h.ledger.PendingEvent(id); {
		case err == nil:
			seqs[id] = t.Seq
		case errors.Is(err, entry.ErrUnknown):
			missing[id] = true
		default:
			return nil, err
		}
	}
	if len(missing) == 0 {
		return seqs, nil
	}
	found, err := h.ledger.Pending(false, entry.Search{Most: len(missing), Asked: func(t *entry.Trace) bool { return missing[t.ID] }}, 0)
	for _, t := range found.Traces {
		seqs[t.ID] = t.Seq
	}
	return seqs, err
}
