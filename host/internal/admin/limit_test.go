package admin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// TestConnectionLimit: no more than 64 connections are taken; the next one is
// answered as soon as one of them ends, and a full server can stop.
func TestConnectionLimit(t *testing.T) {
	s, err := Listen(Options{Listen: "127.0.0.1:0", Functions: (&host{}).functions(), Metrics: prometheus.NewRegistry(), Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	states := make(chan http.ConnState, 10*maxConns)
	s.http.ConnState = func(_ net.Conn, state http.ConnState) { states <- state }
	s.http.ReadHeaderTimeout = time.Hour // idle ones stay
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	dial := func() net.Conn {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	await := func(want ...http.ConnState) { // in any order: a slot is free before its connection is said to be closed
		t.Helper()
		for len(want) > 0 {
			select {
			case got := <-states:
				if i := slices.Index(want, got); i >= 0 {
					want = slices.Delete(want, i, i+1)
				}
			case <-time.After(time.Minute):
				t.Fatalf("no connection became %s within a minute", want)
			}
		}
	}
	var held []net.Conn
	for range maxConns {
		held = append(held, dial())
		await(http.StateNew)
	}
	next := dial()
	if _, err := io.WriteString(next, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	next.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) //nolint:errcheck // the read tells
	var slow net.Error
	if _, err := next.Read(make([]byte, 1)); !errors.As(err, &slow) || !slow.Timeout() {
		t.Fatalf("connection %d is answered while %d are open: %v", maxConns+1, maxConns, err)
	}
	held[0].Close()
	await(http.StateClosed, http.StateNew)
	next.SetReadDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // the read tells
	if _, err := next.Read(make([]byte, 1)); err != nil {
		t.Fatalf("no answer though a connection has ended: %v", err)
	}
	for _, c := range held[1:] {
		c.Close()
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the server does not stop")
	}
}

// TestLimitClose: a full listener that waits for room ends when it is closed.
func TestLimitClose(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limit(inner, 0)
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Accept waits on after Close")
	}
}
