package ledger

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

// summary tells how an event or a downstream has ended, and its way there. It is kept for
// the retention time. It has no payload, and of the device a hash and what
// [entry.KeptDevice] keeps. Times are nanoseconds of the ledger's clock, stored in
// microseconds; 0 is not known.
type summary struct {
	kind      entry.Kind // 0: a downstream
	id        ulid.ULID  // of an event
	seq       uint64     // of a downstream
	status    message.OutcomeStatus
	attempts  int
	lane      uint64 // of an upstream its device, else its group, or a timer's lane
	device    uint64 // entry.DeviceHash or TargetHash; 0: none
	target    string // what is kept of the device
	session   string
	category  string
	plugin    string // the owner of a downstream or outcome; who handled an upstream
	version   string // of the plugin that handled an event
	via       string // the transport of a downstream
	messageID string
	code      string
	detail    string
	cause     ulid.ULID // of a downstream or a timer, if its message id does not tell
	trace     [16]byte  // the id of the trace; zero: it is not traced
	accepted  int64     // of a downstream
	began     int64     // the last attempt
	took      time.Duration
	past      []attempt // in vain
	made      int       // downstreams
	madeFrom  uint64    // the seq of the first of these
	madeTo    uint64    // the seq of the last of these
	timers    bool      // its handler has set some
	receipt   bool      // it asks for one
	told      bool      // its end is an event
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

// sumUp adds a summary. A record that is large enough is written first.
func (b *batch) sumUp(s summary) {
	w := &b.summaries
	if w.n > 0 && len(w.buf)-w.from > summaryBytes {
		b.closeSummaries()
	}
	if w.n == 0 {
		w.from, w.last = len(w.buf), summary{}
		w.buf = append(w.buf, formatLife)
	}
	w.n++
	w.buf = appendSummary(w.buf, b.now.UnixMilli(), &w.last, &s)
	w.last = s.after(&w.last)
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

// after is what the next summary may share: s, with the id of the last event.
func (s *summary) after(last *summary) summary {
	out := *s
	if s.kind == 0 {
		out.id = last.id
	}
	return out
}

func (w *summaries) reset() { w.buf, w.n = emptied(w.buf), 0 }

// own returns a summary whose texts belong to the caller.
func (s *summary) own() summary {
	out := *s
	for _, text := range []*string{&out.target, &out.session, &out.category, &out.plugin, &out.version, &out.via, &out.messageID, &out.code, &out.detail} {
		*text = strings.Clone(*text)
	}
	return out
}
