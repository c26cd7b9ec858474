package state

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// BenchmarkApply is what a message costs the state, when as many share a commit as at
// full speed, and when none do: a key of its own, a share of a page that the next commit
// deletes, a share of a summary. Badger's flushes and compactions are in it.
func BenchmarkApply(b *testing.B) {
	for _, share := range []int{50, 1} {
		b.Run(fmt.Sprint("share=", share), func(b *testing.B) { benchApply(b, share) })
	}
}

func benchApply(b *testing.B, share int) {
	s := mustOpen(b, Options{
		Dir: b.TempDir(), Schema: 7, Log: hclog.NewNullLogger(),
		Bad: func(err error) { b.Errorf("bad: %v", err) }, Durable: func(uint64) error { return nil },
	})
	key := func(kind byte, n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{kind}, n) }
	b.ReportAllocs()
	b.ResetTimer()
	began := cpuTime(b)
	for at, commit := 0, uint64(1); at < b.N; at, commit = at+share, commit+1 {
		changes := make([]Change, 0, share+4)
		for i := range share {
			h := fnv.New128a()
			h.Write(key('D', uint64(at+i))) //nolint:errcheck // never fails
			changes = append(changes, Change{Key: h.Sum([]byte{'D'}), Value: make([]byte, 13), Expires: 1 << 40})
		}
		changes = append(changes,
			Change{Key: key('M', commit), Value: make([]byte, 10+350*share)}, Change{Key: key('M', commit-1), Delete: true},
			Change{Key: key('F', commit), Value: make([]byte, 30+40*share)}, Change{Key: []byte("c"), Value: make([]byte, 60)},
		)
		if err := s.Apply(commit, Frame(changes)); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-began).Nanoseconds())/float64(b.N), "cpu-ns/msg")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
