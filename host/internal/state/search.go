package state

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Search names badger's files that have a key or a value, decrypted, of which is is true,
// whether or not badger still needs the file. It finds what a search of the files' bytes can't
// find, because they are encrypted. Without a key there is no such thing, and it finds nothing. A file
// that can't be read counts as one that has it: badger may be making it. Commits go on meanwhile.
func (s *State) Search(ctx context.Context, is func(b []byte) bool) (files []string, err error) {
	if s.o.Key == nil {
		return nil, nil
	}
	if !s.reading.enter() {
		return nil, ErrClosed
	}
	defer s.reading.leave()
	read, err := newTableReader(s.db.Opts())
	if err != nil {
		return nil, err
	}
	defer read.close()
	id, err := read.latest()
	if err != nil {
		return nil, err
	}
	names, err := os.ReadDir(s.o.Dir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		path, has := filepath.Join(s.o.Dir, n.Name()), false
		see := func(key, value []byte) bool {
			has = has || is(key) || is(value)
			return !has && ctx.Err() == nil
		}
		switch {
		case strings.HasSuffix(n.Name(), ".sst"):
			err = read.each(path, id, see)
		case entryLog.MatchString(n.Name()):
			err = read.eachOfLog(path, see)
		}
		if _, there := os.Stat(path); errors.Is(there, fs.ErrNotExist) {
			continue
		}
		if has || err != nil {
			files = append(files, path)
		}
		if ctx.Err() != nil {
			return files, context.Cause(ctx)
		}
	}
	return files, nil
}

// entryLog matches badger's names for logs of entries: of memtables, and of values.
var entryLog = regexp.MustCompile(`^[0-9]{5,}\.(mem|vlog)$`)

const logHead = 8 + 12 // the id of the data key, then what each nonce begins with

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// eachOfLog gives f the keys and values of a log of badger 4.9.6 (logFile.encodeEntry), up to
// its end or to the first entry that is not whole. Key and value are encrypted by AES-CTR. The
// entry's place is in the nonce.
func (r *tableReader) eachOfLog(path string, f func(key, value []byte) bool) error {
	b, err := os.ReadFile(path)
	if err != nil || len(b) < logHead {
		return err
	}
	var block cipher.Block
	if id := binary.BigEndian.Uint64(b); id != 0 {
		k, err := r.keys.DataKey(id)
		if err != nil {
			return err
		}
		if block, err = aes.NewCipher(k.Data); err != nil {
			return err
		}
	}
	for at := logHead; ; {
		h := frameReader{b: b[min(at+2, len(b)):]} // after two bytes of flags
		klen, vlen := h.number(), h.number()
		h.number() // when it expires
		head := len(b) - len(h.b)
		if left := uint64(len(h.b)); h.bad || klen == 0 || klen > left || vlen > left-klen || left-klen-vlen < crc32.Size {
			return nil
		}
		end := head + int(klen+vlen)
		if crc32.Checksum(b[at:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
			return nil
		}
		text := b[head:end]
		if block != nil {
			iv := binary.BigEndian.AppendUint32(append(make([]byte, 0, aes.BlockSize), b[8:logHead]...), uint32(at))
			cipher.NewCTR(block, iv).XORKeyStream(text, text)
		}
		if !f(text[:klen], text[klen:]) {
			return nil
		}
		at = end + crc32.Size
	}
}
