package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"balhost/host/internal/keyfile"
)

// The errors for a file that can't be used. Other errors come from the io.Reader.
var (
	ErrOther   = errors.New("it is not a backup of balhost")
	ErrCut     = errors.New("it is cut off: the backup, or a copy of it, did not finish; use another backup")
	ErrDamaged = errors.New("it is damaged; use another backup")
	ErrNewer   = errors.New("a newer balhost wrote it; use that version")
)

// IsEncrypted looks at a file's first line, which stays unread.
func IsEncrypted(r *bufio.Reader) bool {
	line := fmt.Sprintf("%s %d\n", title, Version)
	b, _ := r.Peek(len(line)) //nolint:errcheck // NewReader reports it
	return string(b) == line
}

// Reader reads a file, and says whether it is whole.
type Reader struct {
	r    io.Reader
	hash hash.Hash
	info Info
	at   int64 // where the current block begins
	buf  []byte

	encrypted bool
	seal      sealer
	text      []byte // the block that was decrypted last
}

// NewReader reads the first line and the header of a file. key is for one that is encrypted; of another
// key, or with nil, the error is [keyfile.ErrKey].
func NewReader(r io.Reader, key *keyfile.Key) (*Reader, error) {
	b, err := NewSealedReader(r)
	if err != nil || !b.encrypted {
		return b, err
	}
	e := b.info.Encrypted
	id, err := hex.DecodeString(e.Key)
	if err != nil {
		return nil, b.damaged("the id of its key can't be read")
	}
	if err := key.Check(id); err != nil {
		return nil, err
	}
	if b.seal.data, err = key.DataKey(e.Data, []byte(wrapContext)); err != nil {
		return nil, b.damaged(err.Error())
	}
	return b, nil
}

// NewSealedReader is NewReader without a key. It tells whether a file is whole. Of one that is
// encrypted, Next returns no records.
func NewSealedReader(r io.Reader) (*Reader, error) {
	b := &Reader{r: r, hash: sha256.New()}
	if err := b.title(); err != nil {
		return nil, err
	}
	kind, payload, err := b.block()
	if err == nil && (kind != kindHeader || json.Unmarshal(payload, &b.info.Header) != nil) {
		err = b.damaged("the header can't be read")
	}
	if err == nil && b.encrypted != (b.info.Encrypted != nil) {
		err = b.damaged("the header and the first line disagree about encryption")
	}
	if err != nil {
		return nil, err
	}
	b.seal.head = b.hash.Sum(nil)
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
	b.encrypted = version > plain
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
	case kind == kindBlock && !b.encrypted:
		return payload, nil
	case kind == kindBlock:
		return b.decrypt(payload)
	case kind != kindEnd:
		return nil, b.damaged("a block of an unknown kind")
	}
	if b.encrypted {
		if payload, err = b.authentic(payload); err != nil {
			return nil, err
		}
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

// decrypt is a block's text; nil without a key.
func (b *Reader) decrypt(payload []byte) (text []byte, err error) {
	if b.seal.data == nil {
		return nil, nil
	}
	if b.text, err = b.seal.data.Open(b.text[:0], nil, payload, b.seal.place(kindBlock, nil)); err != nil {
		return nil, b.damaged(forged)
	}
	return b.text, nil
}

const forged = "a block was changed, moved or left out by somebody who does not have the key"

// authentic is the readable part of the end.
func (b *Reader) authentic(payload []byte) (text []byte, err error) {
	if len(payload) < keyfile.Overhead {
		return nil, b.damaged("its end is too short")
	}
	text, tag := payload[:len(payload)-keyfile.Overhead], payload[len(payload)-keyfile.Overhead:]
	if b.seal.data == nil {
		return text, nil
	}
	if _, err := b.seal.data.Open(nil, nil, tag, b.seal.place(kindEnd, text)); err != nil {
		return nil, b.damaged(forged)
	}
	return text, nil
}

func (b *Reader) block() (kind byte, payload []byte, err error) {
	b.at = b.info.Bytes
	var head [blockHead]byte
	if _, err := b.read(head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > MaxBlock+keyfile.Overhead {
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
