package outbox

import (
	"errors"
	"fmt"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

// What a connection says about the downstreams that it took.

// Codes of failed outcomes that are the host's own, beside CCS's.
const (
	CodeStanza         = "STANZA_ERROR"    // CCS refused the stanza, not the message in it
	CodeStreamError    = "STREAM_ERROR"    // CCS ends each stream that carries this message, and takes others
	CodeConnectionLost = "CONNECTION_LOST" // each connection ends before CCS answers this message, and others get through
)

// Acked says that CCS took the downstream; newToken replaces its target's when
// not empty. A downstream that is unknown, or was answered before, is ignored.
func (b *Outbox) Acked(sender string, seq uint64, newToken string) {
	now := time.Now()
	b.mu.Lock()
	it := b.items[seq]
	if it == nil || it.state == ending {
		b.mu.Unlock()
		return
	}
	q := it.queue
	if r, ok := q.rests[it.Target]; ok && !r.until.After(now) {
		delete(q.rests, it.Target)
	}
	if q.trial.Acked() {
		b.log.Info("CCS takes this sender again: downstreams go on", "session", b.named(q.sender))
	}
	e := q.end(it, now, entry.End{Status: message.Acked, NewToken: newToken})
	b.mu.Unlock()
	b.record(e)
}

// Nacked says that CCS refused the downstream with code (ccs-protocol.md §4.1).
// A downstream that is unknown, or was answered before, is ignored.
func (b *Outbox) Nacked(sender string, seq uint64, code, description string) {
	b.answered(seq, flow.Judge(code), reason{code, description})
}

// Refused says that CCS refused the stanza that carried the downstream, or that
// no stanza can carry it; errorType and condition are the stanza error's
// (ccs-protocol.md §4.2).
func (b *Outbox) Refused(sender string, seq uint64, errorType, condition, description string) {
	b.answered(seq, flow.JudgeStanza(errorType, condition), reason{CodeStanza, description})
}

// reason is why a downstream was not taken: a code, and the peer's words.
type reason struct{ code, description string }

// answered does what the verdict on a refusal asks for.
func (b *Outbox) answered(seq uint64, verdict flow.Verdict, why reason) {
	now := time.Now()
	b.mu.Lock()
	it := b.items[seq]
	if it == nil || it.state != taken {
		b.mu.Unlock()
		return
	}
	it.suspicion = nil // CCS could read it
	switch verdict {
	case flow.Resend: // says nothing of the message, or of the account
	case flow.Halt:
		it.accused++
		if !it.queue.trial.Accused() {
			verdict = flow.Retry
		}
	default:
		it.queue.trial.Nacked()
	}
	verdict = verdict.After(it.Attempts+1, b.o.Attempts)
	b.metrics.nacks.WithLabelValues(verdict.String()).Inc()
	record := b.obey(it, verdict, why, now)
	b.mu.Unlock()
	record()
}

// Return takes back what a connection that has ended left unanswered. It goes
// again, oldest first, with the same message id and no attempt counted (P3),
// unless it is suspected of having ended the connection, see [flow.JudgeLoss].
// Return reports whether the end is put down to one of them.
func (b *Outbox) Return(sender string, seqs []uint64, end flow.End) (blamed bool) {
	now := time.Now()
	var records []func()
	b.mu.Lock()
	for _, seq := range seqs {
		it := b.items[seq]
		if it == nil || it.state != taken {
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
				b.log.Warn("connection ended over one downstream", "msg_id", it.MessageID, "attempt", attempt, "code", why.code, "err", end.Why)
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

// lost is the reason of an outcome that a loss brings about.
func lost(l flow.Loss) reason {
	code, what := CodeConnectionLost, "its connection ended before CCS answered"
	if l.Fault == flow.Bytes || l.Fault == flow.Policy {
		code, what = CodeStreamError, "CCS ended the stream before it answered"
	}
	others := "while others got through"
	if !l.Ever {
		others = "and nothing else got through meanwhile"
	}
	return reason{code, fmt.Sprintf("%s, %d times in a row, the last ones with this message alone, %s; at last: %s", what, l.Times, others, l.Why)}
}

// obey does what a verdict asks for. The caller holds mu. What it returns is to be
// called without mu: it tells the ledger.
func (b *Outbox) obey(it *item, v flow.Verdict, why reason, now time.Time) (record func()) {
	q := it.queue
	switch v {
	case flow.Fail:
		return b.giveUp(it, message.Failed, why, now)
	case flow.Halt: // the account is at fault: the sender waits, the message has no attempt
		if q.trial.Halt(now, now.Add(b.o.Halt)) {
			b.log.Error("CCS refuses this sender: downstreams stop; check its key and account", append([]any{"session", b.named(q.sender)}, why.pairs()...)...)
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
	case flow.Hold:
		it.suspicion.Holds++
		it.Due = now.Add(b.o.Retry.DelayAtLeast(it.suspicion.Holds, b.rnd))
	default:
		it.Attempts++
		it.Due = now.Add(b.o.Retry.DelayAtLeast(it.Attempts, b.rnd))
	}
	if v == flow.SlowDown {
		q.slow(it.Target, now, func(times int) time.Duration { return b.o.Slow.DelayAtLeast(times, b.rnd) })
		q.delay(it, now)
	}
	if flow.Expired(it.Due, it.Expires) { // never past the TTL
		return b.giveUp(it, message.Expired, why, now)
	}
	q.putBack(it, now)
	seq, due, attempts := it.Seq, it.Due, it.Attempts
	return func() {
		b.o.Ledger.Postpone(seq, due, attempts, why.code, func(err error) {
			if err != nil && !errors.Is(err, entry.ErrUnknown) && !errors.Is(err, entry.ErrClosed) {
				// Nothing is lost: after a restart of the host it goes earlier.
				b.log.Warn("retry schedule not recorded", "seq", seq, "err", err)
			}
		})
	}
}

// giveUp ends an item that did not reach anybody. It says so in the log.
func (b *Outbox) giveUp(it *item, status message.OutcomeStatus, why reason, now time.Time) (record func()) {
	say := b.tell(it, status, why, now)
	e := it.queue.end(it, now, entry.End{Status: status, Code: why.code, Description: why.description})
	return func() {
		say() // first: it reads the message
		b.record(e)
	}
}
