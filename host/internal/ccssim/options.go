package ccssim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Options set up a [Server]. The zero value is a server on a free port of
// 127.0.0.1 that behaves as ccs-protocol.md describes CCS.
type Options struct {
	Listen    string            // address of the TLS listener; "" is 127.0.0.1:0
	CAFile    string            // where the CA's certificate is kept (its key beside it), so that a restart keeps it; "" keeps it in memory
	SenderID  string            // "" is [DefaultSenderID]
	ServerKey string            // "" is [DefaultServerKey]
	Senders   map[string]string // further senders: id to server key

	Window       int           // upstreams un-acked on a connection at a time; 0 is 100
	Pending      int           // downstreams unanswered on a connection at a time; 0 is 100
	OverLimit    OverLimit     // what a client gets that sends more
	AckDelay     Range         // time from a downstream to its answer; a range also reorders answers
	Keepalive    time.Duration // a space after this much silence; 0 is 60 s, negative never
	Retention    time.Duration // how long an un-acked upstream is kept; 0 is 24 h
	LenientAcks  bool          // ignore an ack of something not outstanding here, instead of 406
	Receipts     bool          // send delivery receipts for downstreams that ask for one, after their acks
	ReceiptFirst bool          // and before their acks
	BareGCM      bool          // write <gcm xmlns=…> where CCS writes <data:gcm …>: acks, nacks, control
	TypedControl bool          // write type="normal" on control messages
	ResendAfter  time.Duration // an upstream un-acked for so long is written once more on its connection, and so on; 0: never
	Duplicates   float64       // probability that an upstream is written twice on its connection
	WriteEach    bool          // one write (TLS record) for each stanza; else as many stanzas as are ready
	SplitBytes   int           // cut every write into pieces of 1 to so many bytes; 0 leaves it whole
	MaxStanza    int           // longest stanza taken from a client, in bytes; 0 is 64 KiB
	LoginTimeout time.Duration // from the TCP connection to the bind; 0 is 30 s
	IdleTimeout  time.Duration // a client silent for so long gets the stream error connection-timeout; 0: never
	Connections  int           // most of a sender at a time; one more gets the stream error policy-violation; 0 is 1000

	Single bool // one connection of a sender at a time: a login ends the others by the stream error conflict

	Canonical  map[string]string // token to the registration_id that its acks carry
	Devices    Devices           // a load to start with
	Seed       uint64            // of all that is random; 0 takes a fresh one
	Run        string            // part of the virtual devices' message ids; "" makes one from Seed
	Remember   int               // downstreams remembered for each device; 0 is 10,000
	Transcript int               // stanzas remembered by [Server.Transcript]; 0 is 1,000, negative none
	Log        hclog.Logger      // connections and refusals; nil for none
}

// What a Server knows when its Options name no sender: config.hcl's defaults.
const (
	DefaultSenderID  = "482915730064"
	DefaultServerKey = "simulator"
)

// OverLimit says what is done to a client that sends a downstream while Pending
// are unanswered. What CCS did is unknown (ccs-protocol.md §8).
type OverLimit string

// The ways to treat a client over its limit.
const (
	OverNack  OverLimit = "nack"  // nack SERVICE_UNAVAILABLE; the default
	OverStop  OverLimit = "stop"  // read on only after an answer went out
	OverClose OverLimit = "close" // stream error policy-violation
)

// Range is a span of time that values are drawn from, evenly. Max below Min means Min.
type Range struct{ Min, Max time.Duration }

// Check is the error that [New] would give for the options themselves.
func (o Options) Check() error {
	_, err := o.checked()
	return err
}

func (o Options) checked() (Options, error) {
	setZero(&o.Listen, "127.0.0.1:0")
	setZero(&o.SenderID, DefaultSenderID)
	setZero(&o.ServerKey, DefaultServerKey)
	setZero(&o.Window, 100)
	setZero(&o.Pending, 100)
	setZero(&o.OverLimit, OverNack)
	setZero(&o.Keepalive, time.Minute)
	setZero(&o.Retention, 24*time.Hour)
	setZero(&o.MaxStanza, 64<<10)
	setZero(&o.LoginTimeout, 30*time.Second)
	setZero(&o.Connections, 1000)
	setZero(&o.Remember, 10_000)
	setZero(&o.Transcript, 1000)
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	setZero(&o.Run, fmt.Sprintf("r%06x", o.Seed&0xffffff))
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if err := o.Devices.check(); err != nil {
		return o, err
	}
	switch {
	case o.Window < 1, o.Pending < 1, o.Connections < 1:
		return o, errors.New("window, pending and connections must be at least 1")
	case o.Duplicates < 0 || o.Duplicates >= 1:
		return o, fmt.Errorf("duplicates is a probability below 1, not %v", o.Duplicates)
	case strings.ContainsAny(o.Run, "<>&\"\\ \t"):
		return o, fmt.Errorf("run %q: letters, digits and dashes only", o.Run)
	case o.AckDelay.Min < 0, o.SplitBytes < 0, o.Remember < 0, o.IdleTimeout < 0, o.ResendAfter < 0:
		return o, errors.New("ack delay, split bytes, remember, idle timeout and resend after can't be negative")
	case o.OverLimit != OverNack && o.OverLimit != OverStop && o.OverLimit != OverClose:
		return o, fmt.Errorf("over-limit mode %q: want %q, %q or %q", o.OverLimit, OverNack, OverStop, OverClose)
	}
	return o, nil
}

func setZero[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
