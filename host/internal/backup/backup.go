// Package backup is the format of a backup file, and says whether a file is whole. It
// does not know what the records mean. The host writes a backup to a command, and the
// command writes it to a [File] or a pipe. It keeps P10: a file that is cut off, damaged
// or newer is refused. Start at [NewWriter] and [NewReader].
//
// A file begins with a line of text that has the version. Then come blocks: a [Header],
// blocks of records, and an end. The end has the number of records and a checksum of
// all bytes before it. Each block also has a checksum of its own, so that nothing of a
// damaged block is used. A file without an end was cut off.
//
// # Encryption
//
// With a key the version is 2. The header has a data key, drawn for this file and wrapped by
// the key file's key. Each block of records is encrypted and authenticated by AES-256-GCM
// under it, with a random nonce. The authenticated data are the checksum of all up to the header's
// end, the block's kind, and its number. So a block that is changed, missing, in another place or from
// another file is an error. The end is readable, and is authenticated in the same
// way: with the file's checksum in it, it covers all that is before. The checksums are of encrypted bytes. So
// who copies a file can tell whether it is whole without having the key: see [NewSealedReader]. That
// is why this is not age's format (filippo.io/age), which tells it only to who has the key, and has
// no place for a header that anybody can read.
package backup

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"

	"balhost/host/internal/keyfile"
)

// Version is the newest version that can be read. Files that are not encrypted have version 1.
const (
	Version = 2
	plain   = 1
)

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
	// Encrypted says by what; nil: the file is not encrypted.
	Encrypted *Encryption `json:"encrypted,omitempty"`
}

// Encryption says how a file is encrypted.
type Encryption struct {
	Key  string `json:"key"`      // id of the key file's key, 16 hexadecimal digits
	Data []byte `json:"data_key"` // wrapped by that key
}

// wrapContext is where the data key of a file belongs.
const wrapContext = "balhost backup"

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

// sealer encrypts and decrypts the blocks of one file.
type sealer struct {
	data cipher.AEAD // nil: the file is not encrypted, or the reader has no key
	head []byte      // the checksum of all up to the header's end
	n    uint64      // of the next block
}

// place are the authenticated data of the next block.
func (s *sealer) place(kind byte, text []byte) []byte {
	b := binary.BigEndian.AppendUint64(append(append(make([]byte, 0, len(s.head)+9+len(text)), s.head...), kind), s.n)
	s.n++
	return append(b, text...)
}

// Writer writes a file. After an error the file is not usable.
type Writer struct {
	w    io.Writer
	hash hash.Hash
	info Info
	buf  []byte
	seal sealer
}

// NewWriter begins a file. key encrypts it; nil: it is not encrypted.
func NewWriter(w io.Writer, h Header, key *keyfile.Key) (*Writer, error) {
	b := &Writer{w: w, hash: sha256.New()}
	version := plain
	if h.Encrypted = nil; key != nil {
		version = Version
		h.Encrypted = &Encryption{Key: fmt.Sprintf("%x", key.ID())}
		b.seal.data, h.Encrypted.Data = key.NewDataKey([]byte(wrapContext))
	}
	b.info.Header = h
	if err := b.write(fmt.Appendf(nil, "%s %d\n", title, version)); err != nil {
		return nil, err
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	err = b.block(kindHeader, text)
	b.seal.head = b.hash.Sum(nil)
	return b, err
}

// Add writes a block that has this number of records.
func (b *Writer) Add(records int, block []byte) error {
	if len(block) > MaxBlock {
		return fmt.Errorf("write backup: a block has %d bytes, at most %d are possible", len(block), MaxBlock)
	}
	b.info.Records += uint64(records)
	if b.seal.data != nil {
		block = b.seal.data.Seal(nil, nil, block, b.seal.place(kindBlock, nil))
	}
	return b.block(kindBlock, block)
}

// Close writes the end of the file. Without it the file counts as cut off.
func (b *Writer) Close() (Info, error) {
	text, err := json.Marshal(end{Records: b.info.Records, SHA256: hex.EncodeToString(b.hash.Sum(nil))})
	if err == nil && b.seal.data != nil {
		text = append(text, b.seal.data.Seal(nil, nil, nil, b.seal.place(kindEnd, text))...)
	}
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
