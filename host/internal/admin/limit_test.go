package admin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// TestConnectionLimit: whatever clients keep open, the next request is answered,
// no more than 64 connections are open, and a full server can stop (P10).
func TestConnectionLimit(t *testing.T) {
	tests := []struct {
		name string
		keep func(t *testing.T, c net.Conn) // makes a connection one that is kept
	}{
		{"idle after a request", func(t *testing.T, c net.Conn) { answered(t, c) }},
		{"nothing sent", func(*testing.T, net.Conn) {}},
		{"half a header", func(t *testing.T, c net.Conn) { sends(t, c, "GET /livez HTTP/1.1\r\nHost: ") }},
		{"half a body", func(t *testing.T, c net.Conn) {
			sends(t, c, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := Listen(Options{Listen: "127.0.0.1:0", Functions: (&host{}).functions(), Metrics: prometheus.NewRegistry(), Log: hclog.NewNullLogger()})
			if err != nil {
				t.Fatal(err)
			}
			s.http.ReadHeaderTimeout, s.http.ReadTimeout, s.http.IdleTimeout = time.Hour, time.Hour, time.Hour // who keeps one keeps it
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
			for range maxConns + 5 {
				test.keep(t, dial())
			}
			answered(t, dial())
			l := s.listener.(*limited)
			l.mu.Lock()
			if n := len(l.open); n > maxConns {
				t.Errorf("%d connections are open, more than %d", n, maxConns)
			}
			l.mu.Unlock()
			stop()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Fatal("the server does not stop")
			}
		})
	}
}

// TestLeast: a connection that is in use gives way last.
func TestLeast(t *testing.T) {
	start := time.Now()
	conn := func(state http.ConnState, age time.Duration) *limitedConn {
		return &limitedConn{state: state, since: start.Add(-age)}
	}
	order := []*limitedConn{
		conn(http.StateIdle, time.Minute), conn(http.StateIdle, time.Second),
		conn(http.StateNew, time.Hour), conn(http.StateNew, time.Second),
		conn(http.StateActive, time.Hour), conn(http.StateActive, time.Second),
	}
	for _, role := range []Role{Read, Admin} { // however long a backup goes on, no stranger ends it
		c := conn(http.StateActive, 24*time.Hour)
		c.role = role
		order = append(order, c)
	}
	l := limit(nil, len(order))
	for _, c := range order {
		l.open[c] = struct{}{}
	}
	for i, want := range order {
		got := l.least()
		if got != want {
			t.Fatalf("connection %d to give way is %v since %v, not %v since %v", i, got.state, got.since, want.state, want.since)
		}
		delete(l.open, got)
	}
}

func sends(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answered asks on c and awaits the answer.
func answered(t *testing.T, c net.Conn) {
	t.Helper()
	sends(t, c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || !strings.HasPrefix(fmt.Sprint(answer.StatusCode), "2") {
		t.Fatalf("answer %d, %q, %v", answer.StatusCode, body, err)
	}
}
