package wire

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// A plugin's server never asks by gRPC's own pings whether its host lives: after
// a clock was set back it would take every answer for an old one, and hang up.
func TestServerNeverPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		server := NewServer(nil)
		go server.Serve(&oneConn{conn: theirs, closed: make(chan struct{})})
		defer server.Stop()
		frames := http2.NewFramer(ours, ours)
		pings, ended := 0, make(chan struct{})
		go func() {
			defer close(ended)
			for {
				f, err := frames.ReadFrame()
				if err != nil {
					return
				}
				if p, ok := f.(*http2.PingFrame); ok && !p.IsAck() {
					pings++
				}
			}
		}()
		if _, err := ours.Write([]byte(http2.ClientPreface)); err != nil {
			t.Fatal(err)
		}
		if err := frames.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Hour)
		ours.Close()
		<-ended
		if pings > 0 {
			t.Errorf("%d pings in five hours", pings)
		}
	})
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { close(l.closed); return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
