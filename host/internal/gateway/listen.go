package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"
)

const (
	unixPrefix  = "unix:"
	headerLimit = 5 * time.Second // for a TLS handshake, for the PROXY header, and for the header of a request
)

// listen opens the address. Devices come through what guards it.
func (g *Gateway) listen(ctx context.Context) (net.Listener, error) {
	l, err := g.o.Listener, error(nil)
	path, isUnix := strings.CutPrefix(g.o.Listen, unixPrefix)
	switch {
	case l != nil:
	case isUnix:
		l, err = listenUnix(path)
	case g.cert == nil && !local(g.o.Listen):
		err = errors.New("other machines can reach it, so it needs a certificate: give the gateway a tls block")
	default:
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", g.o.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s for the devices of session %q (gateway.listen in config.hcl): %w", g.o.Listen, g.o.Name, err)
	}
	return &guard{Listener: l, g: g}, nil
}

// local reports whether only this machine can reach host:port.
func local(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() || strings.EqualFold(host, "localhost")
}

// listenUnix makes a socket file that its owner and group can use. One that nobody listens
// on is replaced: a host that was killed has left it.
func listenUnix(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil || errors.Is(err, syscall.EAGAIN) { // EAGAIN: somebody listens, but accepts slowly
		if c != nil {
			c.Close()
		}
		return nil, errors.New("another process listens on it")
	}
	draft := path + ".new" // nobody can connect before the file's mode is set
	for _, name := range []string{path, draft} {
		if info, err := os.Lstat(name); err == nil && info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s exists and is not a socket: choose another path", name)
		}
	}
	if err := os.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: draft, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	file, err := os.Lstat(draft)
	if err := errors.Join(err, os.Chmod(draft, 0o660), os.Rename(draft, path)); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(draft))
	}
	return &unixSocket{Listener: l, path: path, file: file}, nil
}

// unixSocket removes its file at its end, unless another one is there by then.
type unixSocket struct {
	net.Listener
	path string
	file os.FileInfo
	once sync.Once
}

// Close implements [net.Listener].
func (s *unixSocket) Close() (err error) {
	s.once.Do(func() {
		now, statErr := os.Lstat(s.path)
		err = s.Listener.Close()
		if statErr == nil && os.SameFile(now, s.file) {
			err = errors.Join(err, os.Remove(s.path))
		}
	})
	return err
}

// guard accepts connections, and closes at once those that are too many, before any work
// is done for them. Spec: fcm-v1-and-gateway.md C5.
type guard struct {
	net.Listener
	g *Gateway
}

// Accept implements [net.Listener].
func (l *guard) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.g.admit(nc); c != nil {
			return c, nil
		}
		nc.Close()
	}
}

// admit makes nc a connection of the gateway, or returns nil.
func (g *Gateway) admit(nc net.Conn) net.Conn {
	address, ok := addressOf(nc.RemoteAddr().String())
	proxy := g.trusts(address, ok)
	c := &conn{Conn: nc, g: g}
	if limit := g.seats.take(); limit != "" {
		g.limited(peerAt(address, ok).key, limit)
		return nil
	}
	switch {
	case proxy && g.o.ProxyProtocol:
		c.Conn = proxyproto.NewConn(nc, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(headerLimit))
		c.proxied = true
	case !proxy:
		if c.refused = !c.count(peerAt(address, ok)); c.refused {
			c.leave()
			return nil
		}
	}
	return c
}

// conn is one connection. It has a seat until it is closed.
type conn struct {
	net.Conn
	g       *Gateway
	proxied bool // its first bytes say who it is
	once    sync.Once
	refused bool // set by once, or before the conn is used

	mu     sync.Mutex // guards what follows
	key    string     // the address that it counts for; "": none
	begun  bool       // it has sent a byte of a request
	closed bool
}

// count makes c count for its address. It reports whether that has room.
func (c *conn) count(p peer) bool {
	if p.free {
		return true
	}
	if limit := c.g.limits.connect(p.key); limit != "" {
		c.g.limited(p.key, limit)
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.g.limits.disconnect(p.key)
		return false
	}
	c.key = p.key
	return true
}

// standsFor makes a proxy's connection count for p, because a WebSocket takes all of it. It
// reports whether p's address has room.
func (c *conn) standsFor(p peer) bool {
	c.mu.Lock()
	counts := c.key != ""
	c.mu.Unlock()
	return counts || c.count(p)
}

// Read implements [net.Conn]. Before the first bytes it finds out for whom a proxy has
// connected.
func (c *conn) Read(b []byte) (int, error) {
	if c.proxied {
		c.once.Do(func() {
			address, ok := addressOf(c.Conn.RemoteAddr().String())
			c.refused = !c.g.trusts(address, ok) && !c.count(peerAt(address, ok))
		})
		if c.refused {
			c.Close()
			return 0, net.ErrClosed
		}
	}
	return c.Conn.Read(b)
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// begin notes that c is no stranger any more: it has sent a request.
func (c *conn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.begun && !c.closed {
		c.begun = true
		c.g.seats.settle()
	}
}

// leave gives up the seat.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	c.g.seats.give(c.begun)
	if c.key != "" {
		c.g.limits.disconnect(c.key)
	}
}

// seats counts connections. A quarter of all, and at least some, may be strangers, who have
// sent no request yet: a flood of handshakes leaves the others alone.
type seats struct {
	mu        sync.Mutex // guards what follows
	most      int
	all       int
	strangers int
}

const fewStrangers = 64

// take says by which limit there is no seat, or "".
func (s *seats) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.all >= s.most:
		return "max_connections"
	case s.strangers >= max(fewStrangers, s.most/4):
		return "connections without a request, of all addresses"
	}
	s.all++
	s.strangers++
	return ""
}

func (s *seats) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strangers--
}

func (s *seats) give(begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if !begun {
		s.strangers--
	}
}

func (s *seats) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}
