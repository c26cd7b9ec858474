// Package backup is the format of a backup file, and says whether a file is whole. It
// does not know what the records mean. The host writes a backup to a command, and the
// command writes it to a [File] or a pipe. It keeps P10: a file that is cut off, damaged
// or newer is refused. Start at [NewWriter] and [NewReader].
//
// A file begins with a line of text that has the version. Then come blocks: a [Header],
// blocks of records, and an end. The end has the number of records and a checksum of
// all bytes before it. Each block also has a checksum of its own, so that nothing of a
// damaged block is used. A file without an end was cut off.
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

// Version is the version of the files that are written here. Files of this and older
// versions can be read.
const Version = 1

// title begins the first line of a file. The version follows.
const title = "balhost backup"

// Header says what a file holds.
type Header struct {
	Schema uint16    `json:"schema"` // of the records
	Store  string    `json:"store"`  // id of the ledger
	Commit uint64    `json:"commit"` // the last commit in the file
	Taken  time.Time `json:"taken"`
	By     string    `json:"by,omitempty"` // version of the balhost that wrote it
	About  int64     `json:"about"`        // about how many bytes of records there are
	// Clock is the ledger's clock and the wall clock at that moment, as the ledger
	// encodes them.
	Clock json.RawMessage `json:"clock,omitempty"`
}

// Info describes a whole file.
type Info struct {
	Header
	Records uint64 `json:"records"`
	Bytes   int64  `json:"bytes"` // of the file
}

// end is the last block.
type end struct {
	Records uint64 `json:"records"`
	SHA256  string `json:"sha256"` // of all bytes before this block
}

// A block begins with its kind, the payload's length, and a CRC-32C of both and of the
// payload.
const (
	blockHead  = 9
	kindHeader = 'h'
	kindBlock  = 'r'
	kindEnd    = 'e'
)

// MaxBlock is how many bytes of records a block may have. The largest record fits.
const MaxBlock = 2 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(head, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(head[:5], castagnoli), castagnoli, payload)
}

// Writer writes a file. After an error the file is not usable.
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

// Add writes a block that has this number of records.
func (b *Writer) Add(records int, block []byte) error {
	if len(block) > MaxBlock {
		return fmt.Errorf("write backup: a block has %d bytes, at most %d are possible", len(block), MaxBlock)
	}
	b.info.Records += uint64(records)
	return b.block(kindBlock, block)
}

// Close writes the end of the file. Without it the file counts as cut off.
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
	b.buf = append(head, payload...) // the whole block in one write
	return b.write(b.buf)
}

func (b *Writer) write(p []byte) error {
	b.hash.Write(p) //nolint:errcheck // never fails, by its contract
	n, err := b.w.Write(p)
	b.info.Bytes += int64(n)
	return err
}

// The errors for a file that can't be used. Other errors come from the io.Reader.
var (
	ErrOther   = errors.New("it is not a backup of balhost")
	ErrCut     = errors.New("it is cut off: the backup, or a copy of it, did not finish; use another backup")
	ErrDamaged = errors.New("it is damaged; use another backup")
	ErrNewer   = errors.New("a newer balhost wrote it; use that version")
)

// Reader reads a file, and says whether it is whole.
type Reader struct {
	r    io.Reader
	hash hash.Hash
	info Info
	at   int64 // where the current block begins
	buf  []byte
}

// NewReader reads the first line and the header of a file.
func NewReader(r io.Reader) (*Reader, error) {
	b := &Reader{r: r, hash: sha256.New()}
	if err := b.title(); err != nil {
		return nil, err
	}
	kind, payload, err := b.block()
	if err == nil && (kind != kindHeader || json.Unmarshal(payload, &b.info.Header) != nil) {
		err = b.damaged("the header can't be read")
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Header says what the file holds.
func (b *Reader) Header() Header { return b.info.Header }

// Info describes what was read so far; after Next has returned io.EOF, the whole file.
func (b *Reader) Info() Info { return b.info }

func (b *Reader) title() error {
	line := make([]byte, len(title)+2)
	switch n, err := b.read(line); {
	case err != nil && !errors.Is(err, ErrCut):
		return err
	case string(line[:min(n, len(title))]) != title[:min(n, len(title))]:
		return ErrOther
	case err != nil: // the file ends inside of the title, or is empty
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
		return fmt.Errorf("%w (the file has format %d, this balhost reads up to %d)", ErrNewer, version, Version)
	case version == 0:
		return ErrOther
	}
	return nil
}

// Next returns the next block of records. It is valid until the next call. When all
// blocks have been read and the file is whole, the error is io.EOF. Only then may the
// records be used.
func (b *Reader) Next() (block []byte, err error) {
	before := hex.EncodeToString(b.hash.Sum(nil))
	kind, payload, err := b.block()
	switch {
	case err != nil:
		return nil, err
	case kind == kindBlock:
		return payload, nil
	case kind != kindEnd:
		return nil, b.damaged("a block of an unknown kind")
	}
	var e end
	if json.Unmarshal(payload, &e) != nil || e.SHA256 != before {
		return nil, b.damaged("the checksum of the file is wrong")
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
		return 0, nil, b.damaged("the length of a block is too large")
	}
	if int(n) > cap(b.buf) {
		b.buf = make([]byte, max(n, 128<<10))
	}
	payload = b.buf[:n]
	if _, err := b.read(payload); err != nil {
		return 0, nil, err
	}
	if sum(head[:], payload) != binary.BigEndian.Uint32(head[5:]) {
		return 0, nil, b.damaged("the checksum of a block is wrong")
	}
	return head[0], payload, nil
}

// read fills p. If the file ends before that, the error is ErrCut.
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
