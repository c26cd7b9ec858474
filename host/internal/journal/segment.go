package journal

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
)

// A segment begins with a page of its own, which no append touches:
//
//	 0  magic
//	 8  format version
//	12  zero
//	16  number, as in its name
//	24  generation: random, drawn anew at each use of the file
//	32  CRC-32C of the 32 bytes before
//
// These 36 bytes stay as they are in every later version.
const (
	segmentHead = page
	headBytes   = 36
	magic       = "balhostJ"
	version     = 1
)

const (
	live   = ".seg"    // number.seg: in use, or prepared to be the next
	spare  = ".spare"  // number.spare: given up, to be used again
	making = "new.tmp" // being made
)

// segment is a file that is in use, or prepared to be.
type segment struct {
	name       string
	number     uint64
	generation uint64
	f          file
	size       int64 // where its last frame must end

	// Journal.mu guards these.
	first, last uint64 // 0 when it has no frame
	end         int64  // of the last durable frame
	marks       []mark // ascending
	refs        int    // one of the journal's, one of each reader
}

// mark says where a frame begins, one for each markEvery bytes.
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

// parseName is the number and kind of a name that segmentName made.
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

// near is a frame at or before a commit's.
func (s *segment) near(commit uint64) mark {
	i, found := slices.BinarySearchFunc(s.marks, commit, func(m mark, c uint64) int { return cmp.Compare(m.commit, c) })
	if !found {
		i--
	}
	return s.marks[i]
}

func (s *segment) cursor(at, limit int64, chunk int) *cursor {
	return &cursor{f: s.f, generation: s.generation, at: at, limit: limit, chunk: chunk}
}

// begin draws a generation and writes the head. Not synced.
func (s *segment) begin() error {
	var b [segmentHead]byte
	if _, err := rand.Read(b[24:32]); err != nil {
		return err
	}
	b[24] |= 1 // never 0, which is what a new file is full of
	copy(b[:], magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint64(b[16:], s.number)
	binary.LittleEndian.PutUint32(b[32:], crc32.Checksum(b[:32], castagnoli))
	s.generation = binary.LittleEndian.Uint64(b[24:])
	_, err := s.f.WriteAt(b[:], 0)
	return err
}

// readHead takes over what begin wrote.
func (s *segment) readHead(path string) error {
	c := cursor{f: s.f, limit: s.size}
	b, err := c.peek(headBytes)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	switch {
	case len(b) == 0:
		return &DamageError{File: path, What: "the file is empty"}
	case s.size < segmentHead:
		return &DamageError{File: path, Offset: s.size, What: "the file ends there, inside its head"}
	case len(b) < headBytes || string(b[:8]) != magic || crc32.Checksum(b[:32], castagnoli) != binary.LittleEndian.Uint32(b[32:]):
		return &DamageError{File: path, What: "its head is not one of a journal's segment"}
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return fmt.Errorf("%s has version %d of the journal's format, this balhost knows version %d: start the balhost that wrote it, or a newer one", path, v, version)
	}
	if n := binary.LittleEndian.Uint64(b[16:]); n != s.number {
		return &DamageError{File: path, What: fmt.Sprintf("by its head it is segment %d: a file was renamed or copied", n)}
	}
	s.generation = binary.LittleEndian.Uint64(b[24:])
	return nil
}
