package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/certificate"
	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/said"
	"balhost/sdk/message"

	"github.com/hashicorp/go-hclog"
)

// Gateway serves the devices of one session.
type Gateway struct {
	o        Options
	log      hclog.Logger
	said     *said.Lines
	tally    tally
	counts   counts
	budget   budget
	unproven unproven // bodies that are signed, before the signature is checked
	limits   *limits
	turns    turns
	seats    seats
	keys     *keyring
	bound    *bindings
	huawei   *huawei    // nil: it is not served
	over     chan error // has why the ledger is over
	sockets  *sockets
	server   *http.Server

	mu       sync.Mutex // guards what follows
	listener net.Listener
	cert     *certificate.Certificate // nil: plain HTTP
	mute     error                    // why Run does not listen yet
}

// New makes a Gateway. It opens nothing.
func New(o Options) *Gateway {
	o.defaults()
	g := &Gateway{o: o, log: o.Log, said: said.New(time.Now)}
	g.limits = newLimits(&g.o)
	counting := o
	counting.Inbox = counted{o.Inbox, g}
	g.sockets = &sockets{o: &counting, desk: g, tally: &g.tally}
	g.over = make(chan error, 1)
	g.unproven = unproven{all: maxUnproven, each: eachUnproven}
	g.seats.most = o.MaxConnections
	g.keys, g.bound = newKeyring(o.Auth), newBindings(o.State, o.SenderID)
	if o.Huawei != nil {
		g.huawei = newHuawei(&counting, g.peerOf)
	}
	g.server = g.newServer()
	g.tally.seconds = register(o.Metrics, g)
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
	if err := g.openCertificate(); err != nil {
		return err
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
		g.listener.Close() // nothing is to be done about its error
	}
}

// Run serves devices until ctx ends. Then it accepts nobody, tells the sockets to go,
// answers the requests that have begun within Options.Stop, and returns nil. While it can't
// listen it tries again, because somebody else may have taken the address since another
// gateway has left it. An error says that the ledger is over, or the listener.
func (g *Gateway) Run(ctx context.Context) error {
	if !g.listens(ctx) {
		return nil
	}
	defer g.Close()
	var failed error
	done := make(chan struct{})
	//house:go it ends with the server, and Run waits for it
	go func() {
		defer close(done)
		failed = g.serve()
	}()
	var keys sync.WaitGroup
	defer keys.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys.Go(func() { g.keys.run(ctx) }) // it returns when ctx ends
	var why error
	select {
	case <-done:
		why = fmt.Errorf("gateway of session %q on %s: %w", g.o.Name, g.address(), failed)
	case why = <-g.over:
		why = fmt.Errorf("gateway of session %q: store: %w", g.o.Name, why)
	case <-ctx.Done():
	}
	g.drain(context.WithoutCancel(ctx))
	<-done
	return why
}

// between two tries to listen
var between = backoff.Policy{Min: time.Second, Max: 30 * time.Second}

// listens opens the gateway, however often it has to try. It reports false if ctx ends first.
func (g *Gateway) listens(ctx context.Context) bool {
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for n := 1; ; n++ {
		err := g.Open(ctx)
		g.mu.Lock()
		g.mute = err
		g.mu.Unlock()
		if err == nil {
			g.tell(feed.Step{What: feed.Connected, Address: g.address()})
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		g.tell(feed.Step{What: feed.Lost, Address: g.o.Listen, Error: err.Error()})
		g.said.Log(g.log.Error, "gateway does not listen, and tries again", "err", err)
		select {
		case <-time.After(between.DelayAtLeast(n, rnd)):
		case <-ctx.Done():
			return false
		}
	}
}

// tell tells those who watch what became of the gateway.
func (g *Gateway) tell(step feed.Step) {
	step.Kind, step.Session, step.By = feed.Session, g.o.SenderID, string(message.Gateway)
	g.o.Feed.Tell(step)
}

// muted is why the gateway does not listen although it runs; nil if it does.
func (g *Gateway) muted() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mute
}

// decided looks at what Inbox.Accept says: after an error that is neither for a time nor
// for one message, nothing is stored any more.
func (g *Gateway) decided(err error) {
	if err == nil || never(err) || errors.Is(err, entry.ErrFull) {
		return
	}
	select {
	case g.over <- err:
	default: // Run knows it already
	}
}

func (g *Gateway) serve() error {
	if g.cert != nil {
		return g.server.ServeTLS(g.listener, "", "")
	}
	return g.server.Serve(g.listener)
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
