package powercut

import (
	"bytes"
	"errors"
	"io"
	"syscall"
)

const (
	pageSize   = 4096
	sectorSize = 512
	wholeFile  = 1 << 62
)

// page is a part of a file that differs between the page cache and the disk.
type page struct {
	at    int64
	bytes []byte
}

func (n *node) size() int64 {
	info, err := n.file.Stat()
	if err != nil {
		n.disk.miss(err)
		return 0
	}
	return info.Size()
}

// dirty finds the pages between from and to that differ from base. After the end of
// base it compares with zeros.
func (n *node) dirty(base []byte, from, to int64) (out []page) {
	size := n.size()
	to = min(to, size)
	buf := make([]byte, 64<<10)
	for at := from &^ (pageSize - 1); at < to; {
		data, end := n.data(at, to)
		for ; at < data && at < int64(len(base)); at += pageSize { // a hole
			if p := zeros[:min(pageSize, size-at)]; differs(base, at, p) {
				out = append(out, page{at, bytes.Clone(p)})
			}
		}
		for at = data; at < end; {
			got, err := n.file.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
			if err != nil && !errors.Is(err, io.EOF) {
				n.disk.miss(err)
			}
			if got == 0 {
				return out // the file has become shorter
			}
			for i := 0; i < got; i += pageSize {
				if p := buf[i:min(i+pageSize, got)]; differs(base, at+int64(i), p) {
					out = append(out, page{at + int64(i), bytes.Clone(p)})
				}
			}
			at += int64(got)
		}
	}
	return out
}

// data is the next range, in whole pages, that is not a hole.
func (n *node) data(at, to int64) (from, end int64) {
	const seekData, seekHole = 3, 4
	from, err := n.file.Seek(at, seekData)
	switch {
	case errors.Is(err, syscall.ENXIO), err == nil && from >= to:
		return to, to
	case err != nil: // the file system does not know holes
		return at, to
	}
	if end, err = n.file.Seek(from, seekHole); err != nil {
		end = to
	}
	return from &^ (pageSize - 1), min(to, (end+pageSize-1)&^(pageSize-1))
}

var zeros = make([]byte, pageSize)

func differs(base []byte, at int64, p []byte) bool {
	was := base[min(at, int64(len(base))):min(at+int64(len(p)), int64(len(base)))]
	return !bytes.Equal(was, p[:len(was)]) || !bytes.Equal(p[len(was):], zeros[:len(p)-len(was)])
}
