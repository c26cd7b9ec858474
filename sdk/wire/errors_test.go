package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// scripted is a plugin that answers as a test tells it.
type scripted struct {
	UnimplementedPluginServer
	describe  error
	configure *ConfigureReply
	session   func(Plugin_SessionServer) error
}

func (s *scripted) Describe(context.Context, *DescribeRequest) (*Manifest, error) {
	return &Manifest{}, Status(s.describe)
}

func (s *scripted) Configure(context.Context, *ConfigureRequest) (*ConfigureReply, error) {
	return s.configure, nil
}

func (s *scripted) Session(stream Plugin_SessionServer) error { return s.session(stream) }

func connect(t *testing.T, s *scripted) *Client { return connectTo(t, NewServer(nil), s) }

func connectTo(t *testing.T, server *grpc.Server, s *scripted) *Client {
	listener := bufconn.Listen(64 << 10)
	RegisterPluginServer(server, s)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///plugin", append(DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); server.Stop() })
	return NewClient(conn)
}

// ear collects what a session says.
type ear struct {
	frames chan *PluginFrame
	closed chan error
}

func newEar() ear { return ear{make(chan *PluginFrame, 100), make(chan error, 1)} }

// open opens the session of client, and listens to it.
func (e ear) open(t *testing.T, client *Client) *HostStream {
	t.Helper()
	s, err := client.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() { e.closed <- s.Run(func(f *PluginFrame) { e.frames <- f }) }()
	return s
}

// The typed errors are the same on the other side: as gRPC codes, at the end of
// a stream, and in replies; with their text.
func TestErrorsRoundTrip(t *testing.T) {
	for _, is := range []error{ErrUnavailable, ErrInvalid, ErrPrecondition} {
		sent := fmt.Errorf("open the door: %w: it is locked", is)
		s := &scripted{describe: sent, session: func(Plugin_SessionServer) error { return Status(sent) }}
		client := connect(t, s)
		_, err := client.Describe(t.Context(), &DescribeRequest{})
		if !errors.Is(err, is) || !strings.Contains(err.Error(), sent.Error()) {
			t.Errorf("describe: %v became %v", sent, err)
		}
		e := newEar()
		e.open(t, client)
		if err := <-e.closed; !errors.Is(err, is) || err.Error() != sent.Error() {
			t.Errorf("session: %v became %v", sent, err)
		}
	}
	for sent, is := range map[error]error{
		fmt.Errorf("a: %w", ErrUnavailable): ErrUnavailable,
		fmt.Errorf("b: %w", ErrInvalid):     ErrInvalid,
		fmt.Errorf("c: %w", ErrConflict):    ErrConflict,
		ErrPrecondition:                     ErrInvalid, // a reply has no such code
		io.ErrUnexpectedEOF:                 ErrUnavailable,
	} {
		if err := NewReply(1, sent).Err(); !errors.Is(err, is) || err.Error() != sent.Error() {
			t.Errorf("reply: %v became %v", sent, err)
		}
	}
	if err := NewReply(1, nil).Err(); err != nil {
		t.Errorf("reply without error: %v", err)
	}
	if err := (&Reply{Code: 99, Error: "?"}).Err(); err == nil {
		t.Error("reply of a newer host passed as none")
	}
}

func TestConfigureRefused(t *testing.T) {
	client := connect(t, &scripted{configure: &ConfigureReply{Error: "no key \"x\""}})
	if err := client.Configure(t.Context(), &ConfigureRequest{}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "no key") {
		t.Errorf("got %v", err)
	}
}

// P10: a plugin that says too much at once loses its session; the host's
// memory is not its to fill.
func TestFrameTooLarge(t *testing.T) {
	e := newEar()
	unlimited := grpc.NewServer() // another language's, say
	client := connectTo(t, unlimited, &scripted{session: func(s Plugin_SessionServer) error {
		if err := s.Send(&PluginFrame{Result: []*Result{{Error: strings.Repeat("x", MaxFrame)}}}); err != nil {
			return err
		}
		<-s.Context().Done()
		return nil
	}})
	e.open(t, client)
	if err := <-e.closed; err == nil || !strings.Contains(err.Error(), "more than 8 MiB, the limit of one frame") {
		t.Errorf("closed with %v", err)
	}
}

// A pong answers its ping and those before, as frames merge; without one the
// ping ends with its ctx.
func TestPing(t *testing.T) {
	e := newEar()
	answer := make(chan uint64)
	client := connect(t, &scripted{session: func(s Plugin_SessionServer) error {
		for last := uint64(0); last < 3; { // pings merge too
			f, err := s.Recv()
			if err != nil {
				return err
			}
			last = max(last, f.Ping)
		}
		for pong := range answer {
			if err := s.Send(&PluginFrame{Pong: pong}); err != nil {
				return err
			}
		}
		return nil
	}})
	s := e.open(t, client)
	pinged := make(chan error)
	for range 3 {
		go func() { pinged <- s.Ping(t.Context()) }()
	}
	answer <- 2
	for range 2 {
		if err := <-pinged; err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping without a pong: %v", err)
	}
	close(answer)
	if err := <-pinged; !errors.Is(err, ErrUnavailable) {
		t.Errorf("ping into the end: %v", err)
	}
	if err := <-e.closed; err != nil {
		t.Errorf("closed with %v", err)
	}
}
