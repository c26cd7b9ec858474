package gateway

import (
	"encoding/binary"
	"math"

	"balhost/host/internal/frame"
)

// shortFragment is from how many bytes on a fragment that is not the last brings something.
// A frame of 64 KiB in such pieces has 128.
const shortFragment = 512

// frames follows the WebSocket frames in what a device sends. The library reads over those
// that bring nothing and tells nobody of them, so a device could send them all day.
// Spec: RFC 6455 §5.2.
type frames struct {
	header [14]byte // of the frame that has begun
	n      int      // bytes of header that are there
	rest   uint64   // bytes of its payload that are to come
}

// empty reads on, and returns how many frames have begun in p that bring nothing: pings,
// pongs, and short fragments that are not the last of their message.
func (f *frames) empty(p []byte) (n int) {
	for len(p) > 0 {
		if f.rest > 0 {
			part := min(f.rest, uint64(len(p)))
			f.rest -= part
			p = p[part:]
			continue
		}
		f.header[f.n] = p[0]
		f.n++
		p = p[1:]
		length, whole := f.length()
		if !whole {
			continue
		}
		if f.bringsNothing(length) {
			n++
		}
		f.rest, f.n = length, 0
	}
	return n
}

// length is the length of the payload. whole reports whether the header is all there.
func (f *frames) length() (n uint64, whole bool) {
	const masked = 0x80
	if f.n < 2 {
		return 0, false
	}
	size, short := 2, f.header[1]&^masked
	switch short {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if f.header[1]&masked != 0 {
		size += 4
	}
	if f.n < size {
		return 0, false
	}
	switch short {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.header[2:])), true
	case 127:
		return binary.BigEndian.Uint64(f.header[2:]), true
	}
	return uint64(short), true
}

// bringsNothing reports whether the frame whose header is there is one of those that a
// device may send few of. A close is none: it is the last.
func (f *frames) bringsNothing(length uint64) bool {
	const last, control, closing = 0x80, 0x08, 0x08
	opcode := f.header[0] & 0x0f
	if opcode&control != 0 {
		return opcode != closing
	}
	return f.header[0]&last == 0 && length < shortFragment
}

// appendText appends f as a text frame that is not masked, as servers write them.
func appendText(dst []byte, f *frame.Frame) []byte {
	const text, short = 0x81, 4 // most frames have a header of 4 bytes
	start := len(dst)
	dst = f.Append(append(dst, text, 126, 0, 0))
	n := len(dst) - start - short
	switch {
	case n > math.MaxUint16:
		dst = append(dst, 0, 0, 0, 0, 0, 0)
		copy(dst[start+short+6:], dst[start+short:])
		dst[start+1] = 127
		binary.BigEndian.PutUint64(dst[start+2:], uint64(n))
	case n >= 126:
		binary.BigEndian.PutUint16(dst[start+2:], uint16(n)) //nolint:gosec // it is looked at above
	default:
		dst[start+1] = byte(n)
		dst = append(dst[:start+2], dst[start+short:]...)
	}
	return dst
}

// closes reports whether p, which begins a frame, is a close.
func closes(p []byte) bool {
	const opcode, closing = 0x0f, 0x08
	return len(p) > 0 && p[0]&opcode == closing
}
