package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
)

// A moment has all of a commit or nothing of it, while commits come as fast as they can.
func TestMomentIsWhole(t *testing.T) {
	o := small(t, t.TempDir())
	o.Layer = 256 << 10 // more than one of badger's transactions takes
	s := mustOpen(t, o)
	const keys = 60
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := uint64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			var changes []Change
			for i := range keys {
				value := append(binary.BigEndian.AppendUint64(nil, n), make([]byte, 2000)...)
				changes = append(changes, Change{Key: fmt.Append(nil, "k", i), Value: value})
			}
			if err := s.Apply(n, Frame(changes)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	last := uint64(0)
	for looks := 0; looks < 100 && !t.Failed(); {
		before, found := s.Commit(), 0
		if before > last {
			looks++
		}
		err := s.Moment(func(m *Moment) error {
			var first []byte
			return m.Scan([]byte("k"), []byte("k"), func(key, value []byte) (bool, error) {
				if found++; first == nil {
					first = bytes.Clone(value[:8])
				} else if !bytes.Equal(first, value[:8]) {
					t.Errorf("%s is of commit %d, the first of %d", key, binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(first))
				}
				last = binary.BigEndian.Uint64(first)
				return true, nil
			})
		})
		if err != nil || found != 0 && (found != keys || last < before) {
			t.Fatalf("%d records of commit %d, after %d: %v", found, last, before, err)
		}
	}
	close(stop)
	writer.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
