package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/plain"
	"balhost/sdk/message"
)

// messages searches messages. A page is a part of the search, in its order: pending
// events, pending downstreams, dead letters, what has ended.
func (h *host) messages(ctx context.Context, q admin.MessageQuery) (admin.MessagePage, error) {
	page := admin.MessagePage{Now: time.Now(), Retained: h.config().Ledger.Retention.Seconds()}
	s, err := h.search(ctx, q, page.Now)
	if err != nil {
		return page, err
	}
	from, err := parseCursor(q.After)
	if err != nil {
		return page, admin.Refusal{Err: err}
	}
	traces, next, back, err := h.find(ctx, s, from)
	page.Searched = back
	if next != nil {
		page.Next = next.String()
	}
	for i := range traces {
		page.Messages = append(page.Messages, h.row(&traces[i], q.Full, q.Device))
	}
	return page, err
}

// search is what a query asks the ledger for.
func (h *host) search(ctx context.Context, q admin.MessageQuery, now time.Time) (s entry.Search, err error) {
	s = entry.Search{
		States: q.States, Category: q.Category, Plugin: q.Plugin, Group: q.Group, Text: strings.ToLower(q.Text), ID: q.ID,
		Since: q.Since, Until: q.Until, Most: q.Limit,
	}
	if s.Look, err = h.adds(ctx); err != nil {
		return s, err
	}
	if q.MinAge > 0 {
		s.MinAge = now.Add(-q.MinAge)
	}
	labels := h.labels()
	if q.Session != "" {
		id, ok := labels.ID(q.Session)
		if !ok {
			return s, entry.NoSuch("there is no session %q; there are %s", q.Session, strings.Join(labels.Names(), ", "))
		}
		s.Session = id
	}
	for _, kind := range q.Kinds {
		s.Kinds = append(s.Kinds, entry.Kind(slices.Index(admin.Kinds, kind)+1)%(entry.Timer+1)) // downstreams are 0
	}
	if q.Device != "" {
		s.Devices = devices(labels, q.Device)
	}
	return s, nil
}

// devices are the hashes of a device, or of what else a person names, in each session.
func devices(senders entry.Senders, name string) (all []uint64) {
	topic, isTopic := strings.CutPrefix(name, "/topics/")
	for _, s := range senders {
		if isTopic {
			all = append(all, entry.TargetHash(s.ID, message.Topic(topic)))
			continue
		}
		for _, to := range []message.Target{message.Token(name), message.FID(name), message.Condition(name)} {
			all = append(all, entry.TargetHash(s.ID, to))
		}
	}
	return all
}

// adds returns a function that adds to a pending message what the ledger does not know:
// whose it is, and whether it was sent.
func (h *host) adds(ctx context.Context) (func(*entry.Trace), error) {
	ctx, cancel := context.WithTimeout(ctx, aliveTime)
	defer cancel()
	owner, err := h.dispatch.Owners(ctx)
	return func(t *entry.Trace) {
		switch {
		case !t.State.Pending():
		case t.Kind == 0:
			h.sent(t)
		case t.Plugin == "":
			t.Plugin = owner(t.Category)
		}
	}, err
}

// sent notes that a pending downstream was sent and is not answered.
func (h *host) sent(t *entry.Trace) {
	if sent, inFlight := h.outbox.InFlight(t.Seq); inFlight {
		t.State, t.Last = entry.StateInFlight, sent
	}
}

// sentFirst is when a downstream was sent for the first time; zero: it was not, or nothing
// is kept of that, because its connection ended before an answer.
// Weak: of one that was not answered before the host was restarted, it is the first time since.
func sentFirst(t *entry.Trace) time.Time {
	for _, a := range append(slices.Clip(t.Tries), t.Last) {
		if t.Kind == 0 && a.Number == 1 {
			return a.Began
		}
	}
	return time.Time{}
}

// phase is a part of a search.
type phase byte

const (
	pendingEvents phase = 'p'
	pendingSent   phase = 'd'
	deadLetters   phase = 'x'
	whatEnded     phase = 'e'
)

// cursor is where a search goes on.
type cursor struct {
	phase phase
	seq   uint64      // pending: before this one
	id    string      // dead letters: before this one
	place entry.Place // what has ended: before this one
}

func (c *cursor) String() string {
	switch c.phase {
	case deadLetters:
		return string(c.phase) + c.id
	case whatEnded:
		return fmt.Sprintf("%c%d-%d-%d", c.phase, c.place.Millis, c.place.Seq, c.place.Index)
	}
	return string(c.phase) + strconv.FormatUint(c.seq, 10)
}

func parseCursor(text string) (c cursor, err error) {
	if text == "" {
		return cursor{phase: pendingEvents}, nil
	}
	switch c.phase = phase(text[0]); c.phase {
	case deadLetters:
		c.id = text[1:]
	case whatEnded:
		_, err = fmt.Sscanf(text[1:], "%d-%d-%d", &c.place.Millis, &c.place.Seq, &c.place.Index)
	case pendingEvents, pendingSent:
		c.seq, err = strconv.ParseUint(text[1:], 10, 64)
	default:
		err = errors.New("")
	}
	if err != nil {
		err = fmt.Errorf(`after %.64q: want the "next" of the page before`, text)
	}
	return c, err
}

// find goes through the phases until it has enough, or one has done its part of the work.
// next is nil at the end; back is how far it has looked at what has ended.
func (h *host) find(ctx context.Context, s entry.Search, from cursor) (all []entry.Trace, next *cursor, back time.Time, err error) {
	most := s.Most
	for c := &from; c != nil; {
		s.Most = most - len(all)
		if s.Most == 0 || ctx.Err() != nil {
			return all, c, back, ctx.Err()
		}
		var found entry.Found
		then := &cursor{}
		switch c.phase {
		case pendingEvents, pendingSent:
			then.phase = pendingSent
			if c.phase == pendingSent {
				then.phase = deadLetters
			}
			if s.Wants(true) {
				found, err = h.ledger.Pending(c.phase == pendingSent, s, c.seq)
			}
		case deadLetters:
			then.phase = whatEnded
			if s.Wants(false) {
				found, err = h.ledger.DeadTraces(s, c.id)
			}
		default:
			then = nil
			if s.Wants(false) {
				found, err = h.ledger.Ended(s, c.place)
				back = found.Back
			}
		}
		if err != nil {
			return all, nil, back, err
		}
		if all = append(all, found.Traces...); found.More {
			then = &cursor{phase: c.phase, seq: found.Seq, id: found.ID, place: found.Next}
			return all, then, back, nil
		}
		c = then
	}
	return all, nil, back, nil
}

// row is a message as the API shows it. token is one that the caller has named.
func (h *host) row(t *entry.Trace, full bool, token string) admin.Row {
	last := t.Last
	if n := len(t.Tries); n > 0 && (last.Began.IsZero() || t.State.Pending()) {
		last = t.Tries[n-1]
	}
	r := admin.Row{
		ID: t.ID, Kind: kindOf(t), State: t.State, Session: h.labels().Name(t.Session), Category: t.Category, Plugin: t.Plugin,
		Version: last.Version, Device: t.Device, Began: t.Began, Sent: sentFirst(t), Ended: t.Ended, Attempts: t.Attempts,
		TookMS: millis(last.Took), Transport: last.Via, Code: t.Code, Error: t.Error, Expires: t.Expires, TraceID: t.TraceID,
	}
	if t.Kind == entry.Timer {
		r.Key = t.MessageID
	} else {
		r.MessageID = t.MessageID
	}
	if t.State.Pending() {
		if r.Next = t.Due; !r.Next.After(time.Now()) {
			r.Next = time.Time{}
		}
		if t.Kind == 0 && len(t.Tries) > 0 {
			r.Code, r.Error = last.Code, last.Error
		}
	}
	switch {
	case !full:
		r.Device = plain.Brief(r.Device)
	case token != "":
		r.Device = token
	case t.Seq != 0 && t.State.Pending():
		r.Device = h.wholeDevice(t)
	}
	return r
}

// wholeDevice is the whole token of a pending message.
func (h *host) wholeDevice(t *entry.Trace) string {
	if t.Kind == 0 {
		if m, err := h.ledger.Downstream(t.Seq); err == nil {
			return entry.TargetText(m.To)
		}
		return t.Device
	}
	body, err := h.ledger.Body(t.Seq)
	switch {
	case err != nil:
	case body.Upstream != nil:
		return body.Upstream.From
	case body.Outcome != nil:
		return entry.TargetText(body.Outcome.To)
	case body.Receipt != nil:
		return body.Receipt.Device
	case body.Timer != nil:
		return body.Timer.Device
	}
	return t.Device
}

func kindOf(t *entry.Trace) string {
	if t.Kind == 0 {
		return admin.Downstream
	}
	return t.Kind.String()
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
