package ledger

import (
	"encoding/binary"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

// summary tells how an event or a downstream has ended. It is kept for the retention
// time. It has no payload, and only a hash of the device.
type summary struct {
	kind      entry.Kind // 0: a downstream
	id        ulid.ULID  // of an event
	seq       uint64     // of a downstream
	status    message.OutcomeStatus
	attempts  int
	lane      uint64 // of an event: its device, or group; of a downstream: its group
	session   string
	category  string
	plugin    string // the owner of a downstream or outcome; who handled an upstream
	messageID string
	code      string
	detail    string
}

// summaries collects the summaries of one batch. They become one record (its key is 'F',
// the time in milliseconds, a seq), so it costs little to write and to purge them. A search
// for an event starts at the time in the event's id.
type summaries struct {
	buf  []byte // the records of this batch; the one being written begins at from
	from int
	n    int
	last summary // the next one may share its names
}

// summaryBytes is the size above which a record of summaries takes no more.
const summaryBytes = 256 << 10

// The bits of a summary's second byte say what it shares with the summary before it.
const (
	sameSession = 1 << iota
	sameCategory
	samePlugin
)

// sumUp adds a summary. A record that is large enough is written first.
func (b *batch) sumUp(s summary) {
	w := &b.summaries
	if w.n > 0 && len(w.buf)-w.from > summaryBytes {
		b.closeSummaries()
	}
	if w.n == 0 {
		w.from, w.last = len(w.buf), summary{}
		w.buf = append(w.buf, format)
	}
	w.n++
	w.buf = appendSummary(w.buf, &w.last, &s)
	w.last = s
}

func (b *batch) closeSummaries() {
	w := &b.summaries
	if w.n == 0 {
		return
	}
	from := b.mark()
	b.arena = appendTimeKey(b.arena, b.now)
	b.arena = binary.BigEndian.AppendUint64(b.arena, b.next())
	key := b.since(from)
	w.buf = sealRecord(w.buf, w.from, key)
	b.put(state.Change{Key: key, Value: w.buf[w.from:len(w.buf):len(w.buf)]})
	w.n = 0
}

func (w *summaries) reset() { w.buf, w.n = emptied(w.buf), 0 }

func appendSummary(dst []byte, last, s *summary) []byte {
	var same byte
	if s.session == last.session {
		same |= sameSession
	}
	if s.category == last.category {
		same |= sameCategory
	}
	if s.plugin == last.plugin {
		same |= samePlugin
	}
	dst = append(dst, byte(s.kind), same)
	if s.kind != 0 {
		dst = append(dst, s.id[:]...)
	} else {
		dst = append(binary.AppendUvarint(dst, s.seq), byte(s.status))
		dst = appendText(dst, s.code)
		dst = appendText(dst, s.detail)
	}
	dst = binary.AppendUvarint(dst, uint64(max(0, s.attempts)))
	dst = binary.BigEndian.AppendUint64(dst, s.lane)
	if same&sameSession == 0 {
		dst = appendText(dst, s.session)
	}
	if same&sameCategory == 0 {
		dst = appendText(dst, s.category)
	}
	if same&samePlugin == 0 {
		dst = appendText(dst, s.plugin)
	}
	return appendText(dst, s.messageID)
}

// summaries reads a record of summaries.
func (r *reader) summaries() (out []summary) {
	var last summary
	for len(r.b) > 0 && !r.bad {
		s := summary{kind: entry.Kind(r.u8()), session: last.session, category: last.category, plugin: last.plugin}
		same := r.u8()
		if s.kind != 0 {
			s.id = r.id()
		} else {
			s.seq, s.status = r.uvarint(), message.OutcomeStatus(r.u8())
			s.code, s.detail = r.string(), r.string()
		}
		s.attempts, s.lane = int(r.uvarint()), r.u64()
		if same&sameSession == 0 {
			s.session = r.string()
		}
		if same&sameCategory == 0 {
			s.category = r.string()
		}
		if same&samePlugin == 0 {
			s.plugin = r.string()
		}
		s.messageID = r.string()
		if !r.bad {
			out = append(out, s)
		}
		last = s
	}
	return out
}
