package ledger

import (
	"encoding/binary"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// The bits of a summary's flags. The first ones say what it shares with the summary before it.
const (
	sameSession = 1 << iota
	sameCategory
	samePlugin
	sameBy // the version, or the transport
	hasGroup
	hasDevice
	hasWords // code and detail
	hasLast
	hasTries
	hasMade
	hasCause
	wantsReceipt
	isTold
	setTimers
	hasTrace
)

func (s *summary) flags(last *summary) (flags uint64) {
	for i, on := range []bool{
		s.session == last.session, s.category == last.category, s.plugin == last.plugin, s.version == last.version && s.via == last.via,
		s.lane != 0 && s.kind != entry.Upstream, s.device != 0, s.code != "" || s.detail != "", s.began != 0, len(s.past) > 0,
		s.made > 0, !s.cause.IsZero(), s.receipt, s.told, s.timers, s.trace != [16]byte{},
	} {
		if on {
			flags |= 1 << i
		}
	}
	return flags
}

// appendSummary writes a summary of a record of this time, in milliseconds. Times are
// written as what lies between.
func appendSummary(dst []byte, at int64, last, s *summary) []byte {
	flags := s.flags(last)
	dst = binary.AppendUvarint(append(dst, byte(s.kind)), flags)
	before := func(ns int64) { dst = binary.AppendVarint(dst, at*1000-ns/1000) }
	if s.kind != 0 {
		dst = appendNear(dst, last.id, s.id)
	} else {
		dst = append(binary.AppendUvarint(dst, s.seq), byte(s.status))
		before(s.accepted)
	}
	dst = binary.AppendUvarint(dst, uint64(max(0, s.attempts)))
	if flags&hasLast != 0 {
		before(s.began)
		dst = binary.AppendUvarint(dst, uint64(s.took.Microseconds()))
	}
	if flags&hasGroup != 0 {
		dst = binary.BigEndian.AppendUint64(dst, s.lane)
	}
	if flags&hasDevice != 0 {
		dst = appendText(binary.BigEndian.AppendUint64(dst, s.device), s.target)
	}
	for _, name := range []struct {
		same uint64
		text string
	}{{sameSession, s.session}, {sameCategory, s.category}, {samePlugin, s.plugin}, {sameBy, s.version}, {sameBy, s.via}} {
		if flags&name.same == 0 {
			dst = appendText(dst, name.text)
		}
	}
	dst = appendText(dst, s.messageID)
	if flags&hasWords != 0 {
		dst = appendText(appendText(dst, s.code), s.detail)
	}
	if flags&hasTries != 0 {
		dst = appendAttempts(dst, s.past)
	}
	if flags&hasMade != 0 {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(s.made)), s.madeFrom)
		dst = binary.AppendUvarint(dst, s.madeTo-s.madeFrom)
	}
	if flags&hasCause != 0 {
		dst = append(dst, s.cause[:]...)
	}
	if flags&hasTrace != 0 {
		dst = append(dst, s.trace[:]...)
	}
	return dst
}

// appendNear writes an id as what differs from the one before it: ids of events that end
// together often begin alike.
func appendNear(dst []byte, last, id ulid.ULID) []byte {
	same := 0
	for same < len(id) && id[same] == last[same] {
		same++
	}
	return append(append(dst, byte(same)), id[same:]...)
}

func (r *reader) near(last ulid.ULID) (id ulid.ULID) {
	same := int(r.u8())
	if same > len(id) {
		r.bad = true
		return id
	}
	copy(id[:same], last[:same])
	copy(id[same:], r.bytes(uint64(len(id)-same)))
	return id
}

// ended is when a record of summaries was written, in milliseconds.
func (r *reader) ended() int64 {
	if len(r.key) != 17 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(r.key[1:]))
}

// summaries reads a record of summaries.
func (r *reader) summaries() (out []summary) {
	r.eachSummary(func(s *summary) bool {
		out = append(out, s.own())
		return true
	})
	return out
}

// eachSummary gives f the summaries of a record while it returns true. Their texts are lent.
func (r *reader) eachSummary(f func(*summary) bool) {
	read := r.summary
	if r.format < formatLife {
		read = r.oldSummary
	}
	at := r.ended()
	for last := (summary{}); len(r.b) > 0 && !r.bad; {
		s := summary{kind: entry.Kind(r.u8()), session: last.session, category: last.category, plugin: last.plugin, version: last.version, via: last.via}
		read(&s, &last, at)
		if r.bad || !f(&s) {
			return
		}
		last = s.after(&last)
	}
}

func (r *reader) summary(s, last *summary, at int64) {
	flags := r.uvarint()
	before := func() int64 { return (at*1000 - r.varint()) * 1000 }
	if s.kind != 0 {
		s.id = r.near(last.id)
	} else {
		s.seq, s.status, s.accepted = r.uvarint(), message.OutcomeStatus(r.u8()), before()
	}
	s.attempts = int(r.uvarint())
	if flags&hasLast != 0 {
		s.began, s.took = before(), time.Duration(r.uvarint())*time.Microsecond
	}
	if flags&hasGroup != 0 {
		s.lane = r.u64()
	}
	if flags&hasDevice != 0 {
		s.device, s.target = r.u64(), r.lentText()
	}
	if s.kind == entry.Upstream {
		s.lane = s.device
	}
	for _, name := range []struct {
		same uint64
		text *string
	}{{sameSession, &s.session}, {sameCategory, &s.category}, {samePlugin, &s.plugin}, {sameBy, &s.version}, {sameBy, &s.via}} {
		if flags&name.same == 0 {
			*name.text = r.lentText()
		}
	}
	s.messageID = r.lentText()
	if flags&hasWords != 0 {
		s.code, s.detail = r.lentText(), r.lentText()
	}
	if flags&hasTries != 0 {
		s.past = r.attempts()
	}
	if flags&hasMade != 0 {
		s.made, s.madeFrom = int(r.uvarint()), r.uvarint()
		s.madeTo = s.madeFrom + r.uvarint()
	}
	if flags&hasCause != 0 {
		s.cause = r.id()
	}
	if flags&hasTrace != 0 {
		s.trace = [16]byte(r.id())
	}
	s.receipt, s.told, s.timers = flags&wantsReceipt != 0, flags&isTold != 0, flags&setTimers != 0
}

// oldSummary reads a summary from before schema 7.
func (r *reader) oldSummary(s, _ *summary, _ int64) {
	same := r.u8()
	if s.kind != 0 {
		s.id = r.id()
	} else {
		s.seq, s.status = r.uvarint(), message.OutcomeStatus(r.u8())
		s.code, s.detail = r.lentText(), r.lentText()
	}
	s.attempts, s.lane = int(r.uvarint()), r.u64()
	if s.kind == entry.Upstream {
		s.device = s.lane
	}
	if same&sameSession == 0 {
		s.session = r.lentText()
	}
	if same&sameCategory == 0 {
		s.category = r.lentText()
	}
	if same&samePlugin == 0 {
		s.plugin = r.lentText()
	}
	s.messageID = r.lentText()
}
