package ccs

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/flow"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Inbox is where upstreams and receipts are stored.
type Inbox interface {
	// Accept stores in. After the commit it calls done, from any goroutine and in
	// the order in which Accept was called. nil: it is on disk. entry.ErrFull: there
	// is no room now, see Room. entry.ErrTooLarge: there never will be. Any other
	// error: the ledger is over.
	Accept(in entry.Inbound, done func(error))
	// Room is closed as soon as there is room; at once if there is.
	Room() <-chan struct{}
}

// Outbox is where downstreams come from and where their answers go. Each that is
// taken is answered or returned; see package outbox for what each call means.
type Outbox interface {
	Changed(sender string) <-chan struct{}
	Take(sender string, conn, n int) []entry.Outgoing
	Answered(sender string, seq uint64, a flow.Answer)
	Return(sender string, seqs []uint64, end flow.End) (blamed bool)
}

// Options describe one session. Name, Address, SenderID, Key, Inbox and Outbox are
// needed. Any other field that is zero gets the default in its comment.
type Options struct {
	Name     string   // as in config.hcl: for logs, metrics and people
	Address  string   // host:port
	SenderID string   // what the session is: upstreams carry it, the outbox is asked by it
	Key      string   // the server key; never logged, nor when CCS repeats it
	Secrets  []string // others that are never shown, even when CCS repeats them
	Domain   string   // of the stream and of the login; gcm.googleapis.com
	AuthCID  string   // who logs in; SenderID@Domain. A stock XMPP server wants the bare user

	// TLS has the RootCAs and the ServerName (the address's host) that the server is
	// verified by, from the first byte on. nil: the system's roots, or no TLS at all
	// if Dial is set.
	TLS *tls.Config
	// Roots reads RootCAs again after a certificate was not trusted: they may have been
	// replaced. nil: they can't be.
	Roots func() (*x509.CertPool, error)
	Dial  func(ctx context.Context, address string) (net.Conn, error) // net.Dialer
	// Lookup finds the addresses of the host's name; Dial gets each until one serves.
	// nil: the system's resolver, or none if Dial is set, which gets Address then.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	Connections    int           // each with a window of its own; 1
	MaxConnections int           // at a time, those that drain included; 1000, which is CCS's limit; at least Connections
	Window         int           // most downstreams unanswered on a connection; 100, which is CCS's limit
	PingInterval   time.Duration // after so long without a stanza CCS is pinged; 20 s
	PingTimeout    time.Duration // after so long without one since the ping the connection is replaced; 10 s
	AnswerTimeout  time.Duration // a connection on which a downstream is unanswered so long is replaced; 60 s
	MaxStanza      int           // bytes; 1 MiB
	AckWarn        time.Duration // warn when an ack took longer; 100 ms

	Backoff backoff.Policy // between connects that fail or don't last; 1 s to 5 min
	Denied  time.Duration  // least wait after a login or certificate that was denied; 30 s
	Stable  time.Duration  // a connection that was ready so long resets the backoff; 1 min, at most AnswerTimeout
	Login   time.Duration  // limit for dial, TLS and login together; 30 s
	Drain   time.Duration  // limit for CCS to close a connection that it drains; 10 min
	Grace   time.Duration  // limit for answers on a connection that we replace; 10 s
	Stop    time.Duration  // limit for answers when Run's context ends; 5 s

	// Connects limits the rate of new connections. All sessions of a host share it.
	// nil: no limit.
	Connects *rate.Limiter

	Inbox   Inbox
	Outbox  Outbox
	Log     hclog.Logger
	Metrics prometheus.Registerer // nil: none
	Feed    *feed.Hub             // hears of the connections; nil: nobody does
}

// CCS's own limits (ccs-protocol.md §8, §1.4).
const (
	ccsWindow      = 100
	ccsConnections = 1000
)

// NewConnects is a limiter for Options.Connects that lets no more than
// perMinute connections begin in any minute, a tenth of them at once.
func NewConnects(perMinute int) *rate.Limiter {
	return rate.NewLimiter(pace(perMinute))
}

// Pace changes what l allows.
func Pace(l *rate.Limiter, perMinute int) {
	limit, burst := pace(perMinute)
	l.SetLimit(limit)
	l.SetBurst(burst)
}

func pace(perMinute int) (limit rate.Limit, burst int) {
	burst = max(1, perMinute/10)
	return rate.Limit(max(1, perMinute-burst)) / 60, burst
}

// withDefaults sets what is zero.
func (o Options) withDefaults() Options {
	o.Domain = cmp.Or(o.Domain, "gcm.googleapis.com")
	o.AuthCID = cmp.Or(o.AuthCID, o.SenderID+"@"+o.Domain)
	o.Connections = cmp.Or(o.Connections, 1)
	o.MaxConnections = max(o.Connections, cmp.Or(o.MaxConnections, ccsConnections))
	o.Window = min(cmp.Or(o.Window, ccsWindow), ccsWindow)
	o.PingInterval = cmp.Or(o.PingInterval, 20*time.Second)
	o.PingTimeout = cmp.Or(o.PingTimeout, 10*time.Second)
	o.AnswerTimeout = cmp.Or(o.AnswerTimeout, time.Minute)
	o.MaxStanza = cmp.Or(o.MaxStanza, 1<<20)
	o.AckWarn = cmp.Or(o.AckWarn, 100*time.Millisecond)
	o.Backoff = cmp.Or(o.Backoff, backoff.Policy{Min: time.Second, Max: 5 * time.Minute})
	o.Denied = cmp.Or(o.Denied, 30*time.Second)
	o.Stable = min(cmp.Or(o.Stable, time.Minute), o.AnswerTimeout) // so that one that is replaced for an answer that is missing counts as stable
	o.Login = cmp.Or(o.Login, 30*time.Second)
	o.Drain = cmp.Or(o.Drain, 10*time.Minute)
	o.Grace = cmp.Or(o.Grace, 10*time.Second)
	o.Stop = cmp.Or(o.Stop, 5*time.Second)
	if o.TLS == nil && o.Dial == nil {
		o.TLS = &tls.Config{}
	}
	if o.Dial == nil && o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer // with TCP keepalive, as is its default
			return d.DialContext(ctx, "tcp", address)
		}
	}
	if o.Connects == nil {
		o.Connects = rate.NewLimiter(rate.Inf, 0)
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	return o
}

// tick is how often a writer looks at the time.
func (o *Options) tick() time.Duration {
	least := min(o.PingInterval, o.PingTimeout, o.AnswerTimeout, o.Drain, o.Grace, o.Stop)
	return max(time.Millisecond, min(time.Second, least/4))
}
