package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
	"unsafe"

	"github.com/oklog/ulid/v2"
)

// The format is the first byte of every record. A new layout gets a new number, and readers
// still know the old one.
const (
	format       = 1
	formatTarget = 2 // of a message id ('I'), since schema 5: to whom it was sent
	formatSix    = 2 // of the counters, since schema 6: of what that schema has more
	formatErased = 3 // of the counters: with what was erased
	formatLife   = 2 // of summaries ('F'), dead letters ('X') and attempts ('S'), since schema 7: what became of each message
)

// newer are the kinds of records that have a second format.
const newer = string(rune(kindSent)) + string(rune(kindMeta)) + string(rune(kindSummary)) + string(rune(kindDead)) + string(rune(kindTries))

// known reports whether records of this kind have this format.
func known(kind, found byte) bool {
	return found == format || found == 2 && strings.IndexByte(newer, kind) >= 0 || found == formatErased && kind == kindMeta
}

// Every record ends with a CRC-32C over its key and the bytes before. So no record is
// taken for that of another key, even if the files are damaged.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const crcSize = 4

// sealRecord appends the checksum to the record that begins at from.
func sealRecord(buf []byte, from int, key []byte) []byte {
	c := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, buf[from:])
	return binary.BigEndian.AppendUint32(buf, c)
}

// corrupt is the error for a record that differs from what was written.
func corrupt(key []byte) error {
	return fmt.Errorf("record %q is damaged: restore a backup, or ask for help with a copy of the ledger", key)
}

// unseal checks a record and returns a reader of its fields, after the format byte.
func unseal(key, record []byte) (reader, error) {
	n := len(record) - crcSize
	if n < 1 || !known(key[0], record[0]) {
		return reader{}, corrupt(key)
	}
	c := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, record[:n])
	if binary.BigEndian.Uint32(record[n:]) != c {
		return reader{}, corrupt(key)
	}
	return reader{key: key, b: record[1:n], format: record[0]}, nil
}

// lent bytes belong to somebody else: to the arena of a batch, which the next batch
// overwrites, or to the state. They are valid until the batch's commit, or until the
// read ends. No message and no index holds lent bytes. What must live longer is copied
// with own or string.
type lent []byte

// own returns a copy; nil stays nil.
func (b lent) own() []byte { return bytes.Clone(b) }

// reader reads the fields of a record in the order in which they were appended. If a
// field is missing, it and all later ones are zero, and done returns an error. The
// record is lent. What the read functions of records.go return belongs to the caller.
type reader struct {
	key    []byte
	b      lent
	bad    bool
	format byte
}

// own returns a reader with a copy of the bytes, which may be kept.
func (r reader) own() reader { return reader{bytes.Clone(r.key), r.b.own(), r.bad, r.format} }

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

// lentText is string without a copy: it is as lent as the record.
func (r *reader) lentText() string {
	b := r.text()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// varint reads what binary.AppendVarint wrote.
func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) id() (id ulid.ULID) {
	copy(id[:], r.bytes(uint64(len(id))))
	return id
}

// time reads what appendTime wrote.
func (r *reader) time() time.Time { return fromNanos(int64(r.u64())) }

func appendTime(dst []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(toNanos(t)))
}

// toNanos returns 0 for the zero time, which means "at once" or "unknown".
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

// A part of a payload is stored as its place in the payload, so an upstream's fields
// are stored once. The first number is 0 for nil, 1 before the bytes themselves, else offset+2.
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

// find returns where part is in whole, or -1. It looks at the noted place first. part is
// there, unless no place was noted, or whole or part has changed since.
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

// part reads what appendPart wrote. It returns a part of whole, or bytes of its own. The
// capacity of a part reaches to the end of whole, so sdk/wire can see where the part lies.
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
