package fcmsim

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Options set up a [Server]. The zero value is a server on a free port of
// 127.0.0.1 that behaves as fcm-v1-and-gateway.md describes FCM.
type Options struct {
	Listen    string       // address of the TLS listener; "" means 127.0.0.1:0
	Listener  net.Listener // in place of Listen: connections without TLS, for tests; Close closes it
	CAFile    string       // file for the CA's certificate, with its key beside it, so that a restart has the same CA; "" keeps the CA in memory
	KeyFile   string       // file for the service account's key, as Google's console gives it; a restart keeps the key; "" writes none
	Project   string       // the project's id; "" means [DefaultProject]
	SenderID  string       // the project's number; "" means [DefaultSenderID]
	HTTP1Only bool         // no HTTP/2

	AnswerDelay Range         // time from a request to its answer; a range also changes the order of answers
	MaxStreams  int           // MAX_CONCURRENT_STREAMS of a connection; 0 means 100
	IdleTimeout time.Duration // a connection without requests for so long is closed; 0 means 3 min, negative means never
	PingEvery   time.Duration // a client that pings more often gets ENHANCE_YOUR_CALM at the third time; 0 means never
	ExpiresIn   time.Duration // how long a bearer token is good; 0 means 3599 s

	Quota       int  // messages a minute; 0 means 600,000, negative means no limit
	TargetQuota int  // messages a minute to one token or FID (FCM: 240); 0 means no limit
	TopicQuota  int  // messages a minute to one topic or condition; 0 means no limit
	Throttle    bool // delay collapsible messages over 20 to one device, as FCM does; one more is free every 3 min
	Grease      bool // add details, fields, headers and settings that no client knows

	Gateway *Gateway // where virtual devices send receipts and upstreams; nil: they send nothing

	Seed       uint64       // of all random values; 0 means a random one
	Remember   int          // messages remembered for each device, to know duplicates; 0 means 1,000
	Transcript int          // requests remembered for [Server.Transcript]; 0 means 1,000, negative means none
	Log        hclog.Logger // of connections; nil means no log

	OnReceive func(target string, r Received) // a message has come to a device; nil means nobody listens. It must not block, nor call the server
}

// The project of a Server whose Options name none. The number is that of config.hcl.
const (
	DefaultProject  = "balhost-simulator"
	DefaultSenderID = "482915730064"
)

// Gateway is one of balhost's, to which every device shows the same token.
type Gateway struct {
	URL      string
	Token    string
	Category string      // of receipts, so that the app's plugin hears of what no plugin has sent
	TLS      *tls.Config // nil: the system's roots
}

// Range is a span of time. All values in it are equally likely. If Max is below Min,
// only Min is used.
type Range struct{ Min, Max time.Duration }

// Check is the error that [NewServer] would give for the options.
func (o Options) Check() error {
	_, err := o.checked()
	return err
}

var (
	projectID     = regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	projectNumber = regexp.MustCompile(`^[0-9]{1,19}$`)
)

func (o Options) checked() (Options, error) {
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	o.Project = cmp.Or(o.Project, DefaultProject)
	o.SenderID = cmp.Or(o.SenderID, DefaultSenderID)
	o.MaxStreams = cmp.Or(o.MaxStreams, 100)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 3*time.Minute)
	o.ExpiresIn = cmp.Or(o.ExpiresIn, 3599*time.Second)
	o.Quota = cmp.Or(o.Quota, 600_000)
	o.Remember = cmp.Or(o.Remember, 1000)
	o.Transcript = cmp.Or(o.Transcript, 1000)
	o.Seed = cmp.Or(o.Seed, rand.Uint64())
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	switch {
	case !projectID.MatchString(o.Project):
		return o, fmt.Errorf("project %q: want an id of 6 to 30 lower-case letters, digits and dashes", o.Project)
	case !projectNumber.MatchString(o.SenderID):
		return o, fmt.Errorf("sender id %q: want the project's number", o.SenderID)
	case o.MaxStreams < 1, o.ExpiresIn < 0:
		return o, errors.New("max streams and expires in must be at least 1")
	case o.AnswerDelay.Min < 0, o.PingEvery < 0, o.TargetQuota < 0, o.TopicQuota < 0, o.Remember < 0:
		return o, errors.New("answer delay, ping every, quotas of targets and topics, and remember can't be negative")
	}
	return o, nil
}
