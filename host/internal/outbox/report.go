package outbox

import (
	"strings"
	"time"
	"unicode"

	"balhost/host/internal/plain"
)

// A downstream that has failed is named in the log, once: its id, the beginning
// of its target, what CCS said. Where CCS refuses all of them, the first few of a
// code are named, and then how many more there were.
const (
	reportLines  = 10               // of one code
	reportEvery  = 30 * time.Second // in so long
	reportCodes  = 64               // that are told apart; a peer can make up any number
	reportLength = 300              // of what CCS said, in bytes
)

// report is what was said of one code lately.
type report struct {
	since time.Time
	said  int
	left  int    // not said since
	code  string // the last
}

// tell makes the log line for it, which has ended without reaching anybody, or
// counts it. The caller holds mu; the line is written without.
func (b *Outbox) tell(it *item, what, code, description string, now time.Time) (say func()) {
	key := what + " " + code
	if b.reports[key] == nil && len(b.reports) >= reportCodes {
		key = what
	}
	r := b.reports[key]
	if r == nil {
		r = &report{since: now}
		b.reports[key] = r
		b.hint() // Run drops it when its time is over
	}
	r.code = printable(code, 64)
	if r.said == reportLines {
		r.left++
		return func() {}
	}
	r.said++
	id, to := it.MessageID, plain.Brief(it.target)
	return func() {
		b.log.Warn(what, append([]any{"msg_id", id, "to", to}, because(code, description)...)...)
	}
}

// because is why CCS refused something, as pairs of a line: its code, and its
// words if it gave any.
func because(code, description string) []any {
	pairs := []any{"code", printable(code, 64)}
	if description != "" {
		pairs = append(pairs, "err", printable(description, reportLength))
	}
	return pairs
}

// named is a session as other parts' lines name it.
func (b *Outbox) named(senderID string) string {
	if b.o.Senders == nil {
		return senderID
	}
	return b.o.Senders().Name(senderID)
}

// reported ends the time of reports that is over, and says when the next one's
// is. What was left out is said then.
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
				b.log.Warn("more downstreams ended so, not named each", "code", r.code, "count", r.left, "took", reportEvery)
			})
		}
	}
	return say
}

// printable is what a peer said as a line can show it.
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
