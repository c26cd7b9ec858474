package ccssim

import (
	"cmp"
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
	Listen    string            // address of the TLS listener; "" means 127.0.0.1:0
	CAFile    string            // file for the CA's certificate, with its key beside it, so that a restart has the same CA; "" keeps the CA in memory
	SenderID  string            // "" means [DefaultSenderID]
	ServerKey string            // "" means [DefaultServerKey]
	Senders   map[string]string // further senders: id to server key

	Window       int           // most un-acked upstreams on a connection; 0 means 100
	Pending      int           // most unanswered downstreams on a connection; 0 means 100
	OverLimit    OverLimit     // what happens to a client that sends more
	AckDelay     Range         // time from a downstream to its reply; a range also changes the order of replies
	Keepalive    time.Duration // write a space after this much silence; 0 means 60 s, negative means never
	Receipts     bool          // send the delivery receipts that downstreams ask for
	ReceiptFirst bool          // send a receipt before the downstream's ack, not after it
	BareGCM      bool          // write <gcm xmlns=…> in acks, nacks and control messages; CCS writes <data:gcm …>
	TypedControl bool          // write type="normal" on control messages
	ResendAfter  time.Duration // write an upstream again on its connection each time it was un-acked for so long; 0 means never
	Duplicates   float64       // probability that an upstream is written twice on its connection
	WriteEach    bool          // write each stanza by itself (a TLS record); else all that are ready together
	SplitBytes   int           // divide every write into pieces of 1 to so many bytes; 0 does not divide
	MaxStanza    int           // most bytes of a client's stanza; 0 means 64 KiB
	LoginTimeout time.Duration // from the TCP connection to the bind; 0 means 30 s
	IdleTimeout  time.Duration // a client that is silent for so long gets the stream error connection-timeout; 0 means never
	Connections  int           // most connections of a sender; one more gets the stream error policy-violation; 0 means 1000

	Single bool // a sender has one connection: a login ends the others with the stream error conflict

	Devices    Devices      // the load at the start
	Seed       uint64       // of all random values; 0 means a random one
	Run        string       // part of the message ids of the load; "" makes one from Seed
	Remember   int          // downstreams remembered for each device; 0 means 10,000
	Transcript int          // stanzas remembered for [Server.Transcript]; 0 means 1,000, negative means none
	Log        hclog.Logger // of connections and stream errors; nil means no log

	OnReceive func(target string, r Received) // a downstream has come to a device, topic or condition; nil means nobody listens. It must not block, nor call the server
}

// The sender of a Server whose Options name none, as in config.hcl.
const (
	DefaultSenderID  = "482915730064"
	DefaultServerKey = "simulator"
)

// OverLimit says what happens when a client sends a downstream while Pending ones
// are unanswered. What CCS did is unknown (ccs-protocol.md §8).
type OverLimit string

// What can happen to a client over its limit.
const (
	OverNack  OverLimit = "nack"  // it gets the nack SERVICE_UNAVAILABLE; the default
	OverStop  OverLimit = "stop"  // the server reads nothing until it has written a reply
	OverClose OverLimit = "close" // it gets the stream error policy-violation
)

// Range is a span of time. All values in it are equally likely. If Max is below Min,
// only Min is used.
type Range struct{ Min, Max time.Duration }

// Check is the error that [New] would give for the options.
func (o Options) Check() error {
	_, err := o.checked()
	return err
}

func (o Options) checked() (Options, error) {
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	o.SenderID = cmp.Or(o.SenderID, DefaultSenderID)
	o.ServerKey = cmp.Or(o.ServerKey, DefaultServerKey)
	o.Window = cmp.Or(o.Window, 100)
	o.Pending = cmp.Or(o.Pending, 100)
	o.OverLimit = cmp.Or(o.OverLimit, OverNack)
	o.Keepalive = cmp.Or(o.Keepalive, time.Minute)
	o.MaxStanza = cmp.Or(o.MaxStanza, 64<<10)
	o.LoginTimeout = cmp.Or(o.LoginTimeout, 30*time.Second)
	o.Connections = cmp.Or(o.Connections, 1000)
	o.Remember = cmp.Or(o.Remember, 10_000)
	o.Transcript = cmp.Or(o.Transcript, 1000)
	o.Seed = cmp.Or(o.Seed, rand.Uint64())
	o.Run = cmp.Or(o.Run, fmt.Sprintf("r%06x", o.Seed&0xffffff))
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
		return o, fmt.Errorf("duplicates %v: want a probability below 1", o.Duplicates)
	case strings.ContainsAny(o.Run, "<>&\"\\ \t"):
		return o, fmt.Errorf("run %q: want only letters, digits and dashes", o.Run)
	case o.AckDelay.Min < 0, o.SplitBytes < 0, o.Remember < 0, o.IdleTimeout < 0, o.ResendAfter < 0:
		return o, errors.New("ack delay, split bytes, remember, idle timeout and resend after can't be negative")
	case o.OverLimit != OverNack && o.OverLimit != OverStop && o.OverLimit != OverClose:
		return o, fmt.Errorf("over-limit mode %q: want %q, %q or %q", o.OverLimit, OverNack, OverStop, OverClose)
	}
	return o, nil
}
