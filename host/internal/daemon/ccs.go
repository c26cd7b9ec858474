package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/ccs"
	"balhost/host/internal/config"
	"balhost/host/internal/status"
	"balhost/sdk/message"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// pace changes how many connections to CCS may begin in a minute.
func (h *host) pace(perMinute int) { ccs.Pace(h.connects, perMinute) }

func (h *host) ccsSession(s config.Session, roots *x509.CertPool, metrics prometheus.Registerer) transport {
	o := ccsOptions(s, roots, h.o.Log)
	o.Secrets = h.config().Admin.Secrets()
	o.Inbox, o.Outbox, o.Connects, o.Metrics, o.Feed = inbox{h.ledger, s.SenderID}, h.outbox, h.connects, metrics, h.feed
	return ccsSession{h.o.Make.CCS(o)}
}

// ccsOptions are those that the config gives.
func ccsOptions(s config.Session, roots *x509.CertPool, log hclog.Logger) ccs.Options {
	c := s.CCS
	o := ccs.Options{
		Name: s.Name, Address: c.Address, SenderID: s.SenderID, Key: c.ServerKey.Reveal(),
		Connections: c.Connections, MaxConnections: c.MaxConnections, Window: c.Window,
		PingInterval: c.PingInterval, PingTimeout: c.PingTimeout, AnswerTimeout: c.AnswerTimeout,
		MaxStanza: int(c.MaxStanza), AckWarn: c.AckWarn,
		Backoff: backoff.Policy{Min: c.ConnectBackoff.Min, Max: c.ConnectBackoff.Max},
		TLS:     &tls.Config{ServerName: c.TLS.ServerName, RootCAs: roots},
		Log:     log.Named("ccs").With("session", s.Name),
	}
	if c.TLS.CAFile != "" {
		o.Roots = c.TLS.Roots
	}
	return o
}

// ccsSession is a session by CCS, as the fleet knows it.
type ccsSession struct{ *ccs.Session }

// Open logs in beside old.
func (s ccsSession) Open(ctx context.Context, old transport) error {
	before, _ := old.(ccsSession) // of another transport: nil, which has no connection to share
	return s.Session.Open(ctx, before.Session)
}

// Status is the session's state in the words of the API.
func (s ccsSession) Status() status.Session { return tellCCS(s.Session.Status(), time.Now()) }

func tellCCS(s ccs.Status, now time.Time) status.Session {
	session := status.Session{
		Name: s.Name, SenderID: s.SenderID, Transport: message.CCS, Address: s.Address,
		Upstreams: s.UpstreamsAcked, Downstreams: s.Downstreams, Answered: s.Acked + s.Nacked, Unusable: s.Unusable, TooLarge: s.TooLarge,
		AckP50: s.AckLatency.P50.Seconds() * 1000, AckP99: s.AckLatency.P99.Seconds() * 1000, AckMax: s.AckLatency.Max.Seconds() * 1000,
		Recent: s.Recent, Unready: unreadyCCS(s, now),
	}
	if s.LastError != nil {
		session.LastError, session.LastErrorAt = s.LastError.Error(), s.LastErrorAt
	}
	if c := s.Contest; c.Lasts(now) {
		session.Pushed, session.PushedAt, session.PushedUntil = c.Times, c.At, c.Until
	}
	for _, c := range s.Connections {
		session.Connections = append(session.Connections, c.Connection)
	}
	return session
}

// unreadyCCS lists why a session can't do its work.
func unreadyCCS(s ccs.Status, now time.Time) (reasons []string) {
	if !slices.ContainsFunc(s.Connections, func(c ccs.Connection) bool { return c.State == ccs.Ready }) {
		reason := fmt.Sprintf("session %q has no connection to CCS", s.Name)
		if s.LastError != nil {
			reason += ": " + s.LastError.Error()
		}
		reasons = append(reasons, reason)
	}
	if s.Contest.Lasts(now) {
		reasons = append(reasons, fmt.Sprintf("session %q: %s", s.Name, s.Contest))
	}
	for _, c := range s.Connections {
		if c.Unackable > 0 {
			reasons = append(reasons, fmt.Sprintf("session %q, connection %d: %d upstreams can't be acked and hold slots of CCS's window until the connection ends", s.Name, c.Number, c.Unackable))
		}
	}
	return reasons
}
