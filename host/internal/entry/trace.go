package entry

import (
	"cmp"
	"strings"
	"time"

	"balhost/sdk/message"
)

// State is where a message stands.
type State string

// The states of messages. Events end as Handled or Dead, downstreams as Acked, Failed,
// Expired or Canceled.
const (
	StateWaiting  State = "waiting"   // it has not been tried yet
	StateInFlight State = "in_flight" // a handler has it, or it was sent and is not answered yet
	StateRetrying State = "retrying"  // it was tried in vain, and waits for its next attempt
	StateHandled  State = "handled"
	StateDead     State = "dead"
	StateAcked    State = "acked"
	StateFailed   State = "failed"
	StateExpired  State = "expired"
	StateCanceled State = "canceled"
)

// States are all of them.
var States = []State{
	StateWaiting, StateInFlight, StateRetrying, StateHandled, StateDead, StateAcked, StateFailed, StateExpired, StateCanceled,
}

// Pending reports whether such a message has not ended.
func (s State) Pending() bool { return s == StateWaiting || s == StateInFlight || s == StateRetrying }

// Attempt is one attempt at an event or a downstream. Its times are of the wall clock.
// Zero values are not known: an older host did not keep them.
type Attempt struct {
	Number  int
	Began   time.Time // the handler got the event, or the downstream was sent
	Took    time.Duration
	Version string // of the plugin
	Via     string // by which transport a downstream was sent
	Code    string // how the peer refused it
	Error   string // why it was in vain
}

// Trace is what the ledger knows of one message and its way. It has no payload.
type Trace struct {
	Seq       uint64 // of a pending one, and of a downstream; else 0
	Kind      Kind   // 0: a downstream
	ID        string // an event's; of a downstream its message id
	State     State  // of what is pending, the ledger knows not all: see the engines
	Session   string // sender id
	Category  string
	Plugin    string // who has handled it, or whose it is; of a downstream, who has sent it: "" is the API
	Device    string // token, or what else a downstream was sent to; of what has ended its first DeviceKept bytes
	Hash      uint64 // of session and device, as DeviceHash and TargetHash make it; 0: it has none, or an older host did not keep it
	Group     uint64 // hash of the group of outcomes, receipts and downstreams
	MessageID string // the device's id of an upstream; the downstream's of an outcome or a receipt; a timer's key
	Cause     string // the event whose handler made the downstream or the timer; "": none, or not known
	Began     time.Time
	Ended     time.Time // when that was stored; zero: it is pending
	Due       time.Time // of a pending one: not before this
	Expires   time.Time // of a pending downstream
	Attempts  int       // of a dead or ended one all, of a pending one those in vain
	Tries     []Attempt // in vain: the first one and the last ones
	Last      Attempt   // that ended it: not of a dead letter, whose Tries have it
	Code      string    // of a downstream: why it failed
	Error     string    // the same in words; why an event is dead, or why the last attempt was in vain
	Receipt   bool      // a downstream's: it asks for a receipt
	Told      bool      // a downstream's: its end is an event for its plugin
	Forgotten time.Time // of a downstream: when its plugin was forgotten, before it ended; zero: it was not
	Made      int       // downstreams that its handler made
	MadeFrom  uint64    // the seq of the first of these
	MadeTo    uint64    // the seq of the last of these
	Open      bool      // more may have come of it: timers or receipts
	TraceID   string    // the id of its OpenTelemetry trace, in hex; "": it has none
	At        Place     // of what has ended
}

// Own returns a trace whose texts belong to the caller.
func (t *Trace) Own() Trace {
	out := *t
	for _, text := range []*string{
		&out.ID, &out.Session, &out.Category, &out.Plugin, &out.Device, &out.MessageID, &out.Cause, &out.Code, &out.Error,
		&out.Last.Version, &out.Last.Via,
	} {
		*text = strings.Clone(*text)
	}
	return out
}

// DeviceKept is how much of a device's token is kept of what has ended: as much as a
// person needs to tell devices apart. Nobody can send to it.
const DeviceKept = 17

// KeptDevice returns what is kept of a device's token.
func KeptDevice(token string) string { return token[:min(len(token), DeviceKept)] }

// TargetText is a target as people write it.
func TargetText(to message.Target) string {
	if to.Topic != "" {
		return "/topics/" + to.Topic
	}
	return cmp.Or(to.Token, to.FID, to.Condition)
}

// Place is where a search of what has ended stands: it goes on before it. The zero Place
// is the newest end.
type Place struct {
	Millis, Seq uint64 // of the record, by the ledger's clock
	Index       int    // in the record
}
