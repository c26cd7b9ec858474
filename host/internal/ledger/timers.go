package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/span"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

// A timer that waits is two records. The one by its due time ('W') has all of it. The one
// by its plugin and key ('T') says where that is. When it is due, fire makes an event of
// the first. The second then leads to the event, until that has ended. So a timer that is
// set anew or canceled is found, whether it waits or is an event already.
//
// An event that its key does not lead to any more is void: no handler gets it, and what
// a handler does that has it already is not committed (see batch.void).

// timer is a timer, while it waits and as an event. Its Session is the sender id.
type timer struct {
	message.Timer
	plugin string
	lane   entry.Lane
	loose  bool             // it was a dead letter, so its key may be another's by now: it comes in any case
	cause  ulid.ULID        // the event whose handler has set it; before schema 7 nothing says it
	span   *entry.TraceSpan // of the handler that has set it; nil: it is not traced
}

// Flags of a timer.
const (
	timerLoose = 1 << 0
	timerCause = 1 << 1
	timerTrace = 1 << 2
)

func appendTimer(dst []byte, t *timer) []byte {
	dst = appendText(dst, t.Session)
	dst = appendText(dst, t.plugin)
	dst = appendText(dst, t.Key)
	dst = appendText(dst, t.Device)
	dst = appendTime(dst, t.Due)
	dst = append(dst, byte(t.lane.Kind), set(t.loose, timerLoose)|set(!t.cause.IsZero(), timerCause)|set(t.span != nil, timerTrace))
	dst = binary.BigEndian.AppendUint64(dst, t.lane.Hash)
	dst = binary.BigEndian.AppendUint64(dst, t.lane.Key)
	if !t.cause.IsZero() {
		dst = append(dst, t.cause[:]...)
	}
	dst = appendSpan(dst, t.span)
	return appendRaw(dst, t.Data)
}

// readTimer reads the fields after the session.
func readTimer(r *reader, session string) *timer {
	t := &timer{plugin: r.string()}
	t.Session, t.Key, t.Device, t.Due = session, r.string(), r.string(), r.time()
	t.lane.Kind = entry.Kind(r.u8())
	flags := r.u8()
	t.loose, t.lane.Hash, t.lane.Key = flags&timerLoose != 0, r.u64(), r.u64()
	if flags&timerCause != 0 {
		t.cause = r.id()
	}
	if flags&timerTrace != 0 {
		t.span = r.span()
	}
	t.Data = r.raw()
	return t
}

// dueAt names the record of a timer that waits, in the order in which timers are due.
type dueAt struct {
	due   int64 // nanoseconds of the ledger's clock
	seq   uint64
	bytes uint32 // about what its record has
}

func appendDueKey(dst []byte, at dueAt) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, kindWaiting), uint64(at.due))
	return binary.BigEndian.AppendUint64(dst, at.seq)
}

func readDueKey(key []byte) (at dueAt, err error) {
	if len(key) != 17 {
		return dueAt{}, corrupt(key)
	}
	return dueAt{due: int64(binary.BigEndian.Uint64(key[1:])), seq: binary.BigEndian.Uint64(key[9:])}, nil
}

// appendTimerKey makes the key of a timer's name, as appendValueKey that of a state key.
func appendTimerKey(dst []byte, plugin, key string) []byte {
	dst = append(append(dst, kindTimer), plugin...)
	return append(append(dst, 0), key...)
}

// timerName is what a plugin's key leads to ('T').
type timerName struct {
	at    dueAt  // where it waits, or did
	event uint64 // the event that it has become; 0: it waits
}

func appendTimerName(dst []byte, n timerName) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, format), uint64(n.at.due))
	dst = binary.BigEndian.AppendUint64(dst, n.at.seq)
	return binary.BigEndian.AppendUint64(dst, n.event)
}

func readTimerName(r *reader) timerName {
	return timerName{at: dueAt{due: int64(r.u64()), seq: r.u64()}, event: r.u64()}
}

// timer returns what a plugin's key leads to, and where that is stored.
func (b *batch) timer(plugin, key string) (n timerName, at lent, found bool) {
	from := b.mark()
	b.arena = appendTimerKey(b.arena, plugin, key)
	at = b.since(from)
	r, found := b.get(at)
	if found {
		n = readTimerName(&r)
		b.fail(r.done())
	}
	return n, at, found
}

func (b *batch) setTimer(at lent, n timerName) {
	from := b.mark()
	b.arena = appendTimerName(b.arena, n)
	b.set(at, from)
}

func checkSchedule(plugin string, s *entry.Schedule) error {
	err := checkState(plugin, s.Key)
	if err == nil && (len(s.Data)+len(s.Device)+len(s.Session) > maxBody || len(s.Device) > maxID || len(s.Session) > maxName) {
		err = fmt.Errorf("%d bytes of data, device %q: %w", len(s.Data), clip(s.Device, 64), entry.ErrTooLarge)
	}
	if err != nil {
		return fmt.Errorf("set timer %q: %w", clip(s.Key, 64), err)
	}
	return nil
}

func weighSchedule(plugin string, s *entry.Schedule) (bytes, records int) {
	return 2*(len(plugin)+len(s.Key)) + len(s.Data) + len(s.Device) + len(s.Session) + 4*recordExtra + spanBytes, 3
}

// schedule sets a timer or cancels it. by is the event that is settled with it; nil: none.
func (b *batch) schedule(plugin string, s *entry.Schedule, by *event) {
	was, name, found := b.timer(plugin, s.Key)
	switch {
	case !found:
	case was.event == 0:
		b.unwait(was.at)
	case by == nil || was.event != by.seq:
		s.Ended = was.event
	}
	if b.watched && (found || !s.Cancel) {
		b.sayTimer(plugin, s)
	}
	if s.Cancel {
		if found {
			b.del(name, recordExtra)
		}
		return
	}
	t := timer{plugin: plugin, lane: s.Lane, span: s.Trace, Timer: message.Timer{Session: s.Session, Device: s.Device, Key: s.Key, Data: s.Data, Due: s.At}}
	if by != nil {
		t.cause = by.id
	}
	at := dueAt{due: max(1, b.until(s.At)), seq: b.next()}
	key := b.dueKey(at)
	from := b.mark()
	b.arena = appendTimer(append(b.arena, format), &t)
	b.arena = sealRecord(b.arena, from, key)
	record := b.since(from)
	b.put(state.Change{Key: key, Value: record, New: true})
	b.setTimer(name, timerName{at: at})
	b.tally.counts.Timers++
	at.bytes = uint32(len(record))
	b.due = append(b.due, at)
}

func (b *batch) dueKey(at dueAt) lent {
	from := b.mark()
	b.arena = appendDueKey(b.arena, at)
	return b.since(from)
}

// unwait removes a timer from those that wait.
func (b *batch) unwait(at dueAt) {
	b.del(b.dueKey(at), recordExtra)
	b.tally.counts.Timers--
}

// void reports whether an event is a timer that was canceled, or set anew.
func (b *batch) void(ev *event) bool {
	if ev.kind != entry.Timer || ev.loose {
		return false
	}
	n, _, found := b.timer(ev.plugin.Value(), ev.messageID)
	return !found || n.event != ev.seq
}

// isVoid is void of what is on disk.
func (l *Ledger) isVoid(seq uint64, t *timer) (bool, error) {
	if t.loose {
		return false, nil
	}
	var n timerName
	err := l.read(appendTimerKey(nil, t.plugin, t.Key), func(r *reader) error {
		n = readTimerName(r)
		return r.done()
	})
	if errors.Is(err, errGone) {
		return true, nil
	}
	return n.event != seq, err
}

// freeTimer removes the name of a timer whose event ends, unless it is another's by now.
func (b *batch) freeTimer(ev *event) {
	if ev.loose {
		return
	}
	if n, name, found := b.timer(ev.plugin.Value(), ev.messageID); found && n.event == ev.seq {
		b.del(name, recordExtra)
	}
}

// timersSeen is what a verifier has seen of timers.
type timersSeen struct {
	events map[uint64]uint64 // by seq of a pending event: the number of its name
	names  uint64            // that lead to a timer that waits
	sum    uint64            // of the numbers of these and of where they lead, minus those of the timers that wait
}

func (s *timersSeen) event(seq uint64, t *timer) {
	s.events[seq] = idOf(sum(kindTimer, string(appendTimerKey(nil, t.plugin, t.Key))))
}

func (s *timersSeen) name(v *verifier, key []byte, n timerName) {
	if n.event == 0 {
		s.names++
		s.sum += idOf(sum(kindWaiting, string(key), string(appendDueKey(nil, n.at))))
	} else if is, pending := s.events[n.event]; !pending || is != idOf(sum(kindTimer, string(key))) {
		v.wrong("timer %q leads to event %d, which is not its own or not pending", key[1:], n.event)
	}
}

func (s *timersSeen) waiting(v *verifier, key []byte, t *timer) {
	at, err := readDueKey(key)
	if err != nil || at.seq > v.tally.seq {
		v.wrong("timer %q waits under a wrong key", t.Key)
	}
	s.sum -= idOf(sum(kindWaiting, string(appendTimerKey(nil, t.plugin, t.Key)), string(appendDueKey(nil, at))))
}

// fire makes events of timers that are due. Those that do not wait any more are skipped.
type fire struct{ due []dueAt }

// The most timers, and bytes of them, that become events in one operation.
const (
	fireTimers = 500
	fireBytes  = batchBytes / 4
)

func (o *fire) weigh() (bytes, records int) {
	for _, at := range o.due {
		bytes += int(at.bytes) + 2*maxName + 4*recordExtra
	}
	return bytes, 3 * len(o.due)
}

func (o *fire) apply(b *batch) error {
	for _, at := range o.due {
		r, found := b.get(b.dueKey(at))
		if !found {
			continue
		}
		t := readTimer(&r, r.string())
		if b.fail(r.done()); b.err != nil {
			return entry.ErrClosed
		}
		b.unwait(at)
		b.tally.lastID = nextID(b.tally.lastID, b.now, b.entropy)
		e := envelope{id: b.tally.lastID, plugin: t.plugin, body: t, trace: t.span}
		ev := b.addEvent(e)
		if b.watched {
			b.sayEvent(feed.Fired, e, "")
		}
		_, name, _ := b.timer(t.plugin, t.Key)
		b.setTimer(name, timerName{at: at, event: ev.seq})
	}
	return nil
}

// public is the timer as a plugin sees it. Its session is still the sender id.
func (t *timer) public(id string, attempt int) *message.Timer {
	out := t.Timer
	out.ID, out.Attempt = id, attempt
	return &out
}

// WaitingTimers searches the timers that are not due yet, the next one first. They have no
// ids. It reads as much as one search may; with More there are others.
func (l *Ledger) WaitingTimers(s entry.Search) (found entry.Found, err error) {
	e, shown := l.newEffort(l.limits.letters), l.shown()
	var bad error
	err = l.eachIn(state.Span{Prefix: []byte{kindWaiting}}, func(r *reader) bool {
		if found.More = len(found.Traces) == s.Most || e.spent(); found.More {
			return false
		}
		e.read(r)
		at, err := readDueKey(r.key)
		t := readTimer(r, r.string())
		if bad = errors.Join(err, r.done()); bad != nil {
			return false
		}
		if trace := t.trace(shown(at.due)); s.Match(&trace) {
			found.Traces = append(found.Traces, trace)
		}
		return true
	})
	return found, errors.Join(err, bad)
}

// trace is a timer that waits.
func (t *timer) trace(due time.Time) entry.Trace {
	out := entry.Trace{
		Kind: entry.Timer, State: entry.StateWaiting, Session: t.Session, Plugin: t.plugin, Device: entry.KeptDevice(t.Device),
		MessageID: t.Key, Cause: idText(t.cause), TraceID: span.TraceID(t.span), Due: due,
	}
	if t.Device != "" {
		out.Hash = entry.DeviceHash(t.Session, t.Device)
	}
	return out
}
