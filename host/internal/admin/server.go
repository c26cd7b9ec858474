package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
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
	socket   *socket // the listener's unix socket; nil if it has another kind
	http     *http.Server
	log      hclog.Logger
}

// Listen opens the address, so that an address in use is an error at the start.
// Requests wait until Run.
func Listen(o Options) (*Server, error) {
	opened, err := listen(o.Listen)
	if err != nil {
		return nil, err
	}
	l := limit(&short{Listener: opened, log: o.Log}, maxConns)
	s := &Server{api: api{Functions: o.Functions, log: o.Log}, listener: l, log: o.Log}
	s.socket, _ = opened.(*socket)
	g := guard{token: o.Token, unix: l.Addr().Network() == "unix", next: s.routes(o)}
	s.http = &http.Server{
		Handler:           g,
		ConnState:         l.changed,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          o.Log.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true}),
	}
	return s, nil
}

// Addr is the address in the form that [NewClient] takes.
func (s *Server) Addr() string {
	if a := s.listener.Addr(); a.Network() == "unix" {
		return unixPrefix + a.String()
	}
	return s.listener.Addr().String()
}

// Run answers requests until ctx ends. Then open requests get a short time to
// finish. It owns the listener.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
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

// Close frees the address if Run was not called.
func (s *Server) Close() error { return s.listener.Close() }

// scraped bounds the time of an answer that a library's handler writes.
func scraped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeWithin(w, requestLimit)
		next.ServeHTTP(w, r)
	})
}

// routes is the API. Later versions add paths and never change one.
func (s *Server) routes(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", s.api.livez)
	mux.HandleFunc("GET /readyz", s.api.readyz)
	mux.HandleFunc("GET /v1/status", s.api.status)
	mux.HandleFunc("GET /v1/plugins", s.api.plugins)
	mux.HandleFunc("POST /v1/messages", s.api.send)
	mux.HandleFunc("POST /v1/messages/cancel", s.api.cancel)
	mux.HandleFunc("GET /v1/dead", s.api.dead)
	mux.HandleFunc("GET /v1/dead/{id}", s.api.deadLetter)
	mux.HandleFunc("POST /v1/dead/replay", s.api.replay)
	mux.HandleFunc("POST /v1/dead/delete", s.api.deleteDead)
	mux.HandleFunc("GET /v1/state", s.api.stateOwners)
	mux.HandleFunc("GET /v1/state/{plugin}", s.api.state)
	mux.HandleFunc("POST /v1/state/{plugin}/delete", s.api.deleteState)
	mux.HandleFunc("GET /v1/bindings", s.api.bindings)
	mux.HandleFunc("POST /v1/bindings/delete", s.api.unbind)
	mux.HandleFunc("GET /v1/retries", s.api.retries)
	mux.HandleFunc("POST /v1/retries/now", s.api.retryNow)
	mux.HandleFunc("POST /v1/plugins/{name}/pause", s.api.plugin(o.Functions.Pause))
	mux.HandleFunc("POST /v1/plugins/{name}/resume", s.api.plugin(o.Functions.Resume))
	mux.HandleFunc("POST /v1/plugins/{name}/rollback", s.api.plugin(o.Functions.Rollback))
	mux.HandleFunc("POST /v1/plugins/{name}/log-level", s.api.setLogLevel)
	mux.HandleFunc("POST /v1/reload", s.api.reload)
	mux.HandleFunc("GET /v1/backup", s.api.backup)
	mux.HandleFunc("POST /v1/verify", s.api.verify)
	mux.Handle("GET /metrics", scraped(promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{})))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if allowed := methods(mux, r); allowed != "" {
			w.Header().Set("Allow", allowed)
			fail(w, http.StatusMethodNotAllowed, fmt.Errorf("%s is not allowed on %s: use %s", r.Method, r.URL.Path, allowed))
			return
		}
		s.api.unknown(w, r)
	})
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
