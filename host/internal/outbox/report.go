package outbox

import (
	"cmp"
	"strings"
	"time"
	"unicode"

	"balhost/host/internal/flow"
	"balhost/host/internal/plain"
	"balhost/sdk/message"
)

// Each downstream that fails is named in the log: its id, the beginning of its
// target, and what the peer said. Where very many fail with one code, the first few
// are named, and later a line says how many more there were.
const (
	reportLines  = 10               // of one code
	reportEvery  = 30 * time.Second // in so long
	reportCodes  = 64               // that are told apart; a peer can make up any number
	reportLength = 1 << 10          // of what the peer said, in bytes, with what the transport advises
)

// report is what was said of one code lately.
type report struct {
	since time.Time
	said  int
	left  int    // not said since
	code  string // the last
}

// tell makes the log line for an item that ends without having reached anybody,
// or counts it. The caller holds mu. It calls say without mu.
func (b *Outbox) tell(it *item, status message.OutcomeStatus, why flow.Answer, now time.Time) (say func()) {
	what := "downstream failed"
	if status == message.Expired {
		what = "downstream expired after a refusal"
	}
	key := what + " " + why.Code
	if b.reports[key] == nil && len(b.reports) >= reportCodes {
		key = what
	}
	r := b.reports[key]
	if r == nil {
		r = &report{since: now}
		b.reports[key] = r
		b.hint() // Run drops it when its time is over
	}
	r.code = printable(why.Code, 64)
	if r.said == reportLines {
		r.left++
		return func() {}
	}
	r.said++
	return func() {
		var to string
		if m, err := b.o.Ledger.Take(it.Seq); err == nil { // it has gone out before; on an error the line goes without it
			to = plain.Brief(target(m.To))
		}
		b.log.Warn(what, append([]any{"session", b.named(it.queue.sender), "msg_id", it.MessageID, "to", to}, pairs(why)...)...)
	}
}

// target is a target for a log line.
func target(t message.Target) string {
	if t.Topic != "" {
		return "topic " + t.Topic
	}
	return cmp.Or(t.Token, t.FID, t.Condition)
}

// pairs are an answer as pairs of a log line: the code, and the words if there are any.
func pairs(a flow.Answer) []any {
	pairs := []any{"code", printable(a.Code, 64)}
	if a.Description != "" {
		pairs = append(pairs, "err", printable(a.Description, reportLength))
	}
	return pairs
}

// named is the name of a sender, for log lines.
func (b *Outbox) named(sender string) string {
	if b.o.Senders == nil {
		return sender
	}
	return b.o.Senders().Name(sender)
}

// reported ends the reports whose time is over. What they left out is said now.
func (b *Outbox) reported(now time.Time, sooner func(time.Time)) (say []func()) {
	for key, r := range b.reports {
		end := r.since.Add(reportEvery)
		if end.After(now) {
			sooner(end)
			continue
		}
		delete(b.reports, key)
		if r.left > 0 {
			say = append(say, func() {
				b.log.Warn("more downstreams ended with this code", "code", r.code, "count", r.left, "took", reportEvery)
			})
		}
	}
	return say
}

// printable is what a peer said, as a log line can show it.
func printable(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return '·'
	}, strings.ToValidUTF8(s, ""))
}
