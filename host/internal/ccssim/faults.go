package ccssim

import (
	"fmt"
	"time"

	"balhost/host/internal/simnet"
	"balhost/host/internal/xmpp"
)

// CutMode is how a connection is lost.
type CutMode string

// The ways to lose a connection.
const (
	CutFIN       CutMode = "fin"       // close the TCP connection, without a stream end or TLS close_notify
	CutRST       CutMode = "rst"       // reset the TCP connection
	CutBlackhole CutMode = "blackhole" // keep it open, but send nothing and ignore what comes
)

// Cut says how connections are lost.
type Cut struct {
	Mode  CutMode `json:"mode"`  // "" means CutFIN
	Conn  int     `json:"conn"`  // the number of the connection in the report; 0 means all
	After int     `json:"after"` // how many more bytes are written on it before the cut; 0 means now
	Below bool    `json:"below"` // count the bytes below TLS, so that a record may be cut in two; CutFIN only
}

// Drain announces the end of connections (ccs-protocol.md §7). New downstreams get
// the nack CONNECTION_DRAINING. Earlier ones are still answered.
type Drain struct {
	Conn       int      `json:"conn"`        // the number of the connection; 0 means all
	Grace      Duration `json:"grace"`       // time until the server closes the stream; 0 means never
	Silent     bool     `json:"silent"`      // send no control message: the client learns it from the first nack
	NoUpstream bool     `json:"no_upstream"` // send no more upstreams on it
}

// Duration is a time.Duration. In JSON it is a text such as "1.5s".
type Duration = simnet.Duration

// pick is the bound connection with that number; 0 picks all of them. s.mu must be held.
func (s *Server) pick(number int) []*conn {
	var out []*conn
	for c := range s.conns {
		if (c.state == StateBound || c.state == StateDraining) && (number == 0 || number == c.id) {
			out = append(out, c)
		}
	}
	return out
}

// Drain drains all connections and does not close them.
func (s *Server) Drain() int { return s.DrainWith(Drain{}) }

// DrainWith drains connections. It returns how many.
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

// Cut closes all bound connections, as CutFIN says.
func (s *Server) Cut() int {
	n, _ := s.CutWith(Cut{})
	return n
}

// CutWith cuts connections. It returns how many. Their un-acked upstreams are sent
// again on other connections.
func (s *Server) CutWith(cut Cut) (int, error) {
	switch cut.Mode {
	case "":
		cut.Mode = CutFIN
	case CutFIN, CutRST, CutBlackhole:
	default:
		return 0, fmt.Errorf("cut mode %q: want %q, %q or %q", cut.Mode, CutFIN, CutRST, CutBlackhole)
	}
	if cut.Below && cut.Mode != CutFIN {
		return 0, fmt.Errorf("cut mode %q can't be below TLS: only %q can", cut.Mode, CutFIN)
	}
	if cut.After < 0 {
		return 0, fmt.Errorf("cut after %d bytes: the number can't be negative", cut.After)
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
			c.wire.CutAfter(cut.After)
		default:
			mine := cut
			c.cut = &mine
		}
	}
	return len(picked), nil
}

// kill cuts the connection now. srv.mu must be held.
func (c *conn) kill(mode CutMode) {
	c.srv.counts.Cut++
	c.unbind()
	switch mode {
	case CutRST:
		c.wire.Reset()
	case CutBlackhole:
		c.wire.Blackhole()
	default:
		c.wire.Close()
	}
}

// Freeze stops all reading and writing until Freeze(false). All connections stay
// open, and new ones are accepted.
func (s *Server) Freeze(on bool) { s.gate.Freeze(on) }

// StreamError ends all connections with a stream error such as "system-shutdown"
// (RFC 6120 §4.9.3). It returns how many.
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

// Inject writes raw on all connections, between two stanzas. So a test can play a
// broken or a newer server. It returns the number of connections.
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

// SetCanonical puts registration_id into the acks of downstreams to a token. ""
// ends that.
func (s *Server) SetCanonical(token, registrationID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if registrationID == "" {
		delete(s.canonical, token)
	} else {
		s.canonical[token] = registrationID
	}
}
