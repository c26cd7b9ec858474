package devicesim

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/frame"
)

// Options describe a device. URL and From are needed, unless the credential says who the
// device is. Any other field that is zero gets the default in its comment.
type Options struct {
	URL      string // of the gateway: http or https, host and port
	From     string // who the device is: a registration token, an FID or a user
	Category string // of its upstreams; the app's package name

	Credential func(context.Context) (Credential, error)                            // asked at the start, when the last one is refused, and before its end; nil: none
	TLS        *tls.Config                                                          // nil: the system's roots
	Dial       func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
	Transport  http.RoundTripper                                                    // in place of TLS and Dial, such as one that many devices share

	Queue      int            // un-acked upstreams at most; 20
	Batch      int            // upstreams in one request at most; 20
	ReceiveMax int            // downstreams un-acked on a socket, as hello says; 20
	TTL        time.Duration  // of an upstream that has none; 24 h. It must end before the host's dedup_window, or a late repeat would be stored twice
	Retry      backoff.Policy // between requests that failed; 1 s to 5 min
	Reconnect  backoff.Policy // between connections; 1 s to 60 s
	Timeout    time.Duration  // of a request or a handshake; 30 s

	// The app. They are called one after the other, and may call Send, but must not wait for the device.
	OnMessageSent func(id string)                        // the gateway has it on disk
	OnSendError   func(id string, code Code, why string) // it will never be sent
	OnMessage     func(Push)                             // a message for the app; none comes twice
	OnAcked       func()                                 // a downstream of a socket is acked
	OnEvent       func(event string, about string)       // for logs: connected, closed, refused, waiting

	Seed   uint64 // of ids and waits; 0: a random one
	Faults Faults
}

// Credential is what a device shows. No field: nothing is shown.
type Credential struct {
	Token    string                             // a bearer token
	AppCheck string                             // an App Check token
	Sign     func(r *http.Request, body []byte) // adds what a signed request needs, in place of Token
	Until    time.Time                          // when a new one is needed; zero: when it is refused
}

// Faults are what a bad device does. Each is a probability from 0 to 1, or a range.
type Faults struct {
	Double  float64              // an upstream, a receipt or a request is sent twice
	Reorder float64              // an upstream is sent before an older one
	NoAck   float64              // a downstream is handled and not acked, so that it comes again
	NoPong  float64              // a ping is not answered
	Cut     Range[int]           // the connection is cut after so many bytes, both ways together
	Slow    Range[time.Duration] // before an ack of a downstream
}

// Range is from Min to Max, all values equally likely. Max below Min: Min alone. Zero: never, or at once.
type Range[T int | time.Duration] struct{ Min, Max T }

func (r Range[T]) pick(rnd *rand.Rand) T {
	if r.Max <= r.Min {
		return r.Min
	}
	return r.Min + T(rnd.Int64N(int64(r.Max-r.Min)+1))
}

// Code says why an upstream was not sent. The values are those of Firebase's SendException.
type Code int

// The codes. Spec: fcm-v1-and-gateway.md C1.
const (
	Unknown           Code = 0
	InvalidParameters Code = 1
	TooBig            Code = 2 // ERROR_SIZE
	TTLExceeded       Code = 3
	TooManyMessages   Code = 4
)

func (c Code) String() string {
	switch c {
	case InvalidParameters:
		return "ERROR_INVALID_PARAMETERS"
	case TooBig:
		return "ERROR_SIZE"
	case TTLExceeded:
		return "ERROR_TTL_EXCEEDED"
	case TooManyMessages:
		return "ERROR_TOO_MANY_MESSAGES"
	}
	return "ERROR_UNKNOWN"
}

// SendError is why Send does not take a message.
type SendError struct {
	Code Code
	Why  string
}

func (e *SendError) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Why) }

// Push is one downstream at the device.
type Push struct {
	ID           string // the message's id, which FCM brings as data.bal_id
	Data         json.RawMessage
	Notification json.RawMessage
	CollapseKey  string
	Attempt      int  // on a socket
	Receipt      bool // the sender wants to know that it came; on a socket the ack says so
}

func (o Options) checked() (Options, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return o, fmt.Errorf("the gateway's URL %q: want http://HOST:PORT or https://HOST:PORT", o.URL)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "":
		return o, fmt.Errorf("the gateway's URL %q: leave out all behind the host and port", o.URL)
	case o.Queue < 0 || o.Batch < 0 || o.ReceiveMax < 0 || o.TTL < 0 || o.Timeout < 0:
		return o, errors.New("queue, batch, receive max, ttl and timeout can't be negative")
	}
	o.URL = u.Scheme + "://" + u.Host
	o.Queue = cmp.Or(o.Queue, frame.MaxUnacked)
	o.Batch = cmp.Or(o.Batch, 20)
	o.ReceiveMax = cmp.Or(o.ReceiveMax, frame.ReceiveMax)
	o.TTL = cmp.Or(o.TTL, 24*time.Hour)
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Seed = cmp.Or(o.Seed, rand.Uint64())
	if o.Retry == (backoff.Policy{}) {
		o.Retry = backoff.Policy{Min: time.Second, Max: 5 * time.Minute}
	}
	if o.Reconnect == (backoff.Policy{}) {
		o.Reconnect = backoff.Policy{Min: time.Second, Max: time.Minute}
	}
	if o.Credential == nil {
		o.Credential = func(context.Context) (Credential, error) { return Credential{}, nil }
	}
	return o, nil
}
