package state

import (
	"encoding/binary"
	"errors"
)

// Change is a put or a delete of one record.
type Change struct {
	Key     []byte
	Value   []byte // of a put
	Expires uint64 // Unix time in seconds after which badger may drop a put; 0: never
	Delete  bool
	// New says that no record had this key before the commit. A new record that is deleted
	// before it was written to badger is never written.
	New bool
}

// frameFormat is the first byte of a frame. A new layout gets a new number.
// Frames of format 1 do not say what is new.
const frameFormat = 2

// The low bits of a change's first number are these; the key's length is above them.
const (
	flagDelete = 1 << iota
	flagNew
	flagBits = iota
)

// errFrame means that the bytes are not a frame.
var errFrame = errors.New("a commit's frame can't be read: it was written by a newer balhost, or is damaged")

// Frame encodes one commit's changes as the bytes that the journal keeps and Apply takes.
func Frame(changes []Change) []byte {
	size := 1
	for i := range changes {
		size += len(changes[i].Key) + len(changes[i].Value) + 3*binary.MaxVarintLen32
	}
	frame := append(make([]byte, 0, size), frameFormat)
	for i := range changes {
		c := &changes[i]
		head := uint64(len(c.Key)) << flagBits
		if c.New {
			head |= flagNew
		}
		if c.Delete {
			frame = append(binary.AppendUvarint(frame, head|flagDelete), c.Key...)
			continue
		}
		frame = append(binary.AppendUvarint(frame, head), c.Key...)
		frame = binary.AppendUvarint(frame, c.Expires)
		frame = binary.AppendUvarint(frame, uint64(len(c.Value)))
		frame = append(frame, c.Value...)
	}
	return frame
}

// Changes gives f the changes of a frame, in order; their bytes belong to the frame.
func Changes(frame []byte, f func(Change)) error {
	bits, known := flagBits, uint64(flagDelete|flagNew)
	switch {
	case len(frame) > 0 && frame[0] == 1:
		bits, known = 1, flagDelete
	case len(frame) == 0 || frame[0] != frameFormat:
		return errFrame
	}
	r := frameReader{b: frame[1:]}
	for len(r.b) > 0 {
		head := r.number()
		flags := head & known
		c := Change{Delete: flags&flagDelete != 0, New: flags&flagNew != 0, Key: r.bytes(head >> bits)}
		if !c.Delete {
			c.Expires = r.number()
			c.Value = r.bytes(r.number())
		}
		if r.bad {
			return errFrame
		}
		f(c)
	}
	return nil
}

type frameReader struct {
	b   []byte
	bad bool
}

func (r *frameReader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *frameReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}
