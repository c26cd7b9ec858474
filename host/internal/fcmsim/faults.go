package fcmsim

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/net/http2"
)

// CutMode is how a connection is lost.
type CutMode string

// The ways to lose a connection.
const (
	CutFIN       CutMode = "fin"       // close the TCP connection, without GOAWAY or TLS close_notify
	CutRST       CutMode = "rst"       // reset the TCP connection
	CutBlackhole CutMode = "blackhole" // keep it open, but send nothing and ignore what comes
)

func (m CutMode) check() error {
	switch m {
	case "", CutFIN, CutRST, CutBlackhole:
		return nil
	}
	return fmt.Errorf("cut mode %q: want %q, %q or %q", m, CutFIN, CutRST, CutBlackhole)
}

// Cut says how connections are lost. The messages that the server has read by then
// are delivered, unless Lose is set: their sender can't know.
type Cut struct {
	Mode CutMode `json:"mode"` // "" means CutFIN
	Conn int     `json:"conn"` // the number of the connection in the report; 0 means all
	Lose bool    `json:"lose"` // nothing of what waits for an answer is delivered
}

// GoAway announces the end of connections on HTTP/2. On HTTP/1.1 the next answer
// says "Connection: close".
type GoAway struct {
	Conn int    `json:"conn"` // the number of the connection; 0 means all
	Code string `json:"code"` // "" means NO_ERROR: the connection ends when all is answered; with another code it ends at once
	Drop int    `json:"drop"` // so many of the newest requests are above the last id: nothing was done, and they get no answer. A request that was handled is never above it, nor an older one
	Text string `json:"text"` // the debug data, such as "exceeded_max_concurrent_streams"
}

// pick is the connection with that number; 0 picks all of them, oldest first. s.mu must be held.
func (s *Server) pick(number int) []*conn {
	var out []*conn
	for c := range s.conns {
		if !c.lost && (number == 0 || number == c.id) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(x, y *conn) int { return x.id - y.id })
	return out
}

// Cut cuts connections. It returns how many.
func (s *Server) Cut(cut Cut) (int, error) {
	if err := cut.Mode.check(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	picked := s.pick(cut.Conn)
	for _, c := range picked {
		if cut.Lose {
			for _, x := range c.streams {
				x.message = nil
			}
		}
		c.kill(cut.Mode)
	}
	return len(picked), nil
}

// GoAway announces the end of connections. It returns how many.
func (s *Server) GoAway(g GoAway) (int, error) {
	code, err := resetCode(g.Code)
	if err != nil {
		return 0, fmt.Errorf("goaway: %w", err)
	}
	if g.Drop < 0 {
		return 0, fmt.Errorf("goaway that drops %d requests: the number can't be negative", g.Drop)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	picked := s.pick(g.Conn)
	for _, c := range picked {
		c.goAway(g, code, time.Now())
	}
	return len(picked), nil
}

// goAway announces the end of one connection. srv.mu must be held.
func (c *conn) goAway(g GoAway, code http2.ErrCode, now time.Time) {
	h := &c.h2
	defer c.wake()
	if c.report.Protocol == "" { // nothing has come yet: it is like one that is dialled later
		return
	}
	if c.last = true; c.report.Protocol != "h2" {
		return
	}
	c.srv.counts.GoAways++
	ids := make([]uint32, 0, len(c.streams))
	for id := range c.streams {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	last := h.lastID
	for _, id := range slices.Backward(ids) {
		if g.Drop == 0 || id <= h.settled {
			break
		}
		g.Drop--
		c.drop(c.streams[id], now)
		delete(c.streams, id)
		last = id - min(id, 2) // a client's streams are odd
	}
	h.out = append(h.out, func(fr *http2.Framer) error { return fr.WriteGoAway(last, code, []byte(g.Text)) })
	if code == http2.ErrCodeNo {
		h.drained = true
		return
	}
	h.closing = fmt.Errorf("goaway %v", code)
}

// Freeze stops all reading and writing until Freeze(false). All connections stay
// open, and new ones are accepted.
func (s *Server) Freeze(on bool) { s.gate.Freeze(on) }
