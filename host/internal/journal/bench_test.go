package journal

import (
	"crypto/cipher"
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

// BenchmarkFrame is what encryption costs an append in CPU: all else is the same.
func BenchmarkFrame(b *testing.B) {
	sealed := &segment{f: nowhere{}}
	if err := sealed.begin(testKey); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{1 << 10, 32 << 10} {
		for name, seal := range map[string]cipher.AEAD{"plain": nil, "encrypted": sealed.seal} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				r, buf := make([]byte, size), make([]byte, 0, 64<<10)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for c := uint64(1); b.Loop(); c++ {
					buf = put(buf[:0], seal, 1, c, 0, r)
				}
			})
		}
	}
}

// nowhere is a file that keeps nothing.
type nowhere struct{ file }

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
