package ledger

import (
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unsafe"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/host/internal/span"
	"balhost/sdk/message"
)

// Traces tell what became of messages. This file makes them of what the ledger has:
// pending entries, dead letters and summaries.

// shown returns what converts the ledger's times to those of the wall clock, for showing.
func (l *Ledger) shown() func(ns int64) time.Time {
	return func(ns int64) time.Time { return l.clock.shown(fromNanos(ns)) }
}

// trace is what memory knows of a pending event. due and attempts were read under Ledger.mu.
func (l *Ledger) eventTrace(ev *event, due int64, attempts uint32) entry.Trace {
	t := entry.Trace{
		Seq: ev.seq, Kind: ev.kind, ID: ev.id.String(), Session: ev.session.Value(), Category: ev.category.Value(), Plugin: ev.plugin.Value(),
		Device: ev.target, Hash: ev.device, MessageID: ev.messageID, Cause: idText(ev.cause), TraceID: span.TraceID(ev.trace), Began: l.clock.shown(ulid.Time(ev.id.Time())),
	}
	if ev.kind != entry.Upstream {
		t.Group = ev.lane
	}
	l.tried(&t, due, attempts)
	if l.leases.of(ev.seq) != 0 {
		t.State = entry.StateInFlight
	}
	return t
}

func (l *Ledger) sentTrace(d *downstream, due int64, attempts uint32) entry.Trace {
	shown := l.shown()
	t := entry.Trace{
		Seq: d.seq, ID: d.messageID, Session: d.session.Value(), Plugin: d.owner.Value(), Device: d.to, Hash: d.target, Group: d.group,
		Cause: causeOf(d.messageID, d.cause), Began: shown(d.accepted), Expires: shown(d.expires), Receipt: d.receipt, Told: d.tell, Open: d.receipt, TraceID: span.TraceID(d.trace),
	}
	if f, is := l.forgottenNow()[t.Plugin]; is && d.seq <= f.Seq {
		t.Forgotten, t.Told = shown(f.At), false
	}
	l.tried(&t, due, attempts)
	return t
}

// tried adds what the record of attempts says.
func (l *Ledger) tried(t *entry.Trace, due int64, attempts uint32) {
	shown := l.shown()
	t.State, t.Due, t.Attempts = entry.StateWaiting, shown(due), int(attempts)
	if due == 0 && attempts == 0 {
		return
	}
	err := l.read(appendSeqKey(nil, kindTries, t.Seq), func(r *reader) error {
		s := readTries(r)
		t.Error, t.Tries, t.State = s.note, public(s.past, shown), entry.StateRetrying
		return r.done()
	})
	if err != nil && !errors.Is(err, errGone) { // it waits for its time, or has ended meanwhile
		t.Error = err.Error()
	}
}

func public(past []attempt, shown func(int64) time.Time) (all []entry.Attempt) {
	for i := range past {
		all = append(all, past[i].public(shown))
	}
	return all
}

// idText is an id; "" for none.
func idText(id ulid.ULID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// causeOf is the event whose handler has sent a downstream: as stored, or as the id tells
// that the SDK makes.
func causeOf(messageID string, stored ulid.ULID) string {
	if !stored.IsZero() {
		return stored.String()
	}
	if begin, _, ok := strings.Cut(messageID, "-"); ok && len(begin) == ulid.EncodedSize {
		if _, err := ulid.ParseStrict(begin); err == nil {
			return begin
		}
	}
	return ""
}

// trace is a dead letter.
func (d *dead) trace(shown func(int64) time.Time) entry.Trace {
	h := d.event.heading()
	t := entry.Trace{
		Kind: h.kind, ID: d.event.id.String(), State: entry.StateDead, Session: h.session, Category: h.category, Plugin: d.plugin,
		Device: entry.KeptDevice(h.target), Hash: h.device, MessageID: clip(h.messageID, maxName), Cause: idText(h.cause),
		Began: shown(toNanos(ulid.Time(d.event.id.Time()))), Ended: shown(toNanos(d.died)), Attempts: int(d.attempts),
		Tries: public(d.tries, shown), Error: d.reason, TraceID: span.TraceID(d.event.trace),
	}
	if t.Plugin == "" {
		t.Plugin = h.plugin
	}
	if h.kind != entry.Upstream {
		t.Group = h.lane
	}
	return t
}

// lens makes traces of the summaries of records, one after the other, in one place.
type lens struct {
	shown func(int64) time.Time
	gone  map[string]forgotten // plugins
	id    [ulid.EncodedSize]byte
	trace entry.Trace // its texts are lent
}

// look makes the trace of the i-th summary of a record.
func (v *lens) look(s *summary, r *reader, i int) *entry.Trace {
	v.trace = entry.Trace{
		Kind: s.kind, State: entry.StateHandled, Session: s.session, Category: s.category, Plugin: s.plugin, Device: s.target,
		Hash: s.device, MessageID: s.messageID, Ended: v.shown(s.end(r.ended())), Attempts: s.attempts,
		Code: s.code, Error: s.detail, Receipt: s.receipt, Told: s.told, Made: s.made,
		MadeFrom: s.madeFrom, MadeTo: s.madeTo, Open: s.receipt || s.timers || r.format < formatLife, At: placeOf(r.key, i),
		Last: entry.Attempt{Number: s.attempts, Began: v.shown(s.began), Took: s.took, Version: s.version, Via: s.via},
	}
	t := &v.trace
	if s.trace != [16]byte{} {
		t.TraceID = hex.EncodeToString(s.trace[:])
	}
	if s.past != nil {
		t.Tries = public(s.past, v.shown)
	}
	if s.kind != 0 {
		_ = s.id.MarshalTextTo(v.id[:]) // never fails: the buffer is large enough
		t.ID, t.Began = unsafe.String(&v.id[0], len(v.id)), v.shown(toNanos(ulid.Time(s.id.Time())))
		t.Cause = idText(s.cause)
		if s.kind != entry.Upstream {
			t.Group = s.lane
		}
		if s.code == codeForgotten {
			t.State = entry.StateCanceled
		}
		return t
	}
	t.Seq, t.ID, t.MessageID, t.Group, t.Began = s.seq, s.messageID, "", s.lane, v.shown(s.accepted)
	t.Cause, t.State = causeOf(s.messageID, s.cause), endings[s.status]
	if f, is := v.gone[s.plugin]; is && s.seq <= f.Seq && s.end(r.ended()) >= f.At {
		t.Forgotten = v.shown(f.At)
	}
	return t
}

// end is when it ended, in nanoseconds: in the millisecond of its record, and not before its
// last attempt.
func (s *summary) end(millis int64) int64 {
	least := millis * int64(time.Millisecond)
	return min(least+int64(time.Millisecond)-1, max(least, s.began+int64(s.took)))
}

// endings are the states of downstreams that have ended.
var endings = map[message.OutcomeStatus]entry.State{
	message.Acked: entry.StateAcked, message.Failed: entry.StateFailed, message.Expired: entry.StateExpired, message.Canceled: entry.StateCanceled,
}
