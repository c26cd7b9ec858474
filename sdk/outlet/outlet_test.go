package outlet

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// file is an io.Writer that blocks and fails as the test wants.
type file struct {
	mu   sync.Mutex
	got  bytes.Buffer
	gate chan struct{}                     // Write waits for it, unless nil
	does func(p []byte) (n int, err error) // nil: takes all
}

func (f *file) Write(p []byte) (int, error) {
	if f.gate != nil {
		<-f.gate
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := len(p), error(nil)
	if f.does != nil {
		n, err = f.does(p)
	}
	f.got.Write(p[:n])
	return n, err
}

func (f *file) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got.String()
}

// books checks the lines that came: the numbers from 0 on, in order, and at each gap
// a line with its true size. It returns how many lines were missing.
func books(t *testing.T, text string, total int) (missing int) {
	t.Helper()
	next := 0
	for line := range strings.Lines(text) {
		if m := regexp.MustCompile(`^(\d+) lines dropped\n$`).FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			missing += n
			next += n
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(strings.TrimRight(line, "x\n")))
		if err != nil || n != next {
			t.Fatalf("line %.40q, want number %d", line, next)
		}
		next++
	}
	if next != total {
		t.Errorf("%d lines came or were told of, want %d", next, total)
	}
	return missing
}

// P10: when nobody reads, nothing waits. When somebody reads again, the order is
// kept, and one line at the gap says how many lines are missing.
func TestNothingWaitsForAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &file{gate: make(chan struct{})}
		w := New(f)
		pad := strings.Repeat("x", 1000)
		write := func(from, to int) {
			for i := from; i < to; i++ {
				if n, err := fmt.Fprintf(w, "%d %s\n", i, pad); err != nil || n < 1000 {
					t.Fatal(n, err)
				}
			}
		}
		write(0, 1)
		synctest.Wait()
		write(1, 5000) // if it waited, synctest would report a deadlock
		s := w.Stats()
		if s.Dropped == 0 || s.Dropped > 4000 || s.Writing.IsZero() {
			t.Errorf("%+v", s)
		}
		if w.Close(time.Second) {
			t.Error("everything got out of a file that takes nothing")
		}
		close(f.gate)
		synctest.Wait()
		if missing := books(t, f.String(), 5000); uint64(missing) != s.Dropped {
			t.Errorf("%d lines missing, %d counted", missing, s.Dropped)
		}
		if !w.Stats().Writing.IsZero() {
			t.Error("a write goes on")
		}
	})
}

// With a slow reader there are several gaps. Each has its own line.
func TestGapsAreToldWhereTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &file{gate: make(chan struct{})}
		w := New(f)
		const rounds, each = 5, 3000
		for r := range rounds {
			for i := range each {
				fmt.Fprintf(w, "%d %s\n", r*each+i, strings.Repeat("x", 1000))
			}
			for range 20 { // pieces
				synctest.Wait()
				select {
				case f.gate <- struct{}{}:
				default:
				}
			}
		}
		close(f.gate)
		if !w.Close(time.Minute) {
			t.Error("not all got out")
		}
		text := f.String()
		if missing := books(t, text, rounds*each); uint64(missing) != w.Stats().Dropped || strings.Count(text, "dropped") < 2 {
			t.Errorf("%d missing, %+v, in %d gaps", missing, w.Stats(), strings.Count(text, "dropped"))
		}
	})
}

// After an error of the file the Writer goes on. It counts the missing lines, and
// tells of them when the file works again, also when a line was cut in its middle.
func TestBrokenFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 1 << 30
		f := &file{}
		f.does = func(p []byte) (int, error) {
			n := min(left, len(p))
			left -= n
			if n < len(p) {
				return n, syscall.ENOSPC
			}
			return n, nil
		}
		w := New(f)
		say := func(text string) {
			io.WriteString(w, text)
			synctest.Wait()
		}
		room := func(n int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			left = n
		}
		say("one\n")
		room(2)
		say("two\n")
		say("three\nfour\n")
		if s := w.Stats(); s.Failed != 3 || s.Err != syscall.ENOSPC || s.Dropped != 0 {
			t.Errorf("%+v", s)
		}
		room(1 << 30)
		say("five\n")
		say("six\n")
		if !w.Close(time.Second) {
			t.Error("not all got out")
		}
		if got, want := f.String(), "one\ntw\n3 lines dropped\nfive\nsix\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		say("late\n")
		if got := w.Stats().Dropped; got != 1 {
			t.Errorf("%d dropped after Close, want 1", got)
		}
	})
}

// Short writes and a non-blocking file lose nothing.
func TestPartialWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, calls := &file{}, 0
		f.does = func(p []byte) (int, error) {
			switch calls++; calls % 4 {
			case 1:
				return min(len(p), 3), nil
			case 2:
				return 0, syscall.EAGAIN
			case 3:
				return min(len(p), 2), syscall.EAGAIN
			}
			return min(len(p), 5), io.ErrShortWrite
		}
		w := New(f)
		for i := range 500 {
			fmt.Fprintf(w, "%d\n", i)
		}
		if !w.Close(time.Hour) || books(t, f.String(), 500) != 0 {
			t.Errorf("%+v", w.Stats())
		}
	})
}

// A patient Write returns when the line is written. If nobody reads, only the first
// Write waits.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &file{gate: make(chan struct{}, 1)}
		w := NewPatient(f, time.Second)
		f.gate <- struct{}{}
		io.WriteString(w, "0\n")
		if f.String() != "0\n" {
			t.Errorf("%q is out", f.String())
		}
		began := time.Now()
		for i := range 100 {
			fmt.Fprintf(w, "%d\n", i+1)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("100 lines without a reader took %v", took)
		}
		close(f.gate)
		synctest.Wait()
		io.WriteString(w, "101\n")
		if books(t, f.String(), 102) != 0 {
			t.Error("lines are missing")
		}
		w.Close(time.Second)
	})
}

// The error of a real pipe whose reader has gone is counted.
func TestClosedPipe(t *testing.T) {
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer out.Close()
	w := New(out)
	io.WriteString(w, "nobody hears this\n")
	if !w.Close(time.Minute) || w.Stats().Failed != 1 {
		t.Errorf("%+v", w.Stats())
	}
}

func BenchmarkWrite(b *testing.B) {
	w := New(io.Discard)
	defer w.Close(time.Second)
	line := []byte(strings.Repeat("x", 150) + "\n")
	b.ReportAllocs()
	for b.Loop() {
		w.Write(line)
	}
}
