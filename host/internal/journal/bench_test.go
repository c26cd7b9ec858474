package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"balhost/host/internal/keyfile"
)

// BenchmarkAppend stands beside the least that makes bytes durable: one pwrite into
// blocks that are all there, one fdatasync.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 4 << 10, 32 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("journal/%dKiB", size>>10), func(b *testing.B) { benchAppend(b, size, nil) })
		b.Run(fmt.Sprintf("encrypted/%dKiB", size>>10), func(b *testing.B) { benchAppend(b, size, testKey) })
		b.Run(fmt.Sprintf("bare/%dKiB", size>>10), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			if err := fill(osFile{f}, defaultSegment, hasty); err != nil {
				b.Fatal(err)
			}
			r := make([]byte, size)
			b.SetBytes(int64(size))
			for at := int64(0); b.Loop(); at = (at + int64(size)) % defaultSegment {
				if _, err := f.WriteAt(r, at); err != nil {
					b.Fatal(err)
				}
				if err := datasync(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchAppend(b *testing.B, size int, key *keyfile.Key) {
	j, err := Open(Options{Dir: b.TempDir(), Key: key})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	r := make([]byte, size)
	p := <-j.ready
	j.ready <- p
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for c := uint64(1); b.Loop(); c++ {
		if err := j.Append(c, r); err != nil {
			b.Fatal(err)
		}
		if j.Held() > 3*defaultSegment { // as the ledger does behind each flush
			if err := j.Trim(c); err != nil {
				b.Fatal(err)
			}
		}
	}
}
