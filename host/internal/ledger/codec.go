package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/oklog/ulid/v2"
)

// format is the first byte of every record. A new layout gets a new number,
// and readers keep knowing the old one.
const format = 1

// Every record ends in the CRC-32C of its key and what precedes, so that a
// record is never taken for another's, whatever became of the files.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const crcSize = 4

// sealRecord appends the checksum to the record that begins at from.
func sealRecord(buf []byte, from int, key []byte) []byte {
	c := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, buf[from:])
	return binary.BigEndian.AppendUint32(buf, c)
}

// corrupt is the error for a record that is not what was written.
func corrupt(key []byte) error {
	return fmt.Errorf("record %q is damaged: restore a backup, or ask for help with a copy of the ledger", key)
}

// unseal checks a record and returns a reader of its fields, after the format byte.
func unseal(key, record []byte) (reader, error) {
	n := len(record) - crcSize
	if n < 1 || record[0] != format {
		return reader{}, corrupt(key)
	}
	c := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, record[:n])
	if binary.BigEndian.Uint32(record[n:]) != c {
		return reader{}, corrupt(key)
	}
	return reader{key: key, b: record[1:n]}, nil
}

// lent are bytes that belong to somebody else: to the arena of a batch, which
// the next batch writes over, or to the state. They are valid until the batch's
// commit, or until the read ends. What outlives that is a copy: own, or string,
// is how it is made, since no message and no index holds lent bytes.
type lent []byte

// own copies; nil stays nil.
func (b lent) own() []byte { return bytes.Clone(b) }

// reader takes fields off a record in the order they were appended. The
// first field that is not there makes all that follow zero, and done an error.
// The record is lent; what the read functions of records.go return is the caller's own.
type reader struct {
	key []byte
	b   lent
	bad bool
}

// own is a reader that may be kept.
func (r reader) own() reader { return reader{bytes.Clone(r.key), r.b.own(), r.bad} }

func (r *reader) done() error {
	if r.bad || len(r.b) != 0 {
		return corrupt(r.key)
	}
	return nil
}

func (r *reader) bytes(n uint64) lent {
	if r.bad || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() lent     { return r.bytes(r.uvarint()) }
func (r *reader) string() string { return string(r.text()) }

func (r *reader) id() (id ulid.ULID) {
	copy(id[:], r.bytes(uint64(len(id))))
	return id
}

// time reads what appendTime wrote.
func (r *reader) time() time.Time { return fromNanos(int64(r.u64())) }

func appendTime(dst []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(toNanos(t)))
}

// toNanos keeps the zero time apart: 0 is "at once", "unknown".
func toNanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// raw reads what appendRaw wrote; nil stays nil.
func (r *reader) raw() json.RawMessage {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	return r.bytes(n - 1).own()
}

func appendRaw(dst []byte, raw json.RawMessage) []byte {
	if raw == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(raw))+1)
	return append(dst, raw...)
}

// A part of a payload is stored as where it is in the payload: upstreams hold
// each of their fields once. 0 is nil, 1 the bytes themselves, else offset+2.
func appendPart(dst, whole []byte, part string, noted int) []byte {
	if at := find(whole, part, noted); at >= 0 {
		return appendPlace(dst, at, len(part))
	}
	return appendText(append(dst, 1), part)
}

// appendRawPart is appendPart for bytes, where nil stays nil.
func appendRawPart(dst, whole, part []byte, noted int) []byte {
	if part == nil {
		return append(dst, 0)
	}
	if at := find(whole, part, noted); at >= 0 {
		return appendPlace(dst, at, len(part))
	}
	return appendText(append(dst, 1), part)
}

// find is where part is in whole, or -1. Where it was noted is looked at first:
// there it is, unless nothing was noted, or whole or part was changed since.
func find[T ~string | ~[]byte](whole []byte, part T, noted int) int {
	if noted > 0 && noted <= len(whole)-len(part) && string(whole[noted:noted+len(part)]) == string(part) {
		return noted
	}
	return bytes.Index(whole, []byte(part))
}

func appendPlace(dst []byte, at, n int) []byte {
	dst = binary.AppendUvarint(dst, uint64(at)+2)
	return binary.AppendUvarint(dst, uint64(n))
}

// part reads what appendPart wrote: a part of whole, or bytes of its own. The part's
// capacity is that of whole behind it, by which sdk/wire sees where it lies.
func (r *reader) part(whole []byte) []byte {
	switch at := r.uvarint(); at {
	case 0:
		return nil
	case 1:
		return r.text().own()
	default:
		from, n := at-2, r.uvarint()
		if from > uint64(len(whole)) || n > uint64(len(whole))-from {
			r.bad, r.b = true, nil
			return nil
		}
		return whole[from : from+n]
	}
}
