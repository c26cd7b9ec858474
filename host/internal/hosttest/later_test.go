package hosttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// The codes of outcomes of downstreams that never went out.
const (
	codeCanceled = "CANCELED"
	codeReplaced = "REPLACED"
)

// later has a downstream wait for its time, or take the place of an older one.
func (w *world) later(m *message.Downstream, r *rand.Rand) {
	if chance(r, 25) {
		at := time.Now().Add(upTo(r, 15*time.Second) - time.Second)
		if at.Before(w.start) { // no host has lived before
			at = w.start
		}
		m.NotBefore = w.books.notBefore(m.MessageID, at)
	}
	if chance(r, 25) {
		m.Replace = fmt.Sprint("r", r.IntN(2))
	}
}

// notBefore is that of a downstream: at, unless it was made before, as when its handler
// runs again.
func (b *books) notBefore(mid string, at time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if was, known := b.whens[mid]; known {
		return was
	}
	b.whens[mid] = at
	return at
}

// place is what a downstream takes from an older one.
type place struct {
	owner, session, replace string
	to                      message.Target
}

func (d *downstream) place() place { return place{d.owner, d.session, d.replace, d.to} }

// cancels has a handler cancel downstreams, and returns those of its plugin that it is
// known to have then. Now and then it names one that is not its own, which does nothing.
func (w *world) cancels(plugin string, r *rand.Rand, c *wire.Changes) (own []string) {
	if w.calm.Load() || !chance(r, 25) {
		return nil
	}
	for range 1 + r.IntN(3) {
		mid, stored := w.books.cancels(r, plugin)
		if mid == "" || slices.Contains(c.Cancel, mid) {
			continue
		}
		if c.Cancel = append(c.Cancel, mid); stored {
			own = append(own, mid)
		}
	}
	return own
}

// cancels chooses a downstream that a plugin, or the API, asks to cancel, and notes that.
// stored says that it may be canceled by this one, and is known to be in the ledger.
func (b *books) cancels(r *rand.Rand, plugin string) (mid string, stored bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	foreign := chance(r, 10)
	var likely, all []string
	for mid, d := range b.downs {
		if plugin != "" && (d.owner == plugin) == foreign {
			continue
		}
		if all = append(all, mid); d.stored && !d.left && !d.over {
			likely = append(likely, mid)
		}
	}
	if len(likely) > 0 && chance(r, 80) {
		all = likely
	}
	if len(all) == 0 {
		return "", false
	}
	slices.Sort(all)
	d := b.downs[all[r.IntN(len(all))]]
	if plugin != "" && d.owner != plugin {
		return d.mid, false
	}
	d.asked = true // before the host hears of it
	return d.mid, d.stored
}

// canceled notes the host's answer about one that was stored, or perhaps not. If it says
// no, it has gone out or ended, which check looks for.
func (b *books) canceled(mid string, stored, yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.downs[mid]
	d.called = d.called || stored
	if !yes {
		return
	}
	switch seen.add("cancels in time", 1); {
	case !d.asked:
		b.bad("P4: %s is canceled by one that must not", mid)
	case d.left:
		b.bad("P4: %s is canceled, and it has gone out", mid)
	}
	d.over = true
}

// pluginCancels is Host.Cancel, once.
func (w *world) pluginCancels() string {
	name := []string{"alpha", "beta"}[w.rnd.IntN(2)]
	p := w.books.serving(name)
	if p == nil {
		return ": it is dead"
	}
	mid, stored := w.books.cancels(w.rnd, name)
	if mid == "" {
		return ": nothing yet"
	}
	w.callers.Go(func() error {
		reply, err := p.Call(&wire.Call{Op: &wire.Call_Cancel{Cancel: mid}})
		switch {
		case err != nil, reply.GetCode() == wire.Reply_UNAVAILABLE:
		case reply.GetCode() != wire.Reply_OK:
			w.books.wrong("Host.Cancel of %s: %v %s", mid, reply.GetCode(), reply.GetError())
		default:
			w.books.canceled(mid, stored, reply.GetCanceled())
		}
		return nil
	})
	return " " + mid
}

// apiCancels is balhost cancel.
func (w *world) apiCancels() string {
	stored := map[string]bool{}
	for range 1 + w.rnd.IntN(4) {
		if mid, is := w.books.cancels(w.rnd, ""); mid != "" {
			stored[mid] = is
		}
	}
	var ids []string
	for mid := range stored {
		ids = append(ids, mid)
	}
	slices.Sort(ids)
	h := w.host
	w.callers.Go(func() error {
		did, err := h.API.Cancel(context.Background(), admin.CancelOrder{IDs: ids})
		if err != nil {
			return nil // the host is ending
		}
		if did.Done+len(did.Gone) != len(ids) {
			w.books.wrong("cancel of %d: %d are canceled, %d not", len(ids), did.Done, len(did.Gone))
		}
		for _, mid := range ids {
			w.books.canceled(mid, stored[mid], !slices.Contains(did.Gone, mid))
		}
		return nil
	})
	return fmt.Sprint(" ", ids)
}

// started notes what counts as gone out at a host, as it was pending when that started,
// and its time had come. mu is held.
func (b *books) started(pending []entry.Downstream, at time.Time) {
	for _, p := range pending {
		if d := b.downs[p.MessageID]; d != nil && !d.notBefore.After(at) {
			d.kept = true
		}
	}
}

// goes notes that a downstream goes out. mu is held.
func (b *books) goes(d *downstream) {
	switch early := time.Until(d.notBefore); {
	case early > 0:
		b.bad("P2: %s goes out %s before its time", d.mid, early)
	case d.over:
		b.bad("P4: %s goes out, and it was canceled", d.mid)
	case !d.left && !d.notBefore.IsZero():
		seen.add("went out at their time", 1)
	}
	d.left = true
}

// checkPending: what was canceled or replaced before it went out waits no more. What was
// pending when a host started may have gone out. mu is held.
func (b *books) checkPending(h *Host) {
	older := map[place]*downstream{}
	for _, p := range h.Ledger.Downstreams(0, 1<<20) {
		d := b.downs[p.MessageID]
		if d == nil {
			b.bad("P2: %s is pending, and nobody sent it", p.MessageID)
			continue
		}
		if d.called && !d.left && !d.kept {
			b.bad("P4: %s was canceled before it went out, and is still pending", d.mid)
		}
		if d.replace == "" {
			continue
		}
		if was := older[d.place()]; was != nil && !was.left && !was.kept {
			b.bad("P4: %s was replaced by %s before it went out, and is still pending", was.mid, d.mid)
		}
		older[d.place()] = d
	}
}

// ends checks an outcome against who asked for it, and when. mu is held.
func (b *books) ends(o *message.Outcome) {
	d := b.downs[o.MessageID]
	if d == nil {
		return // it was said already
	}
	if o.Status != message.Canceled {
		begins := d.notBefore
		if o.Status == message.Expired && o.Code == "" && d.ttl != nil { // with a code: its next attempt would be too late
			begins = begins.Add(*d.ttl)
		}
		if early := time.Until(begins); early > 0 {
			b.bad("P4: %s has ended as %s, %s too early", d.mid, o.Status, early)
		}
		return
	}
	switch {
	case d.left:
		b.bad("P4: %s is canceled (%s), and it has gone out", d.mid, o.Code)
	case o.Code == codeCanceled && d.asked:
	case o.Code == codeReplaced && b.replaced(d):
	default:
		b.bad("P4: %s is canceled with %q, and nobody asked for it", d.mid, o.Code)
	}
	d.over = true
}

// replaced reports whether somebody wants another one sent in the place of d. mu is held.
func (b *books) replaced(d *downstream) bool {
	for _, other := range b.downs {
		if d.replace != "" && other != d && other.place() == d.place() {
			return true
		}
	}
	return false
}

// checkReplaced: the last one of a place has no successor. mu is held.
func (b *books) checkReplaced(outcomes map[string]string) {
	left := map[place]int{}
	for mid, d := range b.downs {
		if d.replace == "" || d.owner == "" {
			continue
		}
		if left[d.place()] += 0; !strings.HasSuffix(outcomes[mid], "|"+codeReplaced) {
			left[d.place()]++
		}
	}
	for p, n := range left {
		if n == 0 {
			b.bad("P4: all of %v were replaced", p)
		}
	}
}
