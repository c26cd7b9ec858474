package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"

	"balhost/host/internal/ccs"
	"balhost/host/internal/config"
	"balhost/host/internal/fcmv1"

	"github.com/hashicorp/go-hclog"
)

// Probe finds out whether a session's server accepts it, without a host: by a login for
// CCS, and for FCM by a message that is checked and not sent. It takes 15 s at most.
func Probe(ctx context.Context, s config.Session) error {
	ctx, cancel := context.WithTimeoutCause(ctx, openTime, fmt.Errorf("no answer within %s", openTime))
	defer cancel()
	roots, err := s.Roots()
	if err != nil {
		return fmt.Errorf("ca_file: %w", err)
	}
	if s.FCMv1 != nil {
		return fcmv1.Probe(ctx, fcmV1Options(s, roots, hclog.NewNullLogger()))
	}
	session := ccs.New(ccsOptions(s, roots, hclog.NewNullLogger()))
	defer session.Close()
	return session.Open(ctx, nil)
}

// Unreached reports whether Probe failed because the server was not reached: then it has
// refused nothing.
func Unreached(err error) bool {
	if _, ok := errors.AsType[*fcmv1.Unreached](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
