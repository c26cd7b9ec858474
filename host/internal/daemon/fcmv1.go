package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"balhost/host/internal/config"
	"balhost/host/internal/fcmv1"
	"balhost/host/internal/status"
	"balhost/sdk/message"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

func (h *host) fcmV1Session(s config.Session, roots *x509.CertPool, metrics prometheus.Registerer) transport {
	o := fcmV1Options(s, roots, h.o.Log)
	o.Secrets = h.config().Admin.Secrets()
	o.Outbox, o.Metrics, o.Feed = h.outbox, metrics, h.feed
	return fcmV1Session{h.o.Make.FCMv1(o)}
}

// fcmV1Options are those that the config gives.
func fcmV1Options(s config.Session, roots *x509.CertPool, log hclog.Logger) fcmv1.Options {
	c := s.FCMv1
	return fcmv1.Options{
		Name: s.Name, SenderID: s.SenderID, Credentials: c.Credentials.Reveal(), CredentialsFile: c.CredentialsFile, Endpoint: c.Endpoint,
		TLS: &tls.Config{RootCAs: roots}, Connections: c.Connections, Rate: c.Rate,
		Log: log.Named("fcm_v1").With("session", s.Name),
	}
}

// fcmV1Session is a session by FCM's HTTP v1, as the fleet knows it.
type fcmV1Session struct{ *fcmv1.Session }

// Open asks FCM whether it serves the account. It has no connection to share with old.
func (s fcmV1Session) Open(ctx context.Context, _ transport) error { return s.Session.Open(ctx) }

// Status is the session's state in the words of the API.
func (s fcmV1Session) Status() status.Session { return tellFCMv1(s.Session.Status()) }

func tellFCMv1(s fcmv1.Status) status.Session {
	session := status.Session{
		Name: s.Name, SenderID: s.SenderID, Transport: message.FCMv1, Address: s.Address,
		Downstreams: s.Downstreams, Answered: s.Acked + s.Refused,
		RestingUntil: s.RestingUntil, LastError: s.LastError, LastErrorAt: s.LastErrorAt,
		FCMv1: &status.FCMv1{
			Account: s.Account, State: string(s.State), Refused: s.AccountRefused, Token: !s.TokenUntil.IsZero(), TokenUntil: s.TokenUntil, InFlight: s.InFlight, Window: s.Window,
			Connections: s.Connections, Dialled: s.Dialled, Rate: s.Rate, MostRate: s.MostRate, Ambiguous: s.Ambiguous, Odd: s.Odd,
		},
	}
	for _, why := range s.Unready {
		session.Unready = append(session.Unready, fmt.Sprintf("session %q: %s", s.Name, why))
	}
	for _, what := range s.Warnings {
		session.Warnings = append(session.Warnings, fmt.Sprintf("session %q: %s", s.Name, what))
	}
	return session
}
