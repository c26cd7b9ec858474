package plugincheck

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"balhost/host/internal/pluginhost"
)

const (
	mendTLS    = "§1 step 2: make the gRPC server with TLS, with plugin.key and plugin.crt of $PLUGIN_UNIX_SOCKET_DIR"
	mendClient = "§1 step 2: require a client certificate, and have host.crt as the only CA for it. If the TLS library refuses a CA as a client, compare the client's certificate with host.crt, byte by byte"
)

// prove looks at the TLS of a process that is listening.
func (l *life) prove(ctx context.Context, how start) error {
	if len(l.c.begin.steps) > 1 {
		return nil // the first process was looked at
	}
	if said := l.calls(ctx, insecure.NewCredentials()); said {
		how.note("tls", fails(mendTLS, "it answers without TLS: every user of this machine who can reach the socket is its host"))
	} else if err := l.hostTLS(); err != nil {
		how.note("tls", fails(mendTLS, "the host's handshake fails: %v", err))
	} else {
		how.note("tls", ok("with the certificate that the host expects; without TLS there is no answer"))
	}
	if how := l.c.begin.steps["tls"]; how.verdict == Fails {
		return nil // what follows would be about nothing
	}
	stranger, err := pluginhost.StrangerTLS()
	if err != nil {
		return err
	}
	nobody := stranger.Clone()
	nobody.Certificates = nil
	switch {
	case !l.calls(ctx, credentials.NewTLS(l.proc.TLS().Clone())):
		how.note("client", unknown("it answers the host as little as a stranger; the row health says why"))
	case l.calls(ctx, credentials.NewTLS(nobody)):
		how.note("client", fails(mendClient, "it answers a client without a certificate"))
	case l.calls(ctx, credentials.NewTLS(stranger)):
		how.note("client", fails(mendClient, "it answers a client with another certificate than the host's"))
	default:
		how.note("client", ok("a client without a certificate and one with another certificate are refused"))
	}
	return nil
}

// calls reports whether the plugin answers a client with such credentials.
func (l *life) calls(ctx context.Context, as credentials.TransportCredentials) bool {
	conn, err := grpc.NewClient("unix:"+l.proc.Socket(), grpc.WithTransportCredentials(as), grpc.WithAuthority("localhost"))
	if err != nil {
		return false
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, l.c.o.Patience) // one that is refused ends at once
	defer cancel()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "plugin"})
	switch status.Code(err) {
	case codes.OK, codes.Unimplemented, codes.NotFound:
		return true
	}
	return false
}

// hostTLS makes the host's own handshake.
func (l *life) hostTLS() error {
	conn, err := net.DialTimeout("unix", l.proc.Socket(), l.c.o.Patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(l.c.o.Patience)); err != nil {
		return err
	}
	config := l.proc.TLS().Clone()
	config.NextProtos = []string{"h2"}
	return tls.Client(conn, config).Handshake()
}
