package ccssim

import (
	"fmt"
	"time"

	"balhost/host/internal/xmpp"
)

// CutMode is how a connection is lost.
type CutMode string

// The ways to lose a connection.
const (
	CutFIN       CutMode = "fin"       // closed without a word: no stream end, no TLS close_notify
	CutRST       CutMode = "rst"       // reset
	CutBlackhole CutMode = "blackhole" // nothing comes any more, what is sent disappears; the client must notice by itself
)

// Cut loses connections.
type Cut struct {
	Mode  CutMode `json:"mode"`  // "" is CutFIN
	Conn  int     `json:"conn"`  // which one, as numbered in the report; 0 is all
	After int     `json:"after"` // once so many more bytes have been written on it; 0 is now
	Below bool    `json:"below"` // count the bytes below TLS: a record is cut in two; CutFIN only
}

// Drain announces the end of connections (ccs-protocol.md §7): new downstreams
// get the nack CONNECTION_DRAINING, what is unanswered is still answered.
type Drain struct {
	Conn       int      `json:"conn"`        // which one; 0 is all
	Grace      Duration `json:"grace"`       // until the server closes the stream; 0 never does
	Silent     bool     `json:"silent"`      // no control message: the first nack tells
	NoUpstream bool     `json:"no_upstream"` // no more upstream on it either
}

// Duration is a time.Duration that reads and writes as "1.5s" in JSON.
type Duration time.Duration

// MarshalText writes it as time.Duration.String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads it as time.ParseDuration does.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// pick is the bound connection with that number, or all of them. srv.mu is held.
func (s *Server) pick(number int) []*conn {
	var out []*conn
	for c := range s.conns {
		if (c.state == StateBound || c.state == StateDraining) && (number == 0 || number == c.id) {
			out = append(out, c)
		}
	}
	return out
}

// Drain drains all connections and never closes them.
func (s *Server) Drain() int { return s.DrainWith(Drain{}) }

// DrainWith drains connections and returns how many.
func (s *Server) DrainWith(d Drain) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	picked := s.pick(d.Conn)
	for _, c := range picked {
		c.state, c.drain = StateDraining, &d
		if d.Grace > 0 {
			c.closeAt = time.Now().Add(time.Duration(d.Grace))
		}
		if !d.Silent {
			c.out = append(c.out, s.draining())
		}
		s.counts.Drained++
		c.wake()
	}
	return len(picked)
}

// Cut closes all bound connections without a word.
func (s *Server) Cut() int {
	n, _ := s.CutWith(Cut{})
	return n
}

// CutWith loses connections as told, and returns how many. Upstreams un-acked
// on them are sent again on others.
func (s *Server) CutWith(cut Cut) (int, error) {
	switch cut.Mode {
	case "":
		cut.Mode = CutFIN
	case CutFIN, CutRST, CutBlackhole:
	default:
		return 0, fmt.Errorf("cut mode %q: want %q, %q or %q", cut.Mode, CutFIN, CutRST, CutBlackhole)
	}
	if cut.Below && cut.Mode != CutFIN {
		return 0, fmt.Errorf("cut mode %q below TLS: only %q can be", cut.Mode, CutFIN)
	}
	if cut.After < 0 {
		return 0, fmt.Errorf("cut after %d bytes: can't be negative", cut.After)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	picked := s.pick(cut.Conn)
	for _, c := range picked {
		switch {
		case cut.After == 0:
			c.kill(cut.Mode)
		case cut.Below:
			s.counts.Cut++
			c.wire.fuse.Store(int64(cut.After) + 1)
		default:
			mine := cut
			c.cut = &mine
		}
	}
	return len(picked), nil
}

// kill loses the connection now. srv.mu is held.
func (c *conn) kill(mode CutMode) {
	c.srv.counts.Cut++
	c.unbind()
	switch mode {
	case CutRST:
		c.wire.reset()
	case CutBlackhole:
		c.wire.hole.Store(true)
	default:
		c.wire.Close()
	}
}

// Freeze makes the server neither read nor write, with all connections open,
// old and new, until Freeze(false).
func (s *Server) Freeze(on bool) { s.gate.freeze(on) }

// StreamError ends all connections by a stream error such as "system-shutdown"
// (RFC 6120 §4.9.3) and returns how many.
func (s *Server) StreamError(condition string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	picked := s.pick(0)
	for _, c := range picked {
		s.counts.StreamErrors++
		c.finish(xmpp.AppendStreamError(nil, condition, ""))
	}
	return len(picked)
}

// Inject writes bytes as they are, between two stanzas, on all connections:
// whatever a broken or newer server might send. It returns on how many.
func (s *Server) Inject(raw string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	picked := s.pick(0)
	for _, c := range picked {
		c.out = append(c.out, []byte(raw))
		c.wake()
	}
	return len(picked)
}

// SetCanonical makes acks of downstreams to a token carry registration_id; "" ends that.
func (s *Server) SetCanonical(token, registrationID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if registrationID == "" {
		delete(s.canonical, token)
	} else {
		s.canonical[token] = registrationID
	}
}
