package outbox

import (
	"errors"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

// Codes of failed outcomes that are the host's own, beside CCS's.
const (
	CodeStanza         = "STANZA_ERROR"    // CCS refused the stanza, not the message in it
	CodeStreamError    = "STREAM_ERROR"    // CCS ended each stream over this message, and lives with others
	CodeConnectionLost = "CONNECTION_LOST" // each connection ended before CCS answered this message, and lives with others
)

// Nacked says that CCS refused the downstream with code (ccs-protocol.md §4.1).
// Unknown ones, answered before, are ignored.
func (b *Outbox) Nacked(session string, seq uint64, code, description string) {
	b.refuse(seq, code, description, func(attempts int) flow.Verdict {
		return flow.Judge(code, attempts, b.o.Attempts)
	})
}

// Refused says that CCS refused the stanza that carried the downstream, or that
// it can't be written as one; errorType and condition are the stanza error's
// (ccs-protocol.md §4.2).
func (b *Outbox) Refused(session string, seq uint64, errorType, condition, description string) {
	b.refuse(seq, CodeStanza, description, func(attempts int) flow.Verdict {
		return flow.JudgeStanza(errorType, condition, attempts, b.o.Attempts)
	})
}

func (b *Outbox) refuse(seq uint64, code, description string, judge func(attempts int) flow.Verdict) {
	now := time.Now()
	b.mu.Lock()
	it := b.items[seq]
	if it == nil || it.state != taken {
		b.mu.Unlock()
		return
	}
	it.acquit()
	verdict := judge(it.Attempts + 1)
	switch verdict {
	case flow.Resend: // says nothing of the message, or of the account
	case flow.Halt:
		if !it.session.accused(it) {
			verdict = flow.Judge("", it.Attempts+1, b.o.Attempts)
		}
	default:
		it.session.answers++
	}
	b.metrics.nacks.WithLabelValues(verdict.String()).Inc()
	record := b.obey(it, verdict, code, description, now)
	b.mu.Unlock()
	record()
}

// obey does to it what the verdict asks for. The caller holds mu; what it
// returns is for after that: it tells the ledger.
func (b *Outbox) obey(it *item, v flow.Verdict, code, description string, now time.Time) (record func()) {
	s := it.session
	switch v {
	case flow.Fail:
		say := b.tell(it, "downstream failed", code, description, now)
		e := b.end(it, message.Failed, code, description)
		return func() { say(); b.finish(e) }
	case flow.Resend, flow.Isolate: // no attempt, no wait: the connection was at fault, as far as we know
		it.suspect = v == flow.Isolate
		s.turn.owed = s.turn.owed || it.suspect
		b.putBack(it, now)
		return func() {}
	case flow.Halt: // no attempt, and no wait but the session's: the account was at fault
		if !s.halted.After(now) {
			s.halt(now.Add(b.o.Halt))
			b.log.Error("CCS refuses this sender: downstreams stop; check its key and account", append([]any{"session", b.named(s.id)}, because(code, description)...)...)
		}
		b.putBack(it, now)
		return func() {}
	}
	if v == flow.Hold {
		it.holds++
		it.Due = now.Add(b.o.Retry.DelayAtLeast(it.holds, b.rnd))
	} else {
		it.Attempts++
		it.Due = now.Add(b.o.Retry.DelayAtLeast(it.Attempts, b.rnd))
	}
	if v == flow.SlowDown {
		s.slow(it.target, now, func(times int) time.Duration { return b.o.Slow.DelayAtLeast(times, b.rnd) })
		if until := s.resting(it.target, now, b.rnd); until.After(it.Due) {
			it.Due = until
		}
	}
	if flow.Expired(it.Due, it.Expires) { // never past the TTL
		say := b.tell(it, "downstream expired after a refusal", code, description, now)
		e := b.end(it, message.Expired, code, description)
		return func() { say(); b.finish(e) }
	}
	b.putBack(it, now)
	seq, due, attempts := it.Seq, it.Due, it.Attempts
	return func() {
		b.o.Ledger.Postpone(seq, due, attempts, code, func(err error) {
			if err != nil && !errors.Is(err, entry.ErrUnknown) && !errors.Is(err, entry.ErrClosed) {
				// Nothing is lost: after a restart it goes earlier, that is all.
				b.log.Warn("retry schedule not recorded", "seq", seq, "err", err)
			}
		})
	}
}
