package wire

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"balhost/sdk/message"
)

// Digest is what ListReply and Range have as bytes. A plugin only hands it back.
type Digest struct {
	Keys   uint32 // in the range
	Newest uint64 // the greatest of their versions; 0 if there is no key
}

const digestSize = 4 + 8

// Bytes is the form on the wire.
func (d Digest) Bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, d.Keys), d.Newest)
}

// Seen is the digest of a range, or ErrInvalid if it is none of ListReply's.
func (r *Range) Seen() (d Digest, err error) {
	b := r.GetDigest()
	if len(b) != digestSize {
		return d, fmt.Errorf("%w: the range %.64q has a digest of %d bytes: hand back that of its ListReply", ErrInvalid, r.GetPrefix(), len(b))
	}
	return Digest{binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:])}, nil
}

// Check says why r can never be checked at a commit, as ErrInvalid.
func (r *Range) Check() error {
	if _, err := r.Seen(); err != nil {
		return err
	}
	for _, key := range []string{r.GetPrefix(), r.GetAfter(), r.GetLast()} {
		if len(key) > message.MaxKey {
			return fmt.Errorf("%w: the range %.64q begins or ends with a key of %d bytes: at most %d are possible", ErrInvalid, r.GetPrefix(), len(key), message.MaxKey)
		}
	}
	return nil
}

// Size is what a range counts in Changes.Size.
func (r *Range) Size() int {
	return len(r.GetPrefix()) + len(r.GetAfter()) + len(r.GetLast()) + digestSize
}

// Count is what a range counts in Changes.Count: itself, and each key that was listed. It
// says 1 if the digest is none.
func (r *Range) Count() int {
	d, _ := r.Seen() // Check says what is wrong
	return 1 + int(d.Keys)
}

// Check says why a list can never be read, as ErrInvalid.
func (l *List) Check() error {
	for _, key := range []string{l.GetPrefix(), l.GetAfter()} {
		if len(key) > message.MaxKey || !utf8.ValidString(key) {
			return fmt.Errorf("%w: list %.64q after %.64q: both must be at most %d bytes of UTF-8", ErrInvalid, l.GetPrefix(), l.GetAfter(), message.MaxKey)
		}
	}
	return nil
}

// Most is how many keys a list may give: one Changes can hold them with their range.
func (l *List) Most() int {
	if n := int(l.GetMax()); 0 < n && n < message.MaxListed {
		return n
	}
	return message.MaxListed
}

// Range is what to commit of a list that was asked for, with this reply.
func (l *List) Range(r *ListReply) *Range {
	out := &Range{Prefix: l.GetPrefix(), After: l.GetAfter(), Digest: r.GetDigest()}
	if items := r.GetItem(); r.GetMore() && len(items) > 0 {
		out.Last = items[len(items)-1].GetKey()
	}
	return out
}

func (r *ListReply) weight() (n int) {
	for _, it := range r.GetItem() {
		n += perItem + len(it.GetKey()) + len(it.GetValue())
	}
	return n
}

// Empty reports whether there is nothing to commit, and nothing to check.
func (c *Changes) Empty() bool { return c.Count() == 0 }

// Reads is the part of the changes that counts when nothing is committed: what a handler has
// read, and its error came of.
func (c *Changes) Reads() *Changes { return &Changes{Read: c.GetRead(), Range: c.GetRange()} }
