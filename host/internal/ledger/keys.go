package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// The first byte of a key is the kind of its record. doc.go has the table.
const (
	kindMeta       = 0x00
	kindDedup      = 'D'
	kindEvent      = 'M'
	kindDownstream = 'N'
	kindEnded      = 'E' // which entries of a page of events or downstreams have ended
	kindTries      = 'S' // what changed about an event or a downstream since it was stored
	kindSent       = 'I'
	kindSummary    = 'F'
	kindDead       = 'X'
	kindValue      = 'K'
	kindOwner      = 'O'
	kindTimer      = 'T' // a timer's name: where it waits, or which event it has become
	kindWaiting    = 'W' // a timer that waits, by its due time
	kindReplace    = 'R'
)

// ordered are the kinds of which the state keeps the keys in order.
const ordered = string(rune(kindValue)) + string(rune(kindSummary)) + string(rune(kindDead)) + string(rune(kindWaiting))

var (
	keySchema  = []byte{kindMeta, 'v'}
	keyCounter = []byte{kindMeta, 'c'}
)

// maxName limits, in bytes, each text that is part of a key without being hashed: state
// keys, plugin names and categories. Badger's own limit is 65,000.
const maxName = 1 << 10

// digest is a truncated SHA-256. With 128 bits, collisions by chance are too rare to
// happen, and forged ones are costly.
type digest [16]byte

// appendText appends the length of s and s, so different lists of texts have different bytes.
func appendText[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func sum(domain byte, parts ...string) digest {
	var stack [512]byte
	b := append(stack[:0], domain)
	for _, p := range parts {
		b = appendText(b, p)
	}
	full := sha256.Sum256(b)
	return digest(full[:])
}

// sumUpstream identifies an upstream for the dedup window (P6). The same id with other
// data is another message, because ids are small counters of the device
// (ccs-protocol.md §5). An unusable upstream has no data, so its whole payload counts.
// Session is the sender id here, as everywhere inside the host ([entry.Sender]).
func sumUpstream(u *message.Upstream, names string, unusable bool) digest {
	data := u.Data
	if unusable {
		data = u.Raw
	}
	var stack [1024]byte
	b := append(stack[:0], kindEvent)
	b = appendText(b, u.Session)
	b = appendText(b, u.From)
	b = appendText(b, u.MessageID)
	b = appendText(b, data)
	if names != "" {
		b = appendText(b, names)
	}
	full := sha256.Sum256(b)
	return digest(full[:])
}

// sumReceipt identifies a receipt by CCS's whole id (ccs-protocol.md §6). One of a device
// has no id of its own.
func sumReceipt(in entry.Inbound) digest {
	if m := in.Receipt; in.FromDevice {
		return sum('V', m.Session, m.Device, m.OriginalMessageID, m.Status)
	}
	return sum('R', in.Receipt.Session, in.CCSMessageID)
}

// sumSent identifies a downstream: its id is unique in its session.
func sumSent(session, messageID string) digest { return sum(kindSent, session, messageID) }

// sumReplace identifies the downstreams of which a newer one replaces the older.
func sumReplace(owner string, m *message.Checked) digest {
	return sum(kindReplace, owner, m.Session, m.To.Token, m.To.FID, m.To.Topic, m.To.Condition, m.Replace)
}

func appendSeqKey(dst []byte, kind byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kind), seq)
}

func appendHashKey(dst []byte, kind byte, d digest) []byte {
	return append(append(dst, kind), d[:]...)
}

func appendDeadKey(dst []byte, id ulid.ULID) []byte {
	return append(append(dst, kindDead), id[:]...)
}

// appendTimeKey appends the first part of the key of summaries: when the entries ended.
func appendTimeKey(dst []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kindSummary), uint64(max(0, t.UnixMilli())))
}

// appendValueKey makes a state key. A plugin's name is a file name, so it has no zero byte.
func appendValueKey(dst []byte, plugin, key string) []byte {
	dst = append(append(dst, kindValue), plugin...)
	return append(append(dst, 0), key...)
}

func appendOwnerKey(dst []byte, category string) []byte {
	return append(append(dst, kindOwner), category...)
}

// checkState returns an error when a plugin's state key can't be part of a key.
func checkState(plugin, key string) error {
	switch {
	case plugin == "":
		return errNoState
	case key == "":
		return errNoKey
	case len(plugin) > maxName, len(key) > maxName, strings.IndexByte(plugin, 0) >= 0:
		return entry.ErrTooLarge
	}
	return nil
}
