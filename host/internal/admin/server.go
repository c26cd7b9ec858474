package admin

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"balhost/host/internal/admin/audit"
	"balhost/host/internal/certificate"
)

// shutdownTime is how long requests may take to end when the server stops.
const shutdownTime = 3 * time.Second

// requestLimit is the time for a body to come in, and for an answer to go out. It does
// not limit the handler: a profile takes as long as the caller asked.
const requestLimit = 30 * time.Second

// Server answers the admin API.
type Server struct {
	api      api
	listener net.Listener
	socket   *socket                  // the listener's unix socket; nil if it has another kind
	cert     *certificate.Certificate // nil: plain HTTP
	http     *http.Server
	log      hclog.Logger
}

// Listen opens the address, so that an address in use is an error at the start.
// Requests wait until Run.
func Listen(o Options) (*Server, error) {
	cert, err := openCertificate(o)
	if err != nil {
		return nil, err
	}
	opened, err := listen(o.Listen)
	if err != nil {
		return nil, err
	}
	l := limit(&short{Listener: opened, log: o.Log}, maxConns)
	d := &door{unix: l.Addr().Network() == "unix", secure: cert != nil, instance: rand.Text()[:8], tokens: o.Tokens}
	if d.tokens == nil {
		d.tokens = noTokens
	}
	s := &Server{api: api{Functions: o.Functions, site: o.Pages, door: d, audit: auditOf(o), metrics: o.Metrics, log: o.Log, streams: newStreams(), crowd: &crowd{}, health: &health{}}, listener: l, cert: cert, log: o.Log}
	s.socket, _ = opened.(*socket)
	s.http = &http.Server{
		Handler:           guard{d, s.handler()},
		ConnState:         l.changed,
		ConnContext:       withPeer,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          serverLog(o.Log),
	}
	if cert != nil {
		s.http.TLSConfig = cert.TLS(s.refused)
		s.http.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){} // HTTP/1.1 alone: a connection has one request at a time, and maxConns bounds both
	}
	s.http.RegisterOnShutdown(s.api.streams.end)
	return s, nil
}

// Addr is the address in the form that [NewClient] takes.
func (s *Server) Addr() string {
	if a := s.listener.Addr(); a.Network() == "unix" {
		return unixPrefix + a.String()
	}
	if s.cert != nil {
		return httpsPrefix + s.listener.Addr().String()
	}
	return s.listener.Addr().String()
}

// Run answers requests until ctx ends. Then open requests get a short time to
// finish. It owns the listener.
func (s *Server) Run(ctx context.Context) error {
	stop := s.keepAudit()
	defer stop() // behind the last request
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := s.serve(); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve admin API on %s: %w", s.Addr(), err)
		}
		return nil
	})
	if s.socket != nil {
		g.Go(func() error { s.socket.keep(ctx, s.log); return nil })
	}
	g.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if s.http.Shutdown(stop) != nil {
			return s.http.Close() // a profile or a slow reader: cut it off
		}
		return nil
	})
	return g.Wait()
}

// keepAudit runs the audit log until stop is called.
func (s *Server) keepAudit() (stop func()) {
	if s.api.audit == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var log errgroup.Group
	log.Go(func() error { return s.api.audit.Run(ctx) })
	return func() { cancel(); _ = log.Wait() }
}

func auditOf(o Options) *audit.Log {
	if o.AuditDir == "" {
		return nil
	}
	return audit.Open(o.AuditDir, o.Log)
}

// Close frees the address if Run was not called.
func (s *Server) Close() error { return s.listener.Close() }

// handler answers the requests that the guard lets through.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range slices.Concat(s.api.routes(), s.api.pages()) {
		mux.Handle(r.pattern, s.api.serve(r))
	}
	mux.Handle("/", s.api.serve(on("/", Read, "", func(w http.ResponseWriter, r *http.Request) {
		if allowed := methods(mux, r); allowed != "" {
			w.Header().Set("Allow", allowed)
			fail(w, http.StatusMethodNotAllowed, fmt.Errorf("%s is not allowed on %s: use %s", r.Method, r.URL.Path, allowed))
			return
		}
		s.api.unknown(w, r)
	}).anyQuery()))
	return mux
}

// methods lists the methods that the path allows; "" when there is no such path. The
// mux can't say it, because "/" matches every other path.
func methods(mux *http.ServeMux, r *http.Request) string {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if _, pattern := mux.Handler(&http.Request{Method: method, URL: r.URL, Host: r.Host}); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	return strings.Join(allowed, ", ")
}
