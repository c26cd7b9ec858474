package gateway

import (
	"encoding/json"
	"net"
	"net/netip"
	"time"

	"balhost/host/internal/credential"
	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/flow"
	"balhost/host/internal/secret"
	"balhost/sdk/message"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// Inbox is where upstreams and receipts are stored.
type Inbox interface {
	// Accept stores in. After the commit it calls done, from any goroutine and in the
	// order in which Accept was called. nil: it is on disk. entry.ErrFull: there is no
	// room now. entry.ErrTooLarge, entry.ErrNotSent: it can never be stored. Any other
	// error: the ledger is over.
	Accept(in entry.Inbound, done func(error))
}

// Outbox is where downstreams come from and where their answers go. A route is one
// device that is connected: downstreams to it go nowhere else until the route is
// detached. Each that is taken is answered or returned.
type Outbox interface { //house:wide a route lives, is asked, and is answered for: every connection needs all of it
	// Attach makes the downstreams to these targets, all of one device, go by a new route.
	// changed is called whenever TakeAt may find more. It must not wait, or call the outbox.
	Attach(sender string, changed func(), to ...message.Target) (route int)
	// Detach ends a route. What waits goes by the session's transport, if it has one.
	Detach(sender string, route int)
	TakeAt(sender string, route, n int) []entry.Outgoing
	// Pending returns the downstream with this id to the route's device. ok is false when
	// none is pending.
	Pending(sender string, route int, messageID string) (m message.Checked, ok bool)
	// Has records that the device has the downstream with this id, whoever brought it
	// there. It reports whether one to this device was pending.
	Has(sender string, route int, messageID string) bool
	// Answered with flow.Resend says that a device can't get this one: it goes by the
	// session's transport, also while the device is connected.
	Answered(sender string, seq uint64, a flow.Answer)
	Return(sender string, seqs []uint64, end flow.End) (blamed bool)
}

// State keeps what is bound to a user: its devices. It calls the done functions of Update
// in the order of the commits, one after the other.
type State interface {
	Get(owner, key string) (value json.RawMessage, version uint64, err error)
	List(owner string, s entry.Span) (entry.Listing, error)
	Update(owner string, c entry.Changes, done func(error))
}

// StateOwner owns the gateway's keys. No plugin's file can have this name.
const StateOwner = "~gateway"

// Options describe one gateway. Name, SenderID, Listen, Inbox, Outbox and State are
// needed. Any other field that is zero gets the default in its comment.
type Options struct {
	Name     string // of the session, as in config.hcl: for logs, metrics and people
	SenderID string // what the session is: upstreams carry it, the outbox is asked by it

	Listen         string       // host:port, or "unix:" and an absolute path
	Listener       net.Listener // instead of Listen, for tests
	CertFile       string       // PEM, watched; "": no TLS
	KeyFile        string
	Auth           []credential.Rule
	Huawei         *Huawei // nil: its uplink is not served
	TrustedProxies []netip.Prefix
	ProxyProtocol  bool
	CORSOrigins    []string

	MaxConnections int           // 10,000
	Rate           int           // messages a second that a device may send, on average; 10
	MaxTTL         time.Duration // the longest time_to_live of an upstream: after dedup_window a repeat would be stored twice; 47 h
	Stop           time.Duration // limit for answers when Run's context ends; 5 s

	Inbox   Inbox
	Outbox  Outbox
	State   State
	Log     hclog.Logger
	Metrics prometheus.Registerer // nil: none
	Feed    *feed.Hub             // hears whether the session works; nil: nobody does
}

// Huawei says how Huawei's servers sign what they deliver.
type Huawei struct {
	CallbackKey  secret.Text
	CallbackUser string
}
