package ledger

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

// Dead lists up to max dead letters with an id greater than afterID, without Raw, in the
// order of ids. That is the order in which the events were stored.
func (l *Ledger) Dead(afterID string, max int) ([]entry.DeadLetter, error) {
	var all []entry.DeadLetter
	for {
		letters, next, err := l.DeadOf(entry.DeadFilter{}, afterID, max-len(all))
		if all = append(all, letters...); err != nil || next == "" || len(all) >= max {
			return all, err
		}
		afterID = next
	}
}

// DeadOf is Dead of those that f selects. next is where to go on: there may be more with
// a greater id, also if there are fewer than max here. It is "" at the end.
func (l *Ledger) DeadOf(f entry.DeadFilter, afterID string, max int) (letters []entry.DeadLetter, next string, err error) {
	next, err = l.eachLetter(afterID, func(d *dead, _ lent) bool {
		if public := d.public(l.clock, false); f.Selects(&public) {
			letters = append(letters, public)
		}
		return len(letters) < max
	})
	return letters, next, err
}

// eachLetter calls f for dead letters with an id greater than afterID, and with their
// envelopes as they are stored, until f says that it has enough, or it has read as much as
// one search may. next is the id of the last one, "" if there are no more.
func (l *Ledger) eachLetter(afterID string, f func(*dead, lent) (more bool)) (next string, err error) {
	span := state.Span{Prefix: []byte{kindDead}}
	if afterID != "" {
		id, err := ulid.ParseStrict(afterID)
		if err != nil {
			return "", noDead(afterID)
		}
		span.Start = append(appendDeadKey(nil, id), 0)
	}
	e, last, enough := l.newEffort(l.limits.letters), "", false
	var bad error
	err = l.eachIn(span, func(r *reader) bool {
		if enough || last != "" && e.spent() {
			next = last
			return false
		}
		e.read(r)
		d, event := readDeadWhole(r)
		if bad = r.done(); bad != nil {
			return false
		}
		last, enough = d.event.id.String(), !f(&d, event)
		return true
	})
	return next, cmp.Or(err, bad)
}

// DeadLetter returns one dead letter with its payload, or entry.ErrUnknown.
func (l *Ledger) DeadLetter(id string) (entry.DeadLetter, error) {
	d, _, err := l.findDead(id)
	if errors.Is(err, errGone) {
		err = noDead(id)
	}
	if err != nil {
		return entry.DeadLetter{}, err
	}
	return d.public(l.clock, true), nil
}

// findDead is errGone if there is no dead letter with this id, and entry.ErrUnknown if it isn't an id.
func (l *Ledger) findDead(id string) (d dead, size int, err error) {
	parsed, err := ulid.ParseStrict(id)
	if err != nil {
		return dead{}, 0, noDead(id)
	}
	err = l.read(appendDeadKey(nil, parsed), func(r *reader) error {
		size = len(r.b) + recordExtra
		d = readDead(r)
		return r.done()
	})
	if err != nil {
		err = fmt.Errorf("dead letter %s: %w", id, err)
	}
	return d, size, err
}

func noDead(id string) error {
	return entry.NoSuch("there is no dead letter %q; it may have been replayed or deleted", clip(id, 64))
}

func (d *dead) public(c *clock, withRaw bool) entry.DeadLetter {
	out := entry.DeadLetter{
		ID: d.event.id.String(), Reason: d.reason, Died: c.shown(d.died), Received: c.shown(ulid.Time(d.event.id.Time())),
		Attempts: int(d.attempts), Plugin: d.plugin, Unusable: d.unusable,
	}
	switch m := d.event.body.(type) {
	case *message.Upstream:
		out.Kind, out.Session, out.Category = entry.Upstream.String(), m.Session, m.Category
		out.From, out.MessageID = m.From, m.MessageID
		if withRaw && json.Valid(m.Raw) && utf8.Valid(m.Raw) {
			out.Raw = m.Raw
		} else if withRaw {
			out.RawText = string(m.Raw)
			if !utf8.Valid(m.Raw) {
				out.RawBytes = bytes.Clone(m.Raw)
			}
		}
	case *message.Outcome:
		out.Kind, out.Session, out.MessageID = entry.Outcome.String(), m.Session, m.MessageID
		out.Status, out.Code, out.Gone, out.From = m.Status.String(), m.Code, m.Gone, cmp.Or(m.To.Token, m.To.FID)
	case *inboundReceipt:
		out.Kind, out.Session, out.Category = entry.Receipt.String(), m.Session, m.Category
		out.From, out.MessageID = m.Device, m.ccsID
	case *timer:
		out.Kind, out.Session, out.Key, out.From = entry.Timer.String(), m.Session, m.Key, m.Device
		if withRaw {
			out.Raw = m.Data
		}
	}
	return out
}

// Replay makes dead letters pending again, at the end and in their old order (P5), with
// attempts 0 and the same ids. It returns how many when they are on disk. It skips ids
// that are not dead letters and returns them as gone: somebody else, or an earlier try,
// may have replayed or deleted them. It replays none and names the id when a text is not
// an id (entry.ErrUnknown), or when no plugin can handle the letter (entry.ErrUnusable).
// Many are replayed in several commits: after an error in between, those not replayed
// are still dead letters.
func (l *Ledger) Replay(ids []string) (done int, gone []string, err error) {
	return l.eachDead(ids, usable, func(o *deadOp) op { return &replay{o} })
}

// usable is an error for a letter that would only wait for ever or die again.
func usable(d dead) error {
	if d.unusable {
		return fmt.Errorf("dead letter %s can't be replayed: %w, because %s; look at it, fix its sender, and delete it", d.event.id, entry.ErrUnusable, d.reason)
	}
	return nil
}

// DeleteDead deletes dead letters for good. Gone ids and errors are as in Replay, without entry.ErrUnusable.
func (l *Ledger) DeleteDead(ids []string) (done int, gone []string, err error) {
	return l.eachDead(ids, func(dead) error { return nil }, func(o *deadOp) op { return &deleteDead{o} })
}

// eachDead submits dead letters in their old order, in parts that fit a transaction. It
// submits none if check returns an error for one.
func (l *Ledger) eachDead(ids []string, check func(dead) error, submit func(*deadOp) op) (did int, gone []string, err error) {
	type found struct {
		seq   uint64
		id    ulid.ULID
		bytes int
	}
	var all []found
	for _, id := range ids {
		d, bytes, err := l.findDead(id)
		if errors.Is(err, errGone) {
			gone = append(gone, id)
			continue
		}
		if err == nil {
			err = check(d)
		}
		if err != nil {
			return 0, nil, err
		}
		all = append(all, found{d.seq, d.event.id, bytes})
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.seq, b.seq) })
	all = slices.Compact(all) // removes repeated ids
	for len(all) > 0 {
		n, bytes := 0, 0
		var part []ulid.ULID
		for n < len(all) && n < batchLetters && (n == 0 || bytes+all[n].bytes <= batchBytes) {
			part = append(part, all[n].id)
			bytes += all[n].bytes
			n++
		}
		done := make(chan error, 1)
		o := &deadOp{ids: part, bytes: bytes}
		l.put(submit(o), func(err error) { done <- err })
		if err := <-done; err != nil {
			return did, gone, err
		}
		did, gone = did+len(part)-len(o.gone), append(gone, o.gone...)
		all = all[n:]
	}
	slices.Sort(gone)
	return did, slices.Compact(gone), nil
}

// deadOp is the common part of Replay and DeleteDead.
type deadOp struct {
	ids   []ulid.ULID
	bytes int
	gone  []string // set by load: the ids that are gone by now
}

// load reads the letters that exist.
func (o *deadOp) load(b *batch) ([]dead, error) {
	var out []dead
	o.gone = nil
	for _, id := range o.ids {
		r, found := b.get(appendDeadKey(nil, id))
		if !found {
			o.gone = append(o.gone, id.String())
			continue
		}
		d := readDead(&r)
		b.fail(r.done())
		out = append(out, d)
	}
	if b.err != nil {
		return nil, entry.ErrClosed
	}
	return out, nil
}

// remove deletes the letters; what says why.
func (o *deadOp) remove(b *batch, letters []dead, what feed.What) {
	for _, d := range letters {
		if b.watched {
			b.sayEvent(what, d.event, "")
		}
		b.del(appendDeadKey(nil, d.event.id), o.bytes/len(o.ids))
		b.tally.counts.Dead--
	}
}

type replay struct{ *deadOp }

func (o *replay) weigh() (bytes, records int) {
	return o.bytes + len(o.ids)*2*recordExtra, 2 * len(o.ids)
}

func (o *replay) apply(b *batch) error {
	letters, err := o.load(b)
	if err != nil {
		return err
	}
	for _, d := range letters {
		b.addEvent(d.event.loosened())
	}
	o.remove(b, letters, feed.Replayed)
	return nil
}

// loosened is an event that comes again. A timer does so in any case: its plugin may have
// set its key anew.
func (e envelope) loosened() envelope {
	if t, is := e.body.(*timer); is {
		t.loose = true
	}
	return e
}

type deleteDead struct{ *deadOp }

func (o *deleteDead) weigh() (bytes, records int) { return len(o.ids) * recordExtra, len(o.ids) }

func (o *deleteDead) apply(b *batch) error {
	letters, err := o.load(b)
	if err != nil {
		return err
	}
	o.remove(b, letters, feed.Deleted)
	return nil
}
