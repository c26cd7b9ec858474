package ccssim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"balhost/host/internal/xmpp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a simple CCS client, over a pipe.
type client struct {
	t  *testing.T
	nc net.Conn
	r  *xmpp.Reader
}

func newServer(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func pipe(s *Server) net.Conn {
	near, far := net.Pipe()
	s.ServeConn(far)
	return near
}

func login(t *testing.T, s *Server) *client {
	t.Helper()
	c, err := loginAs(t, pipe(s), s.SenderID()+"@gcm.googleapis.com", s.Key())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func loginAs(t *testing.T, nc net.Conn, authcid, key string) (*client, error) {
	t.Cleanup(func() { nc.Close() })
	c := &client{t, nc, xmpp.NewReader(nc, 1<<20)}
	nc.SetDeadline(time.Now().Add(patience))
	_, err := xmpp.Login(nc, c.r, xmpp.Credentials{Domain: "gcm.googleapis.com", AuthCID: authcid, Password: key, Resource: "w1"})
	return c, err
}

// patience ends a test that hangs. The error then says where.
const patience = 30 * time.Second

func (c *client) write(s string) {
	c.t.Helper()
	c.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.nc.Write([]byte(s)); err != nil {
		c.t.Fatalf("write %.80q: %v", s, err)
	}
}

func (c *client) read() (xmpp.Stanza, error) {
	element, err := c.r.Next()
	if err != nil {
		return xmpp.Stanza{}, err
	}
	st, err := c.r.Parse(bytes.Clone(element))
	return st, err
}

func (c *client) stanza() xmpp.Stanza {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(patience))
	st, err := c.read()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return st
}

// payload is the next message's JSON.
func (c *client) payload() map[string]any {
	c.t.Helper()
	var m map[string]any
	st := c.stanza()
	if err := json.Unmarshal(st.GCM, &m); err != nil {
		c.t.Fatalf("payload %q of %+v: %v", st.GCM, st, err)
	}
	return m
}

// receive reads n upstreams without acking them: "device-1 r1-1".
func (c *client) receive(n int) []string {
	c.t.Helper()
	var out []string
	for range n {
		m := c.payload()
		out = append(out, fmt.Sprint(m["from"], " ", m["message_id"]))
	}
	return out
}

func (c *client) ack(to, id string) {
	c.t.Helper()
	c.write(`<message id="a"><gcm xmlns="google:mobile:data">` + fmt.Sprintf(`{"to":%q,"message_id":%q,"message_type":"ack"}`, to, id) + `</gcm></message>`)
}

func (c *client) downstream(json string) {
	c.t.Helper()
	c.write(`<message id="s1"><gcm xmlns="google:mobile:data">` + textEscaper.Replace(json) + `</gcm></message>`)
}

// silent checks that nothing comes for d.
func (c *client) silent(d time.Duration) {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(d))
	if st, err := c.read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("got %+v (%v), want nothing", st, err)
	}
}

// over checks that the connection has ended.
func (c *client) over() {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(patience))
	if st, err := c.read(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("got %+v (%v), want the connection's end", st, err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func await(t *testing.T, s *Server, ok func(Counts) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Await(ctx, ok); err != nil {
		t.Errorf("%v: %+v", err, s.Counts())
	}
}
