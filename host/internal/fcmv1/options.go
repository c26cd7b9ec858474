package fcmv1

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/flow"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// Outbox is where downstreams come from and where their answers go. Each that is taken
// is answered; see package outbox for what each call means.
type Outbox interface {
	Changed(sender string) <-chan struct{}
	Take(sender string, conn, n int) []entry.Outgoing
	Answered(sender string, seq uint64, a flow.Answer)
}

// ADC is Options.Credentials for the platform's own credentials, which Google calls
// application default credentials.
const ADC = "adc"

// Options describe one session. Name, SenderID, Credentials and Outbox are needed. Any
// other field that is zero gets the default in its comment.
type Options struct {
	Name            string   // as in config.hcl: for logs, metrics and people
	SenderID        string   // the Firebase project number: FCM is asked by it, and so is the outbox
	Credentials     string   // the text of a service account's key file, or ADC; never logged
	CredentialsFile string   // absolute path of that file, which is read again when it changes; "": it is not watched
	Secrets         []string // others that are never shown, even when a peer repeats them
	Endpoint        string   // https://fcm.googleapis.com

	// TLS has the RootCAs that FCM and the token endpoint are verified by. nil: the system's.
	TLS *tls.Config
	// Dial opens connections, to the token endpoint too. nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Transport carries the requests to FCM. nil: one with Connections connections.
	Transport http.RoundTripper

	Connections int            // at most, with 100 requests each over HTTP/2 and one over HTTP/1.1; 4
	Rate        int            // messages a second at most; 8000
	Timeout     time.Duration  // of one request; 30 s. FCM's own are 10 s, so less makes duplicates
	Stop        time.Duration  // limit for answers when Run's context ends; 5 s
	Backoff     backoff.Policy // of the session while no request gets through; 1 s to 1 min

	Outbox  Outbox
	Log     hclog.Logger
	Metrics prometheus.Registerer // nil: none
	Feed    *feed.Hub             // hears whether the session works; nil: nobody does
}

// withDefaults sets what is zero.
func (o Options) withDefaults() Options {
	o.Endpoint = cmp.Or(o.Endpoint, "https://fcm.googleapis.com")
	o.Connections = cmp.Or(o.Connections, 4)
	o.Rate = cmp.Or(o.Rate, 8000)
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Stop = cmp.Or(o.Stop, 5*time.Second)
	o.Backoff = cmp.Or(o.Backoff, backoff.Policy{Min: time.Second, Max: time.Minute})
	if o.TLS == nil {
		o.TLS = &tls.Config{}
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext // with TCP keepalive, as is its default
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	return o
}
