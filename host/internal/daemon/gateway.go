package daemon

import (
	"context"
	"time"

	"balhost/host/internal/config"
	"balhost/host/internal/gateway"
	"balhost/host/internal/status"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

func (h *host) gatewaySession(s config.Session, metrics prometheus.Registerer) transport {
	o := gatewayOptions(s, h.config().Ledger.DedupWindow, h.o.Log)
	o.Inbox, o.Outbox, o.State, o.Metrics, o.Feed = h.ledger, h.outbox, h.ledger, metrics, h.feed
	return gatewaySession{h.o.Make.Gateway(o), s}
}

// gatewayOptions are those that the config gives.
func gatewayOptions(s config.Session, dedup time.Duration, log hclog.Logger) gateway.Options {
	c := s.Gateway
	o := gateway.Options{
		Name: s.Name, SenderID: s.SenderID, Listen: c.Listen, CertFile: c.CertFile, KeyFile: c.KeyFile, Auth: c.Auth,
		TrustedProxies: c.TrustedProxies, ProxyProtocol: c.ProxyProtocol, CORSOrigins: c.CORSOrigins,
		MaxConnections: c.MaxConnections, Rate: c.Rate, MaxTTL: maxTTL(dedup),
		Log: log.Named("gateway").With("session", s.Name),
	}
	if c.Huawei != nil {
		o.Huawei = &gateway.Huawei{CallbackKey: c.Huawei.CallbackKey, CallbackUser: c.Huawei.CallbackUser}
	}
	return o
}

// maxTTL is how long a device may repeat an upstream, since after the dedup window a
// repeat would be stored twice: an hour less than that, or half of a window under two
// hours. Spec: fcm-v1-and-gateway.md C2.
func maxTTL(dedup time.Duration) time.Duration { return max(dedup-time.Hour, dedup/2) }

// gatewaySession is a gateway, as the fleet knows it.
type gatewaySession struct {
	*gateway.Gateway
	config config.Session
}

// Open makes it listen.
func (s gatewaySession) Open(ctx context.Context, _ transport) error { return s.Gateway.Open(ctx) }

// Status is the gateway's state in the words of the API.
func (s gatewaySession) Status() status.Session { return tellGateway(s.config, s.Gateway.Status()) }

func tellGateway(c config.Session, s gateway.Status) status.Session {
	return status.Session{
		Name: c.Name, SenderID: c.SenderID, Transport: c.Transport(), Address: s.Address,
		Upstreams: s.Stored + s.Duplicates, Downstreams: s.Downstreams, Answered: s.Acked,
		AckP50: s.AckP50, AckP99: s.AckP99, Gateway: &s.Gateway,
		Unready: s.Unready, Warnings: s.Warnings, // with the session's name
	}
}

// beside is the status of a session whose gateway stands beside its transport. Counters
// are those of both.
func beside(carrier, gateway status.Session) status.Session {
	both := carrier
	both.Gateway = gateway.Gateway
	both.Upstreams += gateway.Upstreams
	both.Downstreams += gateway.Downstreams
	both.Answered += gateway.Answered
	if carrier.Upstreams == 0 { // then the transport has no figures of acks
		both.AckP50, both.AckP99 = gateway.AckP50, gateway.AckP99
	}
	both.Unready = append(both.Unready, gateway.Unready...)
	both.Warnings = append(both.Warnings, gateway.Warnings...)
	return both
}
