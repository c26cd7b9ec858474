// Package backup is the file of a backup: what it looks like, and how it is told
// whether one is whole. It knows nothing of what the records say, and does all by an
// io.Writer or an io.Reader, so that the host writes one to a command, and a command
// to a disk or a pipe. P10 stands on it: a file that is cut, damaged or newer is refused.
// Start at [NewWriter] and [NewReader].
//
// A file is a line of text that names its version, then blocks: what was backed
// up (a [Header]), records, and an end that counts them and has a checksum of all
// before it. Each block has a checksum of its own, so that nothing of a damaged one
// is used. Without its end a file was cut off, or its backup did not end.
package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"
)

// Version is that of the files which are written here, and the last one that is read.
const Version = 1

// title is the first line of a file.
const title = "balhost backup"

// Header says what a file holds.
type Header struct {
	Schema uint16    `json:"schema"` // of the records
	Store  string    `json:"store"`  // id of the ledger
	Commit uint64    `json:"commit"` // the last one that is in it
	Taken  time.Time `json:"taken"`
	By     string    `json:"by,omitempty"` // the balhost that wrote it
	About  int64     `json:"about"`        // how many bytes of records there are, more or less
	// Clock is the ledger's and the wall clock at that moment, in the ledger's own words.
	Clock json.RawMessage `json:"clock,omitempty"`
}

// Info is what is known of a whole file.
type Info struct {
	Header
	Records uint64 `json:"records"`
	Bytes   int64  `json:"bytes"` // of the file
}

// end is the last block.
type end struct {
	Records uint64 `json:"records"`
	SHA256  string `json:"sha256"` // of all bytes before the block
}

// What a block begins with: a kind, the payload's length, and a CRC-32C of both and the payload.
const (
	blockHead  = 9
	kindHeader = 'h'
	kindBlock  = 'r'
	kindEnd    = 'e'
)

// MaxBlock is how many bytes of records one block may have: the largest record and some others.
const MaxBlock = 2 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(head, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(head[:5], castagnoli), castagnoli, payload)
}

// Writer writes a file. After an error the file is none.
type Writer struct {
	w    io.Writer
	hash hash.Hash
	info Info
	buf  []byte
}

// NewWriter begins a file.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	b := &Writer{w: w, hash: sha256.New(), info: Info{Header: h}}
	if err := b.write(fmt.Appendf(nil, "%s %d\n", title, Version)); err != nil {
		return nil, err
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return b, b.block(kindHeader, text)
}

// Add writes a block of so many records.
func (b *Writer) Add(records int, block []byte) error {
	if len(block) > MaxBlock {
		return fmt.Errorf("write backup: a block of %d bytes, %d are possible", len(block), MaxBlock)
	}
	b.info.Records += uint64(records)
	return b.block(kindBlock, block)
}

// Close ends the file. Without it the file counts as cut off.
func (b *Writer) Close() (Info, error) {
	text, err := json.Marshal(end{Records: b.info.Records, SHA256: hex.EncodeToString(b.hash.Sum(nil))})
	if err == nil {
		err = b.block(kindEnd, text)
	}
	return b.info, err
}

func (b *Writer) block(kind byte, payload []byte) error {
	head := binary.BigEndian.AppendUint32(append(b.buf[:0], kind), uint32(len(payload)))
	head = binary.BigEndian.AppendUint32(head, sum(head, payload))
	b.buf = append(head, payload...) // one write, so that it is one piece on its way
	return b.write(b.buf)
}

func (b *Writer) write(p []byte) error {
	b.hash.Write(p) //nolint:errcheck // never fails, by its contract
	n, err := b.w.Write(p)
	b.info.Bytes += int64(n)
	return err
}

// Errors of files that can't be used; others are those of the reading itself.
var (
	ErrOther   = errors.New("it is no backup of balhost's")
	ErrCut     = errors.New("it is cut off: its copying, or the backup itself, did not end; take another one")
	ErrDamaged = errors.New("it is damaged; take another one")
	ErrNewer   = errors.New("it was written by a newer balhost; use that one")
)

// Reader reads a file, and says whether it is whole.
type Reader struct {
	r    io.Reader
	hash hash.Hash
	info Info
	at   int64 // where the block being read begins
	buf  []byte
}

// NewReader reads what a file holds.
func NewReader(r io.Reader) (*Reader, error) {
	b := &Reader{r: r, hash: sha256.New()}
	if err := b.title(); err != nil {
		return nil, err
	}
	kind, payload, err := b.block()
	if err == nil && (kind != kindHeader || json.Unmarshal(payload, &b.info.Header) != nil) {
		err = b.damaged("its header can't be read")
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Header says what the file holds.
func (b *Reader) Header() Header { return b.info.Header }

// Info is known of the whole file after Next has returned io.EOF; before, of what was read.
func (b *Reader) Info() Info { return b.info }

func (b *Reader) title() error {
	line := make([]byte, len(title)+2)
	switch n, err := b.read(line); {
	case err != nil && !errors.Is(err, ErrCut):
		return err
	case string(line[:min(n, len(title))]) != title[:min(n, len(title))]:
		return ErrOther
	case err != nil: // a beginning of one, or nothing
		return err
	}
	version := 0
	for c := line[len(title)+1:]; c[0] != '\n'; {
		if c[0] < '0' || c[0] > '9' || version > 1<<20 || line[len(title)] != ' ' {
			return ErrOther
		}
		version = version*10 + int(c[0]-'0')
		if _, err := b.read(c); err != nil {
			return err
		}
	}
	switch {
	case version > Version:
		return fmt.Errorf("%w (format %d, this one reads %d)", ErrNewer, version, Version)
	case version == 0:
		return ErrOther
	}
	return nil
}

// Next is the next block of records, valid until the call after. The error is io.EOF
// when all have been read and the file is whole: only then may they be used.
func (b *Reader) Next() (block []byte, err error) {
	before := hex.EncodeToString(b.hash.Sum(nil))
	kind, payload, err := b.block()
	switch {
	case err != nil:
		return nil, err
	case kind == kindBlock:
		return payload, nil
	case kind != kindEnd:
		return nil, b.damaged("an unknown block")
	}
	var e end
	if json.Unmarshal(payload, &e) != nil || e.SHA256 != before {
		return nil, b.damaged("the checksum of all is another one")
	}
	b.info.Records = e.Records
	switch n, err := b.read(b.buf[:1]); {
	case n > 0:
		return nil, b.damaged("something follows its end")
	case !errors.Is(err, ErrCut):
		return nil, err
	}
	return nil, io.EOF
}

func (b *Reader) block() (kind byte, payload []byte, err error) {
	b.at = b.info.Bytes
	var head [blockHead]byte
	if _, err := b.read(head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > MaxBlock {
		return 0, nil, b.damaged("a block's length can't be")
	}
	if int(n) > cap(b.buf) {
		b.buf = make([]byte, max(n, 128<<10))
	}
	payload = b.buf[:n]
	if _, err := b.read(payload); err != nil {
		return 0, nil, err
	}
	if sum(head[:], payload) != binary.BigEndian.Uint32(head[5:]) {
		return 0, nil, b.damaged("a block's checksum is another one")
	}
	return head[0], payload, nil
}

// read fills p, or says that the file is cut off.
func (b *Reader) read(p []byte) (int, error) {
	n, err := io.ReadFull(b.r, p)
	b.info.Bytes += int64(n)
	b.hash.Write(p[:n]) //nolint:errcheck // never fails, by its contract
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrCut
	}
	return n, err
}

func (b *Reader) damaged(what string) error {
	return fmt.Errorf("%w (at byte %d: %s)", ErrDamaged, b.at, what)
}
