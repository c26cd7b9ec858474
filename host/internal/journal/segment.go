package journal

import (
	"cmp"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"balhost/host/internal/keyfile"
)

// A segment begins with a page that no append touches:
//
//	 0  magic
//	 8  format version: 1, or 2 if the records are encrypted
//	12  zero
//	16  number, as in its name
//	24  generation: a random number, a new one for each use of the file
//	32  CRC-32C of the 32 bytes before
//
// Every later version keeps the layout of these 36 bytes. Version 2 has besides:
//
//	36  id of the key file's key
//	44  the data key of this use of the file, wrapped by that key for the first 32 bytes
//	104 CRC-32C of the 68 bytes before
const (
	segmentHead = page
	headBytes   = 36
	keyBytes    = keyfile.IDSize + keyfile.WrappedSize
	cryptHead   = headBytes + keyBytes + 4
	magic       = "balhostJ"
	version     = 1
	encrypted   = 2
)

const (
	live   = ".seg"    // number.seg: in use, or prepared to be the next
	spare  = ".spare"  // number.spare: given up, kept for the next use
	making = "new.tmp" // being made
)

// segment is a file that is in use, or prepared to be.
type segment struct {
	name       string
	number     uint64
	generation uint64
	seal       cipher.AEAD // of its records; nil: they are not encrypted
	f          file
	size       int64 // its last frame must not reach beyond this

	// Journal.mu guards these.
	first, last uint64 // 0 when it has no frame
	end         int64  // of the last durable frame
	marks       []mark // ascending
	refs        int    // one for the journal, one for each reader
}

// mark says where a frame begins. There is one about every markEvery bytes.
type mark struct {
	commit uint64
	at     int64
}

const markEvery = 32 << 10

func newSegment(number uint64, f file, size int64) *segment {
	return &segment{
		name: segmentName(number, live), number: number, f: f, size: size, end: segmentHead, refs: 1,
		marks: make([]mark, 0, size/markEvery+2),
	}
}

func segmentName(number uint64, kind string) string { return fmt.Sprintf("%016x%s", number, kind) }

// parseName returns the number and kind of a name that segmentName made.
func parseName(name string) (number uint64, kind string, ok bool) {
	for _, kind := range []string{live, spare} {
		if hex, found := strings.CutSuffix(name, kind); found {
			number, err := strconv.ParseUint(hex, 16, 64)
			return number, kind, err == nil && number > 0 && segmentName(number, kind) == name
		}
	}
	return 0, "", false
}

func (s *segment) empty() bool { return s.first == 0 }

// added notes a frame that is durable.
func (s *segment) added(commit uint64, size int64) {
	if s.empty() {
		s.first = commit
	}
	if n := len(s.marks); n == 0 || s.end-s.marks[n-1].at >= markEvery {
		s.marks = append(s.marks, mark{commit, s.end})
	}
	s.last, s.end = commit, s.end+size
}

// near returns the mark of a frame at or before the frame of commit.
func (s *segment) near(commit uint64) mark {
	i, found := slices.BinarySearchFunc(s.marks, commit, func(m mark, c uint64) int { return cmp.Compare(m.commit, c) })
	if !found {
		i--
	}
	return s.marks[i]
}

func (s *segment) cursor(at, limit int64, chunk int) *cursor {
	return &cursor{f: s.f, generation: s.generation, seal: s.seal, at: at, limit: limit, chunk: chunk}
}

// begin draws a generation, and with a key a data key, and writes the head. It does not sync.
func (s *segment) begin(key *keyfile.Key) error {
	var b [segmentHead]byte
	if _, err := rand.Read(b[24:32]); err != nil {
		return err
	}
	b[24] |= 1 // never 0, because a new file is full of zeros
	copy(b[:], magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint64(b[16:], s.number)
	if key != nil {
		binary.LittleEndian.PutUint32(b[8:], encrypted)
		id := key.ID()
		copy(b[headBytes:], id[:])
		var wrapped []byte
		s.seal, wrapped = key.NewDataKey(b[:32])
		copy(b[headBytes+keyfile.IDSize:], wrapped)
		binary.LittleEndian.PutUint32(b[headBytes+keyBytes:], crc32.Checksum(b[headBytes:headBytes+keyBytes], castagnoli))
	}
	binary.LittleEndian.PutUint32(b[32:], crc32.Checksum(b[:32], castagnoli))
	s.generation = binary.LittleEndian.Uint64(b[24:])
	_, err := s.f.WriteAt(b[:], 0)
	return err
}

// readHead reads and checks what begin wrote.
func (s *segment) readHead(path string, key *keyfile.Key) error {
	c := cursor{f: s.f, limit: s.size}
	b, err := c.peek(cryptHead)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	switch {
	case len(b) == 0:
		return &DamageError{File: path, What: "the file is empty"}
	case s.size < segmentHead:
		return &DamageError{File: path, Offset: s.size, What: "the file ends inside its head"}
	case len(b) < headBytes || string(b[:8]) != magic || crc32.Checksum(b[:32], castagnoli) != binary.LittleEndian.Uint32(b[32:]):
		return &DamageError{File: path, What: "its head is not that of a segment"}
	}
	v := binary.LittleEndian.Uint32(b[8:])
	if v != version && v != encrypted {
		return fmt.Errorf("%s has version %d of the journal's format, but this balhost knows version %d: start the balhost that wrote it, or a newer one", path, v, encrypted)
	}
	if n := binary.LittleEndian.Uint64(b[16:]); n != s.number {
		return &DamageError{File: path, What: fmt.Sprintf("its head says that it is segment %d: a file was renamed or copied", n)}
	}
	s.generation = binary.LittleEndian.Uint64(b[24:])
	return s.readKey(path, b, key)
}

// readKey reads what begin wrote of the data key.
func (s *segment) readKey(path string, b []byte, key *keyfile.Key) error {
	isEncrypted := binary.LittleEndian.Uint32(b[8:]) == encrypted
	switch {
	case !isEncrypted && key == nil:
		return nil
	case !isEncrypted:
		return fmt.Errorf("%s: %w", path, keyfile.ErrPlain)
	case len(b) < cryptHead || crc32.Checksum(b[headBytes:headBytes+keyBytes], castagnoli) != binary.LittleEndian.Uint32(b[headBytes+keyBytes:]):
		return &DamageError{File: path, Offset: headBytes, What: "its data key is not whole"}
	}
	err := key.Check(b[headBytes : headBytes+keyfile.IDSize])
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if s.seal, err = key.DataKey(b[headBytes+keyfile.IDSize:headBytes+keyBytes], b[:32]); err != nil {
		return &DamageError{File: path, Offset: headBytes, What: err.Error()}
	}
	return nil
}
