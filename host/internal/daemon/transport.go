package daemon

import (
	"context"
	"crypto/x509"
	"reflect"

	"balhost/host/internal/config"
	"balhost/host/internal/status"

	"github.com/prometheus/client_golang/prometheus"
)

// transport carries the messages of one line of a session: by CCS, by FCM's HTTP v1, or
// by its gateway. What else a transport can do, it shows by the interfaces below.
type transport interface {
	// Run works until ctx ends. Then what it has in flight is answered or given back.
	Run(ctx context.Context) error
	Status() status.Session
}

// opener is a transport that can be tried before it runs, while old still serves.
type opener interface {
	// Open finds out whether the server accepts the session, or makes a gateway listen.
	// No message passes.
	Open(ctx context.Context, old transport) error
	// Close ends what Open has opened, if Run does not follow.
	Close()
}

// stander knows whether it serves. Only then a successor is tried beside it.
type stander interface{ Stands() bool }

// hurrier waits after failures. Hurry ends the waits, and reports whether there were any.
type hurrier interface{ Hurry() (waited bool) }

// newSession makes what carries the messages of a line; roots verify its server, nil: the
// system's.
func (h *host) newSession(s config.Session, roots *x509.CertPool, metrics prometheus.Registerer) transport {
	switch {
	case s.Gateway != nil:
		return h.gatewaySession(s, metrics)
	case s.FCMv1 != nil:
		return h.fcmV1Session(s, roots, metrics)
	}
	return h.ccsSession(s, roots, metrics)
}

// same reports whether a line goes on as it is when its block becomes now. A session
// follows the file of its credentials by itself, so their text may differ.
func same(before, now config.Session) bool {
	if a, b := before.FCMv1, now.FCMv1; a != nil && b != nil && a.CredentialsFile != "" && a.CredentialsFile == b.CredentialsFile {
		alike := *a
		alike.Credentials = b.Credentials
		before.FCMv1 = &alike
	}
	return reflect.DeepEqual(before, now)
}
