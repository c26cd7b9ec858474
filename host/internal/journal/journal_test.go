package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"balhost/host/internal/keyfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is room for about four records of 1,000 bytes a segment.
const small = segmentHead + page

// record is what a test appends as a commit: its bytes tell which it is.
func record(commit uint64, size int) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, commit), size/8+1)[:size]
}

// openOn opens a journal with small segments.
func openOn(t *testing.T, d disk) *Journal {
	t.Helper()
	return openWith(t, d, nil)
}

func openWith(t *testing.T, d disk, key *keyfile.Key) *Journal {
	t.Helper()
	j, err := open(Options{Dir: "journal", SegmentSize: small, Key: key}, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func appendTo(t *testing.T, j *Journal, last uint64, size int) {
	t.Helper()
	for c := j.Last() + 1; c <= last; c++ {
		if err := j.Append(c, record(c, size)); err != nil {
			t.Fatal(err)
		}
	}
}

// commits reads all that there is, by Read and by Get.
func commits(t *testing.T, j *Journal, size int) (out []uint64) {
	t.Helper()
	err := j.Read(0, func(c uint64, r []byte) error {
		got, err := j.Get(c)
		if !bytes.Equal(r, record(c, size)) || !bytes.Equal(r, got) || err != nil {
			t.Errorf("commit %d: read %d bytes, got %d, %v", c, len(r), len(got), err)
		}
		out = append(out, c)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if len(out) > 0 && (out[0] != j.First() || out[len(out)-1] != j.Last()) {
		t.Errorf("read %d to %d, the journal has %d to %d", out[0], out[len(out)-1], j.First(), j.Last())
	}
	return out
}

func TestAppendReadReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "journal")
	j := openOn(t, folder(dir))
	if j.First() != 0 || j.Last() != 0 || len(commits(t, j, 0)) != 0 {
		t.Error("a new journal is not empty")
	}
	if err := j.Append(7, record(7, 1000)); err != nil { // any number
		t.Fatal(err)
	}
	appendTo(t, j, 30, 1000)
	for range 3 {
		if got := commits(t, j, 1000); len(got) != 24 || got[0] != 7 {
			t.Errorf("commits %v", got)
		}
		if want := 24 * frameSize(1000); j.Held() != want {
			t.Errorf("held %d, want %d", j.Held(), want)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = openOn(t, folder(dir))
	}
	var from9 []uint64
	if err := j.Read(9, func(c uint64, r []byte) error { from9 = append(from9, c); return nil }); err != nil || len(from9) != 22 || from9[0] != 9 {
		t.Errorf("from 9: %v, %v", from9, err)
	}
	if err := j.Read(31, func(uint64, []byte) error { return errors.New("called") }); err != nil {
		t.Error(err)
	}
	if err := j.Read(6, func(uint64, []byte) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("read before the first: %v", err)
	}
	for _, c := range []uint64{0, 6, 31} {
		if _, err := j.Get(c); !errors.Is(err, ErrNotFound) {
			t.Errorf("get %d: %v", c, err)
		}
	}
	if err := j.Close(); err != nil { // or segments are prepared meanwhile
		t.Fatal(err)
	}
	err := filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && (info.Mode().Perm() != 0o600 || info.Size() != small) {
			t.Errorf("%s has mode %v, %d bytes", name, info.Mode(), info.Size())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	dir := folder(t.TempDir())
	j := openOn(t, dir)
	if err := j.Append(0, nil); err == nil {
		t.Error("commit 0 was taken")
	}
	appendTo(t, j, 3, 0)
	for _, c := range []uint64{0, 1, 3, 5} {
		if err := j.Append(c, nil); err == nil {
			t.Errorf("commit %d was taken after 3", c)
		}
	}
	if err := j.Append(4, make([]byte, small)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a record that fits in no segment: %v", err)
	}
	if err := j.AppendAll(4, record(4, 0), make([]byte, MaxRecord+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a record over 4 MiB: %v", err)
	}
	appendTo(t, j, 5, 0)
	if got := commits(t, j, 0); len(got) != 5 {
		t.Errorf("commits %v", got)
	}
	if _, err := Open(Options{Dir: string(dir)}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Close()); err != nil {
		t.Error(err)
	}
	if err := j.Append(6, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append after Close: %v", err)
	}
}

func TestLargestRecord(t *testing.T) {
	j, err := Open(Options{Dir: t.TempDir(), SegmentSize: 9 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	appendTo(t, j, 4, MaxRecord) // two a segment
	if got := commits(t, j, MaxRecord); len(got) != 4 || len(j.segments) != 2 {
		t.Errorf("commits %v in %d segments", got, len(j.segments))
	}
}

func TestAppendAll(t *testing.T) {
	dir := newDisk()
	j := openOn(t, dir)
	var records [][]byte
	for c := uint64(1); c <= 50; c++ {
		records = append(records, record(c, 300))
	}
	if err := errors.Join(j.AppendAll(1, records[:1]...), j.AppendAll(2, records[1:]...), j.AppendAll(51)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := commits(t, j, 300); len(got) != 50 {
			t.Errorf("commits %v", got)
		}
		j.Close()
		j = openOn(t, dir)
	}
}

func TestTrimKeepsSpares(t *testing.T) {
	dir := newDisk()
	j := openOn(t, dir)
	appendTo(t, j, 3, 1000) // three a segment
	if err := j.Trim(3); err != nil || j.First() != 1 {
		t.Errorf("the segment with the last commit was given up: first is %d, %v", j.First(), err)
	}
	appendTo(t, j, 40, 1000)
	if err := j.Trim(5); err != nil || j.First() != 4 {
		t.Errorf("after Trim(5) the first is %d, %v", j.First(), err)
	}
	if err := j.Trim(1 << 40); err != nil || j.First() != 40 || j.Last() != 40 || j.Held() != frameSize(1000) {
		t.Errorf("after Trim of all there are %d to %d, %d bytes, %v", j.First(), j.Last(), j.Held(), err)
	}
	if len(j.spares) != maxSpares {
		t.Errorf("spare files: %v", j.spares)
	}
	if want := int64(1+maxSpares) * small; j.Size() != want {
		t.Errorf("size %d, want %d", j.Size(), want)
	}
	for range 2 {
		j.Close()
		j = openOn(t, dir)
		if got := commits(t, j, 1000); len(got) != 1 {
			t.Errorf("commits %v", got)
		}
	}
	appendTo(t, j, 400, 1000) // over frames of before
	if err := j.Trim(390); err != nil || j.First() <= 385 || j.First() > 391 {
		t.Errorf("first is %d, %v", j.First(), err)
	}
}

func TestCut(t *testing.T) {
	for _, from := range []uint64{41, 40, 39, 38, 37, 36, 20, 5, 4, 1} {
		t.Run(fmt.Sprint(from), func(t *testing.T) {
			dir := newDisk()
			j := openOn(t, dir)
			appendTo(t, j, 40, 1000)
			if err := j.Trim(3); err != nil {
				t.Fatal(err)
			}
			if err := j.Cut(from); err != nil {
				t.Fatal(err)
			}
			want := int(max(from, 4)) - 4
			if got := commits(t, j, 1000); len(got) != want || j.Held() != int64(want)*frameSize(1000) {
				t.Errorf("commits %v, %d bytes", got, j.Held())
			}
			j.Close()
			j = openOn(t, dir)
			if got := commits(t, j, 1000); len(got) != want {
				t.Errorf("opened again: %v", got)
			}
			next := j.Last() + 1
			if want == 0 {
				next = 1000
			}
			if err := j.Append(next, record(next, 1000)); err != nil {
				t.Fatal(err)
			}
			appendTo(t, j, next+20, 1000)
			if got := commits(t, j, 1000); len(got) != want+21 {
				t.Errorf("after the next appends: %v", got)
			}
		})
	}
}

func TestLight(t *testing.T) {
	dir := t.TempDir()
	for i := range uint64(5) {
		j, err := Open(Options{Dir: dir, Light: true})
		if err != nil {
			t.Fatal(err)
		}
		appendTo(t, j, (i+1)*10, 100)
		if got := commits(t, j, 100); len(got) != int(i+1)*10 || j.Size() > 1<<20 {
			t.Errorf("commits %v, %d bytes", got, j.Size())
		}
		j.Close()
	}
	j := openOn(t, folder(dir)) // and not light
	appendTo(t, j, 100, 100)
	if got := commits(t, j, 100); len(got) != 100 {
		t.Errorf("commits %v", got)
	}
}

// A reader goes on while what it reads is trimmed and its files are used again.
func TestReadWhileTrimmed(t *testing.T) {
	j := openOn(t, newDisk())
	appendTo(t, j, 40, 1000)
	var got []uint64
	err := j.Read(0, func(c uint64, r []byte) error {
		if c == 1 {
			if err := j.Trim(40); err != nil {
				return err
			}
			appendTo(t, j, 100, 1000)
		}
		if !bytes.Equal(r, record(c, 1000)) {
			t.Errorf("commit %d is another's record", c)
		}
		got = append(got, c)
		return nil
	})
	if err != nil || len(got) != 40 {
		t.Errorf("read %v, %v", got, err)
	}
}

func TestTogether(t *testing.T) {
	j := openOn(t, newDisk())
	const last = 500
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for j.Last() < last {
				at := uint64(0)
				err := j.Read(0, func(c uint64, r []byte) error {
					if at > 0 && c != at+1 || !bytes.Equal(r, record(c, 200)) {
						t.Errorf("commit %d after %d", c, at)
					}
					at = c
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				if _, err := j.Get(j.Last()); err != nil && !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for j.Last() < last {
			if c := j.Last(); c > 50 {
				if err := j.Trim(c - 50); err != nil {
					t.Error(err)
				}
			}
		}
	})
	appendTo(t, j, last, 200)
	all.Wait()
}

// In steady state an append allocates nothing.
func TestAppendAllocatesNothing(t *testing.T) {
	j, err := Open(Options{Dir: t.TempDir(), SegmentSize: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	r := record(1, 1000)
	appendTo(t, j, 10, 1000)
	<-j.ready // nothing else runs now
	j.ready <- prepared{err: errors.New("not used")}
	commit := j.Last()
	allocs := testing.AllocsPerRun(100, func() {
		commit++
		if err := j.Append(commit, r); err != nil {
			t.Error(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations an append", allocs)
	}
}
