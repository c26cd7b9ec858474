package ccssim

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/latency"
	"balhost/host/internal/simnet"

	"golang.org/x/sync/errgroup"
)

// Server is a simulated CCS. Any goroutine may call its methods.
type Server struct {
	opts  Options
	ca    *simnet.Authority // nil for a server made by New
	ln    net.Listener      // nil for a server made by New
	group errgroup.Group
	gate  simnet.Gate

	mu         sync.Mutex // guards all fields below, all of account, load, item and device, and a part of conn
	closed     bool
	accounts   map[string]*account
	devices    map[string]*device
	conns      map[*conn]struct{} // the open ones
	past       []ConnReport       // the last 1,000 that have ended
	rules      []Nack
	canonical  map[string]string
	seq        uint64 // of the last item or reply
	rnd        *rand.Rand
	counts     Counts
	wrongAcks  []WrongAck
	ackLatency latency.Histogram
	lastAck    time.Time
	transcript transcript
}

// account is one sender: its login, and what waits for its clients.
type account struct {
	id, key string
	stored  []*item // items that wait to be written, oldest first
	load    load
	conns   map[*conn]struct{} // the bound ones
}

// wake tells the writers of all connections of a to look again.
func (a *account) wake() {
	for c := range a.conns {
		c.wake()
	}
}

// New makes a server without a listener. It gets connections from [Server.ServeConn].
func New(o Options) (*Server, error) {
	o, err := o.checked()
	if err != nil {
		return nil, fmt.Errorf("ccssim: %w", err)
	}
	s := &Server{
		opts:      o,
		accounts:  map[string]*account{},
		devices:   map[string]*device{},
		conns:     map[*conn]struct{}{},
		canonical: map[string]string{},
		rnd:       rand.New(rand.NewPCG(o.Seed, 0)),
	}
	for id, key := range o.Senders {
		s.addAccount(id, key)
	}
	s.addAccount(o.SenderID, o.ServerKey)
	s.transcript.slots = make([]slot, max(o.Transcript, 0))
	if err := s.StartDevices(o.Devices); err != nil {
		return nil, fmt.Errorf("ccssim: %w", err)
	}
	return s, nil
}

// NewServer makes a server that listens for direct TLS (ccs-protocol.md §1.1).
// Its certificate is for localhost, 127.0.0.1 and ::1, and is signed by the server's own CA.
func NewServer(o Options) (*Server, error) {
	s, err := New(o)
	if err != nil {
		return nil, err
	}
	var conf *tls.Config
	if s.ln, s.ca, conf, err = simnet.Listen(s.opts.Listen, o.CAFile); err != nil {
		return nil, err
	}
	s.group.Go(func() error {
		return simnet.Accept(s.ln, s.opts.Log, func(nc net.Conn) { s.start(nc, conf) })
	})
	return s, nil
}

// ServeConn serves one connection without TLS, such as an end of a net.Pipe. It
// returns at once. From then on the connection belongs to the server.
func (s *Server) ServeConn(nc net.Conn) { s.start(nc, nil) }

// start starts a connection's goroutine. A nil conf means no TLS.
func (s *Server) start(nc net.Conn, conf *tls.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		nc.Close()
		return
	}
	s.counts.Connections++
	c := newConn(s, s.counts.Connections, nc, conf)
	s.conns[c] = struct{}{}
	s.group.Go(func() error {
		err := c.serve()
		s.opts.Log.Info("connection ended", "conn", c.id, "err", err)
		s.release(c)
		return nil
	})
}

// release removes a connection that has ended, and queues its un-acked upstreams again.
func (s *Server) release(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.unbind()
	delete(s.conns, c)
	if s.past = append(s.past, c.report); len(s.past) > 1000 {
		s.past = slices.Delete(s.past, 0, 1)
	}
}

// Close ends the listener and all connections, as a crash would. It waits for their
// goroutines.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.wire.Close()
	}
	s.mu.Unlock()
	if s.ln != nil {
		s.ln.Close()
	}
	return s.group.Wait()
}

// Addr is the listener's host:port; "" for a server made by [New].
func (s *Server) Addr() string {
	if s.ln == nil {
		return ""
	}
	return s.ln.Addr().String()
}

// CAPEM is the certificate that clients must trust; nil for a server made by [New].
func (s *Server) CAPEM() []byte {
	if s.ca == nil {
		return nil
	}
	return s.ca.PEM()
}

// CAFile is Options.CAFile.
func (s *Server) CAFile() string { return s.opts.CAFile }

// SenderID is the first sender's id.
func (s *Server) SenderID() string { return s.opts.SenderID }

// Key is the first sender's server key.
func (s *Server) Key() string { return s.opts.ServerKey }

// Run is a part of the load's message ids. It differs from server to server.
func (s *Server) Run() string { return s.opts.Run }

func (s *Server) addAccount(id, key string) {
	s.accounts[id] = &account{id: id, key: key, conns: map[*conn]struct{}{}}
}

func (s *Server) account(sender string) (*account, error) {
	if sender == "" {
		sender = s.opts.SenderID
	}
	a := s.accounts[sender]
	if a == nil {
		return nil, fmt.Errorf("the simulator has no sender %q", sender)
	}
	return a, nil
}

func (s *Server) sortedDevices() []*device {
	return slices.SortedFunc(maps.Values(s.devices), func(x, y *device) int {
		return cmp.Or(len(x.token)-len(y.token), strings.Compare(x.token, y.token)) // device-2 before device-10
	})
}
