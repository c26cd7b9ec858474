package state

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
)

// A frame says what went into it, and bytes that are none are refused.
func TestFrame(t *testing.T) {
	in := []Change{
		{Key: []byte("a"), Value: []byte("1"), Expires: 1 << 40}, {Key: []byte("b"), Delete: true}, {Key: []byte("c"), Value: []byte{}, New: true},
		{Key: []byte("d"), Delete: true, New: true},
		{Key: bytes.Repeat([]byte("k"), 3000), Value: bytes.Repeat([]byte("v"), 100_000)},
	}
	frame := Frame(in)
	var out []Change
	if err := Changes(frame, func(c Change) { out = append(out, c) }); err != nil {
		t.Fatal(err)
	}
	same := slices.EqualFunc(in, out, func(a, b Change) bool {
		return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && a.Expires == b.Expires && a.Delete == b.Delete && a.New == b.New
	})
	if !same {
		t.Errorf("out comes %v", out)
	}
	for _, bad := range [][]byte{nil, {3}, frame[:len(frame)-1], frame[:3], append(bytes.Clone(frame), 0xff)} {
		if err := Changes(bad, func(Change) {}); !errors.Is(err, errFrame) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

// What is new and deleted before its layer is written leaves no deletion in badger; what
// was there before does, and so does what a replay only believes to be new: of the layer
// that a killed process was writing, the tables may have a part.
func TestNewAndDeletedLeavesNothing(t *testing.T) {
	o := small(t, t.TempDir())
	o.Layer = 1 << 20
	s := mustOpen(t, o)
	defer s.Close() //nolint:errcheck // compared before
	commit := uint64(0)
	apply := func(how func(uint64, []byte) error, changes ...Change) {
		t.Helper()
		commit++
		if err := how(commit, Frame(changes)); err != nil {
			t.Fatal(err)
		}
	}
	a, b, v := []byte("ka"), []byte("kb"), []byte("v")
	inBadger := func() (keys string) {
		t.Helper()
		err := s.Moment(func(m *Moment) error {
			m.Keys([]byte("k"), []byte("k"), func(key []byte) bool { keys += string(key) + " "; return true })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	apply(s.Apply, Change{Key: a, Value: v, New: true}, Change{Key: b, Value: v, New: true})
	apply(s.Apply, Change{Key: a, Value: v}, Change{Key: b, Delete: true})
	apply(s.Apply, Change{Key: a, Delete: true})
	apply(s.Apply, Change{Key: b, Delete: true, New: true})
	if got := inBadger(); got != "" {
		t.Errorf("badger has %s of what was new and deleted", got)
	}
	apply(s.Apply, Change{Key: a, Value: v, New: true})
	if got := inBadger(); got != "ka " {
		t.Errorf("badger has %s, should have ka", got)
	}
	apply(s.Apply, Change{Key: a, Delete: true})
	apply(s.Apply, Change{Key: a, Value: v, New: true}) // new again, but badger has an old one
	apply(s.Apply, Change{Key: a, Delete: true})
	if found, err := s.Get(a, func([]byte) error { return nil }); found || err != nil {
		t.Errorf("ka is there again: %v", err)
	}
	if got := inBadger(); got != "ka ka " {
		t.Errorf("badger has %s, should have ka and its deletion", got)
	}
	apply(s.Replay, Change{Key: b, Value: v, New: true})
	apply(s.Replay, Change{Key: b, Delete: true})
	if got := inBadger(); got != "ka ka kb " {
		t.Errorf("badger has %s, should have the deletion of kb", got)
	}
}

// Frames of format 1, which say of nothing that it is new, are read.
func TestOldFrames(t *testing.T) {
	old := []byte{1, 2 << 1, 'k', 'a', 5, 1, 'v', 2<<1 | 1, 'k', 'b'}
	var got []Change
	if err := Changes(old, func(c Change) { got = append(got, c) }); err != nil {
		t.Fatal(err)
	}
	want := []Change{{Key: []byte("ka"), Value: []byte("v"), Expires: 5}, {Key: []byte("kb"), Delete: true}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, should be %+v", got, want)
	}
}
