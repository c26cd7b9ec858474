package state

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

// span compares what both kinds of Scan give with what is there.
func (h *history) span(t testing.TB, prefix, start string, most int, back bool) {
	want := slices.Sorted(maps.Keys(h.records))
	if back {
		slices.Reverse(want)
	}
	want = slices.DeleteFunc(want, func(key string) bool {
		return !strings.HasPrefix(key, prefix) || !back && key < start || back && start != "" && key >= start
	})
	want = want[:min(most, len(want))]
	h.view.Begin()
	defer h.view.End()
	span := Span{Prefix: []byte(prefix), Start: []byte(start), Most: most, Back: back}
	for name, scan := range map[string]func(Span, func(key, value []byte) (bool, error)) error{"state": h.s.Scan, "view": h.view.Scan} {
		var got []string
		err := scan(span, func(key, value []byte) (bool, error) {
			got = append(got, string(key))
			if string(value) != h.records[string(key)] {
				t.Fatalf("%s: %s has %d bytes, should have %d", name, key, len(value), len(h.records[string(key)]))
			}
			return true, nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s: %d of %q from %q on, back %v, are %q, should be %q: %v", name, most, prefix, start, back, got, want, err)
		}
	}
}

// A scan sees one moment, also while layers are frozen and written. Each commit sets all
// records to its number.
func TestScanSeesOneMoment(t *testing.T) {
	s := mustOpen(t, small(t, t.TempDir()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := uint64(1); n <= 3000; n++ {
			var all []Change
			for _, key := range []string{"k1", "k2", "k3", "k4", "k5"} {
				all = append(all, Change{Key: []byte(key), Value: binary.BigEndian.AppendUint64(make([]byte, 200), n)})
			}
			if err := s.Apply(n, Frame(all)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for going := true; going; {
		select {
		case <-done:
			going = false
		default:
		}
		seen := map[string]bool{}
		n := 0
		err := s.Scan(Span{Prefix: []byte("k"), Most: 10}, func(_, value []byte) (bool, error) {
			seen[string(value)] = true
			n++
			return true, nil
		})
		if err != nil || len(seen) > 1 || n != 0 && n != 5 {
			t.Errorf("a scan sees %d records of %d commits: %v", n, len(seen), err)
			<-done
			going = false
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Scan(Span{Prefix: []byte("k"), Most: 1}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a scan of a closed state: %v", err)
	}
}

// A scan ends where its reader says, and with the reader's error.
func TestScanEnds(t *testing.T) {
	s := mustOpen(t, small(t, t.TempDir()))
	defer s.Close() //nolint:errcheck // read only
	if err := s.Apply(1, Frame([]Change{{Key: []byte("k1"), Value: []byte("1")}, {Key: []byte("k2"), Value: []byte("2")}})); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for range 2 { // from the layers, then from badger
		n := 0
		if err := s.Scan(Span{Prefix: []byte("k"), Most: 9}, func(_, _ []byte) (bool, error) { n++; return false, nil }); err != nil || n != 1 {
			t.Errorf("%d records after the first, which was enough: %v", n, err)
		}
		if err := s.Scan(Span{Prefix: []byte("k"), Most: 9}, func(_, _ []byte) (bool, error) { return true, broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}
