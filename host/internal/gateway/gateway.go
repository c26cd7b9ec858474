package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"balhost/host/internal/frame"
	"balhost/host/internal/said"

	"github.com/hashicorp/go-hclog"
)

// Gateway serves the devices of one session.
type Gateway struct {
	o       Options
	log     hclog.Logger
	said    *said.Lines
	tally   tally
	counts  counts
	budget  budget
	limits  *limits
	sockets *sockets
	server  *http.Server

	mu       sync.Mutex // guards what follows
	listener net.Listener
	serving  bool
}

// New makes a Gateway. It opens nothing.
func New(o Options) *Gateway {
	o.defaults()
	g := &Gateway{o: o, log: o.Log, said: said.New(time.Now)}
	g.limits = newLimits(&g.o)
	forSockets := o
	forSockets.Inbox = counted{o.Inbox, &g.budget}
	g.sockets = &sockets{o: &forSockets, desk: g, tally: &g.tally}
	g.server = g.newServer()
	register(o.Metrics, g)
	return g
}

func (o *Options) defaults() {
	if o.MaxConnections == 0 {
		o.MaxConnections = 10_000
	}
	if o.Rate == 0 {
		o.Rate = 10
	}
	if o.MaxTTL == 0 {
		o.MaxTTL = 47 * time.Hour
	}
	if o.Stop == 0 {
		o.Stop = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
}

// Open listens, so that Run can't fail for want of the address. Nothing is accepted before
// Run. It is optional, and a second call does nothing.
func (g *Gateway) Open(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != nil {
		return nil
	}
	l, err := g.listen(ctx)
	if err != nil {
		return err
	}
	g.listener = l
	return nil
}

// Close ends a gateway that was opened and not run.
func (g *Gateway) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != nil {
		g.listener.Close()
	}
}

// Run serves devices until ctx ends. Then it accepts nobody, tells the sockets to go,
// answers the requests that have begun within Options.Stop, and returns nil. An error says
// that it can't listen.
func (g *Gateway) Run(ctx context.Context) error {
	if err := g.Open(ctx); err != nil {
		return err
	}
	defer g.Close()
	done := make(chan error, 1)
	//house:go it ends with the server, and Run waits for it
	go func() { done <- g.server.Serve(g.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("gateway of session %q on %s: %w", g.o.Name, g.address(), err)
	case <-ctx.Done():
	}
	g.drain(context.WithoutCancel(ctx))
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("gateway of session %q on %s: %w", g.o.Name, g.address(), err)
	}
	return nil
}

// drain ends all that was accepted.
func (g *Gateway) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, g.o.Stop)
	defer cancel()
	var sockets sync.WaitGroup
	sockets.Go(func() { g.sockets.registry.drain(g.o.Stop) })
	if g.server.Shutdown(ctx) != nil {
		g.server.Close()
	}
	g.budget.end()
	sockets.Wait()
}

func (g *Gateway) address() string {
	if g.o.Listener != nil {
		return g.o.Listener.Addr().String()
	}
	return g.o.Listen
}

func (g *Gateway) listen(ctx context.Context) (net.Listener, error) {
	if g.o.Listener != nil {
		return g.o.Listener, nil
	}
	var c net.ListenConfig
	return c.Listen(ctx, "tcp", g.o.Listen)
}

func (g *Gateway) newServer() *http.Server {
	return &http.Server{Handler: g.routes()}
}

// routes are all that a gateway serves. Anything else is 404, and the admin API never is
// one of them.
func (g *Gateway) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+frame.SocketPath, g.serveSocket)
	mux.HandleFunc("GET "+frame.HealthPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, &refusal{status: http.StatusNotFound, code: frame.CodeNotFound, description: "nothing is here"})
	})
	return mux
}

// serveSocket makes a WebSocket of a request, or answers why not.
func (g *Gateway) serveSocket(w http.ResponseWriter, r *http.Request) {
	shows := shown{bearer: bearer(r), appCheck: r.Header.Get("X-Firebase-AppCheck"), peer: r.RemoteAddr}
	if no := g.sockets.accept(context.WithoutCancel(r.Context()), w, r, shows); no != nil {
		refuse(w, no)
	}
}
