package journal

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"balhost/host/internal/keyfile"
)

// A frame is one commit on disk, little endian:
//
//	 0  generation of the segment's use
//	 8  commit
//	16  place in its append: 0 for the first or only frame of one write
//	20  length of the record as it is stored
//	24  CRC-32C of the 24 bytes before and the record as it is stored
//	28  record, then zeros up to a multiple of 8
//
// In an encrypted segment the record is stored encrypted by the segment's data key: nonce,
// text, tag. The tag is over the first 24 bytes too.
const (
	frameHead  = 28
	sumAt      = 24
	frameAlign = 8

	// MaxRecord is the size of the largest record.
	MaxRecord = 4 << 20

	// The operating system reads a page of a file before it changes a part of it. So each
	// append writes zeros up to the end of its last page. Then it never waits until the
	// page of a reused file is read.
	page = 4096

	// maxAppend is the most bytes that one write may span, and that a torn one can leave.
	maxAppend = MaxRecord + 2*page // what encryption adds fits too
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is a frame that is whole.
type frame struct {
	commit uint64
	place  uint32
	record []byte // as it is stored
	size   int64  // in the file
	head   []byte // its first 24 bytes
}

// begins returns the first commit of the append that wrote the frame.
func (f frame) begins() uint64 { return f.commit - uint64(f.place) }

// stored is how many bytes of a frame a record of n bytes takes.
func stored(n int, seal cipher.AEAD) int {
	if seal == nil {
		return n
	}
	return n + seal.Overhead()
}

func frameSize(record int) int64 { return roundUp(frameHead+int64(record), frameAlign) }

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// put adds a frame to b. seal encrypts it; nil: it is not encrypted.
func put(b []byte, seal cipher.AEAD, generation, commit uint64, place int, record []byte) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint64(b, generation)
	b = binary.LittleEndian.AppendUint64(b, commit)
	b = binary.LittleEndian.AppendUint32(b, uint32(place))
	length := stored(len(record), seal)
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	b = append(b, 0, 0, 0, 0)
	if seal == nil {
		b = append(b, record...)
	} else {
		b = seal.Seal(b, nil, record, b[at:at+sumAt])
	}
	sum := crc32.Update(crc32.Checksum(b[at:at+sumAt], castagnoli), castagnoli, b[at+frameHead:])
	binary.LittleEndian.PutUint32(b[at+sumAt:], sum)
	return pad(b, int64(at)+frameSize(length))
}

// pad adds zeros up to length n.
func pad(b []byte, n int64) []byte {
	for int64(len(b)) < n {
		b = append(b, zeros[:min(n-int64(len(b)), page)]...)
	}
	return b
}

var zeros [page]byte

// cursor reads frames of one generation through a bounded buffer.
type cursor struct {
	f          io.ReaderAt
	generation uint64
	seal       cipher.AEAD // of the records; nil: they are not encrypted
	plain      []byte      // the record that open returned
	at         int64       // where the next frame is, if any
	limit      int64       // bytes from here on are not read
	chunk      int         // bytes of one read
	buf        []byte
	base       int64 // where buf begins
}

const readChunk = 256 << 10

// peek returns up to n bytes from the cursor on; fewer at the limit or the file's end.
func (c *cursor) peek(n int) ([]byte, error) {
	b, err := c.window(n)
	return b[:min(n, len(b))], err
}

// window returns the buffer from the cursor on. It reads first if that is less than n bytes.
func (c *cursor) window(n int) ([]byte, error) {
	n = int(min(int64(n), max(c.limit-c.at, 0)))
	if skip := c.at - c.base; skip >= 0 && skip+int64(n) <= int64(len(c.buf)) {
		return c.buf[skip:], nil
	}
	want := int(min(int64(max(n, c.chunk)), max(c.limit-c.at, 0)))
	if want > cap(c.buf) {
		c.buf = make([]byte, want)
	}
	got, err := c.f.ReadAt(c.buf[:want], c.at)
	if err != nil && !errors.Is(err, io.EOF) {
		c.buf = c.buf[:0]
		return nil, err
	}
	c.buf, c.base = c.buf[:got], c.at
	return c.buf, nil
}

// head reads the first bytes of the frame at the cursor. It checks what can be checked
// without the record: the generation, and that the frame is not larger than what is left.
func (c *cursor) head() (f frame, length int, ok bool, err error) {
	b, err := c.peek(frameHead)
	if err != nil || len(b) < frameHead || binary.LittleEndian.Uint64(b) != c.generation {
		return frame{}, 0, false, err
	}
	f.commit, f.place = binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint32(b[16:])
	n := binary.LittleEndian.Uint32(b[20:])
	if n > MaxRecord+keyfile.Overhead || f.commit == 0 || uint64(f.place) >= f.commit {
		return frame{}, 0, false, nil
	}
	f.size = frameSize(int(n))
	return f, int(n), c.at+f.size <= c.limit, nil
}

// frame reads the whole frame at the cursor. The cursor stays where it is. The record is
// valid until the next call.
func (c *cursor) frame() (f frame, ok bool, err error) {
	f, length, ok, err := c.head()
	if !ok || err != nil {
		return frame{}, false, err
	}
	b, err := c.peek(frameHead + length)
	if err != nil || len(b) < frameHead+length {
		return frame{}, false, err
	}
	f.head, f.record = b[:sumAt], b[frameHead:]
	sum := crc32.Update(crc32.Checksum(f.head, castagnoli), castagnoli, f.record)
	return f, sum == binary.LittleEndian.Uint32(b[sumAt:]), nil
}

// open is the record of a whole frame as it was appended, valid until the next call; false if
// it was changed by somebody who does not have the key.
func (c *cursor) open(f frame) (record []byte, ok bool) {
	if c.seal == nil {
		return f.record, true
	}
	plain, err := c.seal.Open(c.plain[:0], nil, f.record, f.head)
	if err != nil {
		return nil, false
	}
	c.plain = plain
	return plain, true
}

// find moves the cursor to the next whole frame at or after it, wherever that begins.
func (c *cursor) find() (f frame, ok bool, err error) {
	var mark [8]byte
	binary.LittleEndian.PutUint64(mark[:], c.generation)
	for c.at < c.limit {
		b, err := c.window(len(mark))
		if err != nil || len(b) < len(mark) {
			return frame{}, false, err
		}
		i := bytes.Index(b, mark[:])
		if i < 0 {
			c.at += int64(len(b) - len(mark) + 1)
			continue
		}
		if c.at += int64(i); c.at%frameAlign == 0 {
			if f, ok, err := c.frame(); ok || err != nil {
				return f, ok, err
			}
		}
		c.at++
	}
	return frame{}, false, nil
}
