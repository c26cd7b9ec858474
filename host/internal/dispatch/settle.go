package dispatch

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/plain"
	"balhost/host/internal/status"
	"balhost/host/internal/tally"
	"balhost/host/internal/turns"
	"balhost/sdk/wire"
)

// ending is the end of one handing out: from the plugin's result, or without one,
// to the disk. Verdict 0: the plugin gave the event back and did nothing.
type ending struct {
	entry.Settlement
	after   time.Duration // Retry: the wait that the handler asked for; 0 or less: the usual one
	lane    *lane
	about   subject
	took    time.Duration // the handler's time
	late    bool          // the handler's time was up
	slowed  bool          // the wait is the host's, none that the handler named
	failed  bool          // an error, a panic, a time-out or a result that can't be, not a rejection
	uncoded bool          // the result had no code that the host knows
	writes  []string      // what it changes, in the words of the turns
	run     *turns.Run    // what the handler holds of the state until the commit; nil: nothing
	trace   *attemptSpan  // of the handing out, until it is told; nil: it is not traced
	letter  []any         // what the log calls it by, once it is a dead letter
	told    chan error    // waits for the end that is on disk, or for why it is not; nil: nobody waits
}

// end moves one delivery to its end. A number that is not out is a late result: the
// process was given up, and its event has gone on without it.
func (d *Dispatcher) end(in *Instance, e *ending) {
	out, ok := in.remove(e.Lease)
	if !ok || d.tooLate(in, out) {
		return
	}
	now, l := time.Now(), out.lane
	took := now.Sub(out.started)
	in.of.handlings.Observe(took.Seconds())
	in.of.took.Add(now, took)
	e.about, e.took, e.trace = out.about, took, out.trace
	e.lane, e.run, e.late = l, out.run, took >= in.HandlerTimeout
	e.Seq, e.Plugin, e.Attempt = l.head().Seq, in.of.name, in.attempt(out, took)
	switch e.Verdict {
	case entry.Done:
		if err := d.addressed(&e.Changes, in.of, out); err != nil {
			e.Changes = entry.Changes{}
			d.retry(in, e, 0, err.Error())
			return
		}
		d.commit(in, e)
	case entry.Dead:
		d.commit(in, e)
	case entry.Retry:
		if e.uncoded {
			d.uncoded(in.of, time.Now())
		}
		if e.late {
			e.Changes = entry.Changes{} // a time-out counts, whatever it had read
		}
		d.retry(in, e, e.after, e.Reason)
	default:
		d.tellReturned(in, out, e.Reason)
		in.of.turns.End(e.run)
		d.loop(in.of, l)
	}
}

// addressed sends what names no session by that of the event, and puts timers into its lane,
// and all of it into its trace.
func (d *Dispatcher) addressed(c *entry.Changes, p *plugin, by *delivery) error {
	by.trace.below(c)
	session := by.lane.head().Session
	for i := range c.Sends {
		m := &c.Sends[i].Message
		if m.Session != "" {
			continue
		}
		if m.Session = session; session == "" {
			return fmt.Errorf("%w: the downstream %s names no session, nor does its event, and there are several: %q", wire.ErrInvalid, m.MessageID, d.o.Senders().Names())
		}
		if err := d.o.Senders().Fits(session, *m); err != nil {
			return fmt.Errorf("%w: downstream %s: %w", wire.ErrInvalid, m.MessageID, err)
		}
	}
	return d.placed(c.Schedules, p, by)
}

// retry has the head wait for another attempt, or makes it a dead letter when it has
// had enough. after is the wait that the handler asked for; 0 or less: the usual one.
func (d *Dispatcher) retry(in *Instance, e *ending, after time.Duration, reason string) {
	attempt := e.lane.head().Attempts + 1
	e.Reason, e.failed = reason, true
	if in.MaxAttempts > 0 && attempt >= in.MaxAttempts {
		e.Verdict = entry.Dead
	} else {
		if e.slowed = after <= 0; e.slowed {
			after = d.o.Retry.DelayAtLeast(attempt, d.rnd)
		}
		e.Verdict, e.Due = entry.Retry, time.Now().Add(after)
	}
	d.commit(in, e)
}

// commit gives the end of a handing out to the ledger. Others that have the keys
// which it writes go first. committed hears of it when it is on disk.
func (d *Dispatcher) commit(in *Instance, e *ending) {
	in.committing++
	if e.Verdict == entry.Dead {
		e.letter = d.letter(e.Seq)
	}
	settle := func() {
		d.o.Ledger.Settle(e.Settlement, func(err error) {
			d.box.put(func(d *Dispatcher) { d.traceEnd(in, e, err); d.committed(in, e, err) })
		})
	}
	p := in.of
	e.writes = p.listed.writes(e.Changes)
	if turn := p.turns.Commit(e.run, e.writes, settle); turn != nil {
		p.waitFor(turn, wait{until: time.Now().Add(in.HandlerTimeout), goOn: func() { p.turns.Land(e.writes); settle() }, in: in})
		return
	}
	settle()
}

// committed moves the lane on: its end is on disk, or can't be.
func (d *Dispatcher) committed(in *Instance, e *ending, err error) {
	p, l, s := in.of, e.lane, e.Settlement
	in.committing--
	e.answer(err)
	p.turns.Landed(e.writes)
	p.turns.End(e.run)
	e.run = nil
	if err == nil && e.failed {
		d.blame(in, l)
	}
	if err == nil {
		p.saw(e.Changes)
		p.ended(e.Changes)
	}
	switch {
	case errors.Is(err, entry.ErrClosed):
		return // the process is about to end; the event is pending in the ledger
	case errors.Is(err, entry.ErrConflict) && e.late: // it held up others until its time was up: that counts
		d.contended(p, e.Changes, err)
		e.Changes = entry.Changes{}
		d.retry(in, e, 0, "the handler's time was up, and what it had read has changed")
	case errors.Is(err, entry.ErrConflict): // P7: the handler runs again, no attempt counted
		d.lost(p, e, err)
	case errors.Is(err, entry.ErrLease) && l.head().Kind == entry.Timer:
		d.log.Debug("a timer was canceled or set anew while its handler ran: the handler's result does not count", "plugin", p.name, "seq", s.Seq)
		d.reread(p, l)
	case errors.Is(err, entry.ErrLease), errors.Is(err, entry.ErrUnknown):
		d.log.Error("end of an event refused", "plugin", p.name, "seq", s.Seq, "err", err)
		d.reread(p, l)
	case err != nil: // what it wanted to commit can't be: the handler's fault
		e.Changes = entry.Changes{}
		if e.Reason = err.Error(); failure(translate(err)) == entry.Dead {
			e.Verdict, e.failed = entry.Dead, true
			d.commit(in, e)
			return
		}
		d.retry(in, e, 0, e.Reason)
	case s.Verdict == entry.Retry:
		d.retried(in, e)
	case s.Verdict == entry.Dead:
		d.tell(feed.Dead, in, e)
		d.note(p, l.head(), "dead", &p.died)
		d.failed(p, l.head(), s, e.letter...)
		d.advance(p, l)
	case s.Verdict == entry.Again:
		d.tell(feed.Replayed, in, e)
		d.note(p, l.head(), "again", &p.again)
		d.advance(p, l)
	case s.Verdict == entry.Void:
		d.tell(feed.Canceled, in, e)
		d.note(p, l.head(), "canceled", &p.canceled)
		d.advance(p, l)
	default:
		in.done.Handled++
		d.tell(feed.Handled, in, e)
		d.note(p, l.head(), "handled", &p.handled)
		d.advance(p, l)
	}
	d.quiet(in)
}

// retried makes a lane's head wait for its next attempt, which is on disk.
func (d *Dispatcher) retried(in *Instance, e *ending) {
	p, l := in.of, e.lane
	d.tell(feed.Retried, in, e)
	d.note(p, l.head(), "retried", &p.retried)
	d.failed(p, l.head(), e.Settlement)
	l.head().Attempts++
	l.head().Due, l.loops, l.loss, l.slowed = e.Due, 0, nil, e.slowed
	if l.slowed && in.Content != p.content {
		l.head().Due = time.Now() // other content serves by now
	}
	d.release(p, l)
}

// release makes a lane's head, which was handed out, eligible again.
func (d *Dispatcher) release(p *plugin, l *lane) {
	d.o.Ledger.Lease(l.head().Seq, 0)
	d.again(p, l)
}

// loop makes a lane's head eligible again, without counting an attempt. From the
// third time in a row on the head waits a little, so that an endless loop doesn't
// take a whole processor.
func (d *Dispatcher) loop(p *plugin, l *lane) {
	if l.loops++; l.loops > 2 {
		wait := backoff.Policy{Min: 10 * time.Millisecond, Max: 5 * time.Second}.DelayAtLeast(l.loops-2, d.rnd)
		l.head().Due = time.Now().Add(wait)
	}
	d.release(p, l)
}

// reread makes a lane's head what the ledger says it is, and hands it out again. If
// the ledger has it no more, the lane goes on.
func (d *Dispatcher) reread(p *plugin, l *lane) {
	head := l.head()
	found := d.o.Ledger.Events(head.Seq-1, 1)
	if len(found) == 0 || found[0].Seq != head.Seq {
		d.notice(p, l)
		return
	}
	*head = found[0]
	d.loop(p, l)
}

// blame counts a failure against a process. One of an event that failed in another
// process first says nothing about this one.
func (d *Dispatcher) blame(in *Instance, l *lane) {
	if l.head().Attempts == 0 {
		l.failed = in
	}
	in.done.Failed++
	if l.failed != in {
		in.done.Old++
	}
}

// advance takes the head, which has ended, off its lane.
func (d *Dispatcher) advance(p *plugin, l *lane) {
	head := l.events.pop()
	delete(p.crashes, head.Seq)
	delete(d.busy, head.Seq)
	d.over(&head)
	p.loaded, d.loaded = p.loaded-1, d.loaded-1
	l.busy, l.loops, l.loss, l.slowed, l.ended, l.failed = false, 0, nil, false, false, nil
	if l.next != 0 && l.events.len() <= d.laneRoom(p)/2 {
		p.hungry[l] = true
	}
	if l.events.len() > 0 {
		d.again(p, l)
	} else {
		p.keep(l)
	}
}

// keep forgets a lane of which nothing is pending.
func (p *plugin) keep(l *lane) {
	if l.shared && l.events.len() == 0 && l.next == 0 {
		delete(p.lanes, l.key)
	}
}

// again queues a lane whose head is idle, at the plugin that owns it now.
func (d *Dispatcher) again(p *plugin, l *lane) {
	head := l.head()
	l.busy = false
	delete(d.busy, head.Seq)
	p.queue(l)
	key := keyOf(head)
	pl := d.piles[key]
	if pl == nil || key.plugin != "" {
		return
	}
	if is := d.table.Owner(key.category); is != pl.owner {
		d.move(pl, key.category, is)
	}
	if pl.owner != p.name { // it was handed out when its pile moved
		seq := head.Seq
		d.unload(p)
		if pl.owner != "" {
			d.rewind(d.plugin(pl.owner), seq)
		}
	}
}

// letter is how the log names an event: its id, as "balhost dead show" wants it, and
// the message's own. It must be read while the ledger has the event.
func (d *Dispatcher) letter(seq uint64) []any {
	body, err := d.o.Ledger.Body(seq)
	switch {
	case err != nil:
		return nil
	case body.Upstream != nil:
		return []any{"id", body.Upstream.ID, "msg_id", body.Upstream.MessageID, "device", plain.Brief(body.Upstream.From)}
	case body.Outcome != nil:
		return []any{"id", body.Outcome.ID, "msg_id", body.Outcome.MessageID}
	case body.Receipt != nil:
		return []any{"id", body.Receipt.ID, "msg_id", body.Receipt.OriginalMessageID, "device", plain.Brief(body.Receipt.Device)}
	case body.Timer != nil:
		return []any{"id", body.Timer.ID, "key", plain.Text(body.Timer.Key)}
	}
	return nil
}

// failed keeps why an event was not handled, and says so: each dead letter, and of a
// plugin's retries each reason once in ten seconds.
func (d *Dispatcher) failed(p *plugin, e *entry.Event, s entry.Settlement, letter ...any) {
	now := time.Now()
	p.failure, p.failedAt = s.Reason, now
	p.troubles.Add(tally.Cause{Reason: s.Reason, Ended: s.Verdict == entry.Dead}, now)
	facts := []any{"plugin", p.name, "seq", e.Seq, "attempt", e.Attempts + 1, "err", s.Reason}
	switch {
	case s.Verdict == entry.Dead:
		d.log.Warn("event goes to the dead letters", append(letter, facts...)...)
	case !p.told.news(s.Reason, now):
		p.unsaid++
	default:
		d.log.Warn("event was not handled, it comes again", append(append(d.letter(e.Seq), facts...), "after", time.Until(s.Due).Round(time.Millisecond), "unsaid", p.unsaid)...)
		p.unsaid = 0
	}
}

// reasons are why events were not handled, as far as the log said so lately.
type reasons []told

type told struct {
	reason string
	at     time.Time
}

// In the time of reasonEvery a plugin has at most mostReasons such lines: reasons often
// have a number or a name in them, so all can differ.
const (
	reasonEvery = 10 * time.Second
	mostReasons = 8
)

// news reports whether a reason is to be logged now. Then it counts as logged.
func (r *reasons) news(reason string, now time.Time) bool {
	*r = slices.DeleteFunc(*r, func(t told) bool { return now.Sub(t.at) >= reasonEvery })
	if len(*r) >= mostReasons || slices.ContainsFunc(*r, func(t told) bool { return t.reason == reason }) {
		return false
	}
	*r = append(*r, told{reason, now})
	return true
}

// note counts the end of a handing out.
func (d *Dispatcher) note(p *plugin, e *entry.Event, end string, count *uint64) {
	*count++
	if p.measured {
		d.metrics.ends.WithLabelValues(p.name, e.Kind.String(), end).Inc()
	}
	d.recent.add(status.Recent{At: time.Now(), Plugin: p.name, Kind: e.Kind.String(), End: end, Category: e.Category})
}
