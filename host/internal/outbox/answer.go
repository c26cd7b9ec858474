package outbox

import (
	"errors"
	"fmt"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/host/internal/tally"
	"balhost/sdk/message"
)

// What a transport says about the downstreams that it took.

// Answered says what became of a downstream that the transport or a route took. One that
// is unknown, or was answered before, is ignored. An ack counts even if it comes after
// the downstream was returned. Of a route's verdicts, Acked and Fail end the downstream.
// Any other one says that the route can't carry it: it goes by the transport, whatever
// is attached, and has no attempt for that.
func (b *Outbox) Answered(sender string, seq uint64, a flow.Answer) {
	now := time.Now()
	b.mu.Lock()
	it := b.items[seq]
	var record func()
	switch {
	case it == nil || it.state == ending:
		record = func() {}
	case a.Verdict == flow.Acked && it.routed:
		record = b.delivered(it, now)
	case a.Verdict == flow.Acked:
		record = b.acked(it, a, now)
	case it.state == taken && it.routed:
		record = b.declined(it, a, now)
	case it.state == taken:
		record = b.refused(it, a, now)
	default:
		record = func() {}
	}
	b.mu.Unlock()
	record()
}

// acked ends a downstream that the peer took. The caller holds mu, and calls record without it.
func (b *Outbox) acked(it *item, a flow.Answer, now time.Time) (record func()) {
	q := it.queue
	if r, ok := q.rests[it.Target]; ok && !r.until.After(now) {
		delete(q.rests, it.Target)
	}
	if q.trial.Acked(now, it.refusals) {
		b.log.Info("this sender is taken again: downstreams go on", "session", b.named(q.sender))
	}
	e := q.end(it, now, entry.End{Status: message.Acked, NewToken: a.NewToken, Trace: b.traceSent(it, a, now)})
	return func() { b.record(e) }
}

// delivered ends a downstream that its device has, by a route or by itself. It says
// nothing of the transport. The caller holds mu, and calls record without it.
func (b *Outbox) delivered(it *item, now time.Time) (record func()) {
	e := it.queue.end(it, now, entry.End{Status: message.Acked, Trace: b.traceSent(it, flow.Answer{Verdict: flow.Acked}, now)})
	return func() { b.record(e) }
}

// declined is for what a route did not carry: it fails, or goes by the transport. The
// caller holds mu, and calls record without it.
func (b *Outbox) declined(it *item, a flow.Answer, now time.Time) (record func()) {
	trace := b.traceSent(it, a, now)
	if a.Verdict == flow.Fail {
		return b.giveUp(it, message.Failed, a, trace, now)
	}
	it.offRoute = true
	it.queue.putBack(it, now)
	return func() {}
}

// refused does what the verdict on a refusal asks for. The caller holds mu, and calls
// record without it.
func (b *Outbox) refused(it *item, a flow.Answer, now time.Time) (record func()) {
	it.suspicion = nil // the peer could read it
	verdict, trial := a.Verdict, &it.queue.trial
	switch verdict {
	case flow.Resend: // says nothing of the message, or of the account
	case flow.Halt:
		verdict = b.accuse(it, now)
	case flow.Fail, flow.SlowDown: // the peer looked at the message, so it knows the account
		trial.Vouched(now, it.refusals)
		fallthrough
	default:
		trial.Answered()
		verdict = verdict.After(it.Attempts+1, b.o.Attempts)
	}
	b.metrics.nacks.WithLabelValues(verdict.String()).Inc()
	return b.obey(it, verdict, a, now)
}

// accuse is the verdict when the peer refuses the account over one downstream. If the
// message is at fault, it is tried again, and fails when it has been at fault as often as
// the limit of attempts says. Attempts that had other reasons don't count here: an
// account that is wrong fails no message.
func (b *Outbox) accuse(it *item, now time.Time) flow.Verdict {
	if it.accusation == nil {
		it.accusation = &flow.Accusation{}
	}
	if it.queue.trial.Accused(now, it.accusation) {
		return flow.Halt
	}
	return flow.Retry.After(it.accusation.Blamed, b.o.Attempts)
}

// Return takes back what a connection that has ended left unanswered. It goes
// again, oldest first, with the same message id and no attempt counted (P3),
// unless it is suspected of having ended the connection, see [flow.JudgeLoss]. The end of
// a route is put down to no downstream.
// Return reports whether the end is put down to one of them.
func (b *Outbox) Return(sender string, seqs []uint64, end flow.End) (blamed bool) {
	now := time.Now()
	var records []func()
	b.mu.Lock()
	for _, seq := range seqs {
		it := b.items[seq]
		switch {
		case it == nil || it.state != taken:
			continue
		case it.routed: // suspects and trials are the transport's
			b.traceSent(it, flow.Answer{Verdict: flow.Resend, Description: end.Why}, now)
			it.queue.putBack(it, now)
			continue
		}
		if it.suspicion == nil {
			it.suspicion = &flow.Suspicion{}
		}
		loss := it.suspicion.Lose(end, len(seqs) == 1, it.queue.trial.Answers())
		blamed = blamed || loss.Blames()
		why, attempt := lost(loss), it.Attempts+1
		if loss.Suspect && !end.Fault.Acquits() {
			records = append(records, func() {
				b.log.Warn("connection ended over one downstream", "msg_id", it.MessageID, "attempt", attempt, "code", why.Code, "err", end.Why)
			})
		}
		records = append(records, b.obey(it, flow.JudgeLoss(loss, attempt, b.o.Attempts), why, now))
	}
	b.mu.Unlock()
	for _, record := range records {
		record()
	}
	return blamed
}

// lost is the answer that a loss amounts to.
func lost(l flow.Loss) flow.Answer {
	others := "while others got through"
	if !l.Ever {
		others = "and nothing else got through meanwhile"
	}
	return flow.Answer{Code: l.Code, Description: fmt.Sprintf(
		"its connection ended before it was answered, %d times in a row, the last ones with this message alone, %s; at last: %s", l.Times, others, l.Why)}
}

// obey does what a verdict asks for. The caller holds mu. What it returns is to be
// called without mu: it tells the ledger.
func (b *Outbox) obey(it *item, v flow.Verdict, why flow.Answer, now time.Time) (record func()) {
	q := it.queue
	why.Verdict = v
	trace := b.traceSent(it, why, now)
	switch v {
	case flow.Fail:
		return b.giveUp(it, message.Failed, why, trace, now)
	case flow.Halt: // the account is at fault: the sender waits, the message has no attempt
		if q.trial.Halt(now, now.Add(b.o.Halt)) {
			b.log.Error("this sender is refused: downstreams stop; check its credentials and account", append([]any{"session", b.named(q.sender)}, pairs(why)...)...)
		}
		q.putBack(it, now)
		return func() {}
	case flow.Isolate: // as Resend, but alone
		it.suspicion.Suspect = true
		q.trial.Isolated(now)
		fallthrough
	case flow.Resend: // the connection is at fault: at once, and no attempt
		q.putBack(it, now)
		return func() {}
	case flow.Rest: // the sender is sent too much: it waits, the message has no attempt
		q.rest(now, why.Imposed())
		if flow.Expired(q.resting, it.Expires) {
			return b.giveUp(it, message.Expired, why, trace, now)
		}
		q.putBack(it, now)
		return func() {}
	case flow.Hold:
		it.suspicion.Holds++
		it.Due = now.Add(b.o.Retry.DelayAtLeast(it.suspicion.Holds, b.rnd))
	default:
		it.Attempts++
		it.Due = now.Add(max(b.o.Retry.DelayAtLeast(it.Attempts, b.rnd), q.spread(why.Imposed())))
	}
	if v == flow.SlowDown {
		q.slow(it.Target, now, why.Imposed(), func(times int) time.Duration { return b.o.Slow.DelayAtLeast(times, b.rnd) })
		q.delay(it, now)
	}
	if flow.Expired(it.Due, it.Expires) { // never past the TTL
		return b.giveUp(it, message.Expired, why, trace, now)
	}
	q.troubles.Add(tally.Cause{Code: why.Code, Reason: why.Description}, now)
	p := entry.Postponement{Seq: it.Seq, Due: it.Due, Attempts: it.Attempts, Tried: it.tried(now)}
	p.Tried.Code, p.Tried.Error = why.Code, why.Description
	q.putBack(it, now)
	return func() {
		b.o.Ledger.Postpone(p, func(err error) {
			if err != nil && !errors.Is(err, entry.ErrUnknown) && !errors.Is(err, entry.ErrClosed) {
				// Nothing is lost: after a restart of the host it goes earlier.
				b.log.Warn("retry schedule not recorded", "seq", p.Seq, "err", err)
			}
		})
	}
}

// giveUp ends an item that did not reach anybody. It says so in the log. trace is the span of
// its last sending.
func (b *Outbox) giveUp(it *item, status message.OutcomeStatus, why flow.Answer, trace *entry.TraceSpan, now time.Time) (record func()) {
	say := b.tell(it, status, why, now)
	it.queue.troubles.Add(tally.Cause{Code: why.Code, Reason: why.Description, Gone: why.Gone, Ended: true}, now)
	e := it.queue.end(it, now, entry.End{Status: status, Code: why.Code, Description: why.Description, Gone: why.Gone, Trace: trace})
	return func() {
		say() // first: it reads the message
		b.record(e)
	}
}
