package fcmsim

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"balhost/host/internal/devicesim"
	"balhost/host/internal/simnet"
)

// Server is a simulated FCM. Any goroutine may call its methods.
type Server struct {
	opts  Options
	url   string
	ca    *simnet.Authority // nil for a server without TLS
	ln    net.Listener
	group errgroup.Group
	gate  simnet.Gate
	// upload runs the half of a device that sends, until Close calls stop.
	upload func(*devicesim.Device) error
	stop   func()

	mu         sync.Mutex // guards all fields below, all of device, and a part of conn and exchange
	closed     bool
	account    *account
	keyJSON    string
	expiresIn  time.Duration
	clock      time.Duration // how far the server's clock is ahead
	bearers    []bearer      // oldest first
	rules      []*rule
	conns      map[*conn]struct{} // the open ones
	past       []ConnReport       // the last 1,000 that have ended
	devices    map[string]*device // by token, FID, "/topics/" and topic, or condition
	order      []*device          // each once, by age
	phones     map[string]*devicesim.Device
	quotas     Quotas
	quota      quota
	seq        uint64 // of the last message or answer
	rnd        *rand.Rand
	counts     Counts
	byStatus   map[string]uint64
	streams    int // requests without an answer, on all connections
	transcript transcript
}

// NewServer makes a server that listens, for TLS with HTTP/2 and HTTP/1.1 unless
// Options.Listener is set. Its certificate is for localhost, 127.0.0.1 and ::1, and
// is signed by the server's own CA.
func NewServer(o Options) (*Server, error) {
	o, err := o.checked()
	if err != nil {
		return nil, fmt.Errorf("fcmsim: %w", err)
	}
	s := &Server{
		opts:      o,
		expiresIn: o.ExpiresIn,
		quotas:    Quotas{Project: max(0, o.Quota), Target: o.TargetQuota, Topic: o.TopicQuota},
		conns:     map[*conn]struct{}{},
		devices:   map[string]*device{},
		phones:    map[string]*devicesim.Device{},
		rnd:       rand.New(rand.NewPCG(o.Seed, 0)),
		byStatus:  map[string]uint64{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.upload = cancel, func(d *devicesim.Device) error { return sends(ctx, d) }
	s.transcript.slots = make([]Line, max(o.Transcript, 0))
	account, err := openAccount(o.Project, o.KeyFile)
	if err != nil {
		return nil, err
	}
	var conf *tls.Config
	if s.ln = o.Listener; s.ln == nil {
		if conf, err = s.listen(); err != nil {
			return nil, err
		}
	}
	s.url = s.address(conf != nil)
	if err := s.useAccount(account); err != nil {
		s.ln.Close()
		return nil, err
	}
	s.group.Go(func() error {
		return simnet.Accept(s.ln, s.opts.Log, func(nc net.Conn) { s.start(nc, conf) })
	})
	return s, nil
}

// listen opens the listener for TLS.
func (s *Server) listen() (conf *tls.Config, err error) {
	s.ln, s.ca, conf, err = simnet.Listen(s.opts.Listen, s.opts.CAFile)
	if err != nil {
		return nil, err
	}
	conf.NextProtos = []string{"h2", "http/1.1"}
	if s.opts.HTTP1Only {
		conf.NextProtos = conf.NextProtos[1:]
	}
	return conf, nil
}

// address is the URL for clients.
func (s *Server) address(secure bool) string {
	at := s.ln.Addr().String()
	if host, port, err := net.SplitHostPort(at); err == nil {
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			at = net.JoinHostPort("localhost", port)
		}
	}
	if secure {
		return "https://" + at
	}
	return "http://" + at
}

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
	s.counts.MostConnections = max(s.counts.MostConnections, len(s.conns))
	s.group.Go(func() error {
		err := c.serve()
		s.opts.Log.Info("connection ended", "conn", c.id, "err", err)
		s.release(c)
		return nil
	})
}

// release removes a connection that has ended. The messages that it had read are delivered.
func (s *Server) release(c *conn) {
	c.wire.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	c.abandon(time.Now())
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
	s.stop()
	for c := range s.conns {
		c.wire.Close()
	}
	s.mu.Unlock()
	s.ln.Close()
	return s.group.Wait()
}

// Addr is the listener's host:port.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// URL is the endpoint for clients, such as https://127.0.0.1:8444.
func (s *Server) URL() string { return s.url }

// tokenURI is where bearer tokens come from.
func (s *Server) tokenURI() string { return s.url + "/token" }

// CAPEM is the certificate that clients must trust; nil for a server without TLS.
func (s *Server) CAPEM() []byte {
	if s.ca == nil {
		return nil
	}
	return s.ca.PEM()
}

// CAFile is Options.CAFile.
func (s *Server) CAFile() string { return s.opts.CAFile }

// KeyFile is Options.KeyFile.
func (s *Server) KeyFile() string { return s.opts.KeyFile }

// Project is the project's id.
func (s *Server) Project() string { return s.opts.Project }

// SenderID is the project's number.
func (s *Server) SenderID() string { return s.opts.SenderID }

// Await waits until ok is true of the counts. It fails with ctx's error.
func (s *Server) Await(ctx context.Context, ok func(Counts) bool) error {
	return simnet.Await(ctx, s.Counts, ok)
}
