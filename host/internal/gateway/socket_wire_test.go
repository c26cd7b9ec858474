package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/frame"
)

// sink is a connection that keeps what is written, and when writes are to end.
type sink struct {
	net.Conn
	written bytes.Buffer
	ends    []time.Time
}

func (s *sink) Write(p []byte) (int, error)        { return s.written.Write(p) }
func (s *sink) SetWriteDeadline(t time.Time) error { s.ends = append(s.ends, t); return nil }

// A text frame of any length has the header that RFC 6455 §5.2 wants.
func TestTextFrames(t *testing.T) {
	empty := len((&frame.Frame{Type: frame.TypeUpstream, Data: json.RawMessage{}}).Append(nil))
	for _, n := range []int{empty, 125, 126, 127, 65535, 65536, 100_000} {
		f := frame.Frame{Type: frame.TypeUpstream, Data: json.RawMessage(strings.Repeat("1", n-empty))}
		got := appendText([]byte("before"), &f)
		var header string
		switch {
		case n < 126:
			header = fmt.Sprintf("\x81%c", n)
		case n < 65536:
			header = "\x81\x7e" + string([]byte{byte(n >> 8), byte(n)})
		default:
			header = "\x81\x7f\x00\x00\x00\x00" + string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		}
		if want := "before" + header + string(f.Append(nil)); string(got) != want {
			t.Errorf("%d bytes: %.30q, should be %.30q", n, got, want)
		}
	}
}

// No frame follows a close (RFC 6455 §5.5.1), whoever wrote that.
func TestNothingFollowsAClose(t *testing.T) {
	for _, held := range []bool{false, true} {
		s := &sink{}
		w := &wire{Conn: s}
		ping := frame.Frame{Type: frame.TypePing}
		w.hold()
		w.frame(&ping)
		if !held {
			if err := w.release(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Write([]byte("\x88\x02\x03\xe8")); err != nil {
			t.Fatal(err)
		}
		w.hold()
		w.frame(&ping)
		if err := w.release(); err != nil {
			t.Fatal(err)
		}
		if got := s.written.String(); !strings.HasSuffix(got, "\x88\x02\x03\xe8") {
			t.Errorf("held %v: %q", held, got)
		}
	}
}

// Each write ends after 5 to 10 s, or when the device has been hastened, and the time is not set for each.
func TestWritesEnd(t *testing.T) {
	s := &sink{}
	w := &wire{Conn: s}
	now := time.Now()
	for i := range 20 {
		at := now.Add(time.Duration(i) * time.Second)
		if err := w.deadline(at); err != nil {
			t.Fatal(err)
		}
		if left := s.ends[len(s.ends)-1].Sub(at); left <= writeLimit/2 || left > writeLimit {
			t.Errorf("after %d s a write has %v", i, left)
		}
	}
	if len(s.ends) != 4 {
		t.Errorf("set %d times", len(s.ends))
	}
	last := now.Add(21 * time.Second)
	w.hasten(last)
	for _, at := range []time.Duration{20, 25} {
		if err := w.deadline(now.Add(at * time.Second)); err != nil || !s.ends[len(s.ends)-1].Equal(last) {
			t.Errorf("hastened: %v %v", s.ends[len(s.ends)-1].Sub(now), err)
		}
	}
}
