// Package span is how engines tell the spans of OpenTelemetry traces: what happened to one
// message, from when to when, and what it came of. An engine holds no open span. It knows the
// [entry.TraceSpan] that a message came with, and tells each span when that is over ([Tracer.Tell]).
// So nothing is lost with the process but spans that were not over, and a nil [Tracer], which
// is a host that makes no traces, costs one comparison. The package starts no goroutine; who
// exports spans gives [New] a function. Start at [Tracer.Begin].
package span

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"balhost/host/internal/entry"
	"balhost/host/internal/plain"

	"github.com/oklog/ulid/v2"
)

// MaxHops is how many handlers one trace passes. What a later one makes is not traced, so
// that a plugin whose outcomes send again, or whose timers set the next one, makes no trace
// that never ends.
const MaxHops = 32

// Kind is a span's place in its exchange, as OpenTelemetry has it.
type Kind uint8

// The kinds of spans.
const (
	Internal Kind = iota
	Server        // it answers a request of somebody else
	Client        // it asks somebody else, and waits for the answer
	Producer      // it makes what is handled later
	Consumer      // it handles what was made before
)

// Done is one span that is over. It holds no body, no data and no whole token.
type Done struct {
	Name   string // one of few
	Kind   Kind
	Is     entry.TraceSpan
	Parent [8]byte // the parent's id; zero: the trace begins here
	Start  time.Time
	End    time.Time
	Facts  []Fact
	Error  string // why it was in vain; "": it was not
}

// Fact is one attribute of a span. Its value is Text, or if that is empty Number.
type Fact struct {
	Key    string
	Text   string
	Number int
}

// Tracer decides what is traced, and passes spans on. Its methods may be called from any
// goroutine. A nil Tracer traces nothing.
type Tracer struct {
	below uint64 // a trace is sampled if the last seven bytes of its id are below it
	tell  func(Done)
	room  atomic.Int64 // for traces that senders begin, in parts of one: randoms are a whole trace
}

// New makes a Tracer that traces so large a part of all messages, 0 to 1. It gives spans to
// tell, which must not wait.
func New(sample float64, tell func(Done)) *Tracer {
	t := &Tracer{below: uint64(math.Ceil(max(0, min(1, sample)) * randoms)), tell: tell}
	t.room.Store(mostChosen * randoms)
	return t
}

// mostChosen is how many traces senders may begin at once. After that they are the part of
// their messages that config says, and no more, whatever ids the senders choose.
const mostChosen = 100

// randoms is how many values the random part of a trace's id has: its last 56 bits.
// Spec: W3C Trace Context Level 2, Random Trace ID Flag.
const randoms = 1 << 56

// On reports whether traces are made.
func (t *Tracer) On() bool { return t != nil }

// Tell passes a span on. It never waits.
func (t *Tracer) Tell(d Done) {
	if t != nil {
		t.tell(d)
	}
}

// Begin is the first span of a message, and its parent; nil if the message is not traced.
// The traceparent is what came with the message, from outside. If it is valid, the trace is the sender's,
// and like any other it is sampled by its id, and not because the sender says so. When more
// ids are chosen to be sampled than chance would choose, the message gets a trace of ours.
func (t *Tracer) Begin(traceparent string) (is *entry.TraceSpan, parent [8]byte) {
	if t == nil {
		return nil, parent
	}
	from, _, ok := Parse(traceparent)
	if ok && t.chosen(&from) {
		parent = from.ID
	} else {
		binary.BigEndian.PutUint64(from.Trace[:8], rand.Uint64())
		binary.BigEndian.PutUint64(from.Trace[8:], rand.Uint64()|1) // never zero
	}
	if !t.samples(&from) {
		return nil, parent
	}
	return Child(&from), parent
}

// samples reports whether the trace is one of those that are made.
func (t *Tracer) samples(is *entry.TraceSpan) bool {
	return binary.BigEndian.Uint64(is.Trace[8:])&(randoms-1) < t.below
}

// chosen reports whether a sender's trace may be the message's: it is not sampled, or there
// is room for it.
func (t *Tracer) chosen(from *entry.TraceSpan) (ok bool) {
	samples := t.samples(from)
	for {
		room := t.room.Load()
		left := min(room+int64(t.below), mostChosen*randoms)
		ok = !samples || left >= randoms
		if samples && ok {
			left -= randoms
		}
		if t.room.CompareAndSwap(room, left) {
			return ok
		}
	}
}

// Child is a new span below a parent; nil below nil.
func Child(parent *entry.TraceSpan) *entry.TraceSpan {
	if parent == nil {
		return nil
	}
	is := &entry.TraceSpan{Trace: parent.Trace, Hops: parent.Hops}
	binary.BigEndian.PutUint64(is.ID[:], rand.Uint64()|1)
	return is
}

// Handler is Child for the span of a handler; nil also after MaxHops of them.
func Handler(parent *entry.TraceSpan) *entry.TraceSpan {
	is := Child(parent)
	if is == nil || is.Hops >= MaxHops {
		return nil
	}
	is.Hops++
	return is
}

// Parse reads a traceparent: the span that it names, and whether it is sampled. ok is false
// when it is not valid. Of a later version it reads what version 00 has.
// Spec: W3C Trace Context §3.2
func Parse(text string) (is entry.TraceSpan, sampled, ok bool) {
	const size = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(text) < size || text[2] != '-' || text[35] != '-' || text[52] != '-' ||
		len(text) > size && (text[:2] == "00" || text[size] != '-') || strings.ToLower(text[:size]) != text[:size] {
		return is, false, false
	}
	var version, flags [1]byte
	for _, part := range []struct {
		to   []byte
		from string
	}{{version[:], text[:2]}, {is.Trace[:], text[3:35]}, {is.ID[:], text[36:52]}, {flags[:], text[53:size]}} {
		if _, err := hex.Decode(part.to, []byte(part.from)); err != nil {
			return entry.TraceSpan{}, false, false
		}
	}
	if version[0] == 0xff || is.Trace == [16]byte{} || is.ID == [8]byte{} {
		return entry.TraceSpan{}, false, false
	}
	return is, flags[0]&1 != 0, true
}

// Traceparent writes a span as W3C's Trace Context does. Of nil it writes one that is not
// sampled, of an event with this id.
func Traceparent(is *entry.TraceSpan, event string) string {
	flags := byte('1')
	if is == nil {
		id, err := ulid.ParseStrict(event)
		if err != nil {
			return ""
		}
		is, flags = &entry.TraceSpan{Trace: id}, '0'
		copy(is.ID[:], id[8:])
		is.ID[7] |= 1
	}
	var b [55]byte
	copy(b[:], "00-")
	hex.Encode(b[3:], is.Trace[:])
	b[35] = '-'
	hex.Encode(b[36:], is.ID[:])
	b[52], b[53], b[54] = '-', '0', flags
	return string(b[:])
}

// TraceID is the id of a span's trace, as people and tools write it; "" of nil.
func TraceID(is *entry.TraceSpan) string {
	if is == nil {
		return ""
	}
	return hex.EncodeToString(is.Trace[:])
}

// Text is a fact, unless its text is empty.
func Text(facts []Fact, key, text string) []Fact {
	if text == "" {
		return facts
	}
	return append(facts, Fact{Key: key, Text: cut(text, 256)})
}

// Number is a fact.
func Number(facts []Fact, key string, n int) []Fact { return append(facts, Fact{Key: key, Number: n}) }

// Device is a device as facts show it: shortened as the log does.
func Device(facts []Fact, token string) []Fact {
	return Text(facts, "balhost.device", plain.Brief(token))
}

// maxWhy limits what is said of an error, in bytes.
const maxWhy = 256

// Why is an error's text as a span may have it: short, and without the token of the device.
func Why(text, token string) string {
	if token != "" {
		text = strings.ReplaceAll(text, token, plain.Brief(token))
	}
	return cut(text, maxWhy)
}

// cut is a text as an exporter takes it.
func cut(text string, most int) string {
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return '·'
	}, strings.ToValidUTF8(text, ""))
}
