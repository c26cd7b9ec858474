package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// commitFile tells, outside of badger, which commits were acknowledged. It is
// written about every second and never synced, so it may be behind, never
// ahead: when it is ahead of badger, badger has cut its log in silence
// (notes/badger.md D2).
type commitFile struct {
	f    *os.File
	last uint64
}

const commitFileSize = 8 + 8 + crcSize

func openCommitFile(path string) (*commitFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &commitFile{f: f}, nil
}

// read returns a tally with commit and seq; zeros when a power cut left no whole record.
func (c *commitFile) read() (t tally, err error) {
	var b [commitFileSize]byte
	if _, err := c.f.ReadAt(b[:], 0); errors.Is(err, io.EOF) {
		return tally{}, nil
	} else if err != nil {
		return tally{}, fmt.Errorf("read commits: %w", err)
	}
	if crc32.Checksum(b[:16], castagnoli) == binary.BigEndian.Uint32(b[16:]) {
		t.commit, t.seq = binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
	}
	return t, nil
}

func (c *commitFile) write(t tally) error {
	if t.commit == c.last {
		return nil
	}
	var b []byte
	b = binary.BigEndian.AppendUint64(b, t.commit)
	b = binary.BigEndian.AppendUint64(b, t.seq)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	_, err := c.f.WriteAt(b, 0)
	if err == nil {
		c.last = t.commit
	}
	return err
}

func (c *commitFile) close() error { return c.f.Close() }
