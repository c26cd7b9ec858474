// Package entry has the types that the ledger and the engines around it share:
// what comes in, what is pending, and what is to be committed. Engines never import
// each other, so the types of what passes between them are here. It starts nothing
// and decides nothing. Start at [Event] and [Settlement].
package entry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"balhost/sdk/message"
)

// Errors of the ledger. Callers compare with errors.Is.
var (
	// ErrConflict: a state key has changed since it was read; the handler runs again (P7).
	ErrConflict = errors.New("state has changed since it was read")
	// ErrLease: the event is no longer leased to this delivery (P5); the result is dropped.
	ErrLease = errors.New("event is not leased to this delivery")
	// ErrFull: the disk is at its soft limit; nothing was stored, try later (P10).
	ErrFull = errors.New("ledger takes no new messages: disk at its soft limit")
	// ErrPaused is an ErrFull: a person has paused the intake of this session.
	ErrPaused error = paused{}
	// ErrClosed: the ledger is closing or has failed; nothing was stored.
	ErrClosed = errors.New("the ledger is closed: the host stops, or its store has failed")
	// ErrExists: the message id was used before with other content or by another owner.
	ErrExists = errors.New("message id was used before for another message")
	// ErrTooLarge: a commit can't hold it, so it can never be stored.
	ErrTooLarge = errors.New("too large for the ledger")
	// ErrUnknown: no such entry.
	ErrUnknown = errors.New("no such entry")
	// ErrCanceled: the downstream is being canceled or replaced, and does not go out.
	ErrCanceled = errors.New("the downstream is being canceled")
	// ErrNotSent: a device's receipt is of nothing that its session has sent to it, or of
	// something that is forgotten; it can never be stored.
	ErrNotSent = errors.New("no such message was sent to this device, or it is too long ago")
	// ErrVoid: the event is a timer that was canceled or set anew. Nobody gets it. It is
	// settled as Void.
	ErrVoid = errors.New("the timer was canceled or set anew")
	// ErrUnusable: the dead letter can't be understood, so it is not replayed.
	ErrUnusable = errors.New("no plugin can handle it")
	// ErrNotStuck: the event's handler is at work and in its time, so nobody gives it up.
	ErrNotStuck = errors.New("its handler is not stuck")
	// ErrMany: so many devices of a plugin are paused that no other can be.
	ErrMany = errors.New("resume one of them, or pause the whole plugin")
)

type paused struct{}

func (paused) Error() string {
	return "the intake of this session is paused: nothing is stored until a person resumes it"
}
func (paused) Is(target error) bool { return target == ErrFull }

// Conflict is an ErrConflict that says what has changed.
type Conflict struct {
	Keys     []string // that were read, or that came or changed in what was listed
	Prefixes []string // of the ranges that have changed
}

func (c *Conflict) Error() string {
	if len(c.Keys) == 0 { // nothing names a key that has gone from a range
		return fmt.Sprintf("%v: keys that begin with %.200q", ErrConflict, c.Prefixes)
	}
	return fmt.Sprintf("%v: %.200q", ErrConflict, c.Keys)
}

func (c *Conflict) Unwrap() error { return ErrConflict }

// NoSuch makes an ErrUnknown that says what was not found, and where to look.
func NoSuch(format string, args ...any) error { return noSuch(fmt.Sprintf(format, args...)) }

type noSuch string

func (e noSuch) Error() string        { return string(e) }
func (e noSuch) Is(target error) bool { return target == ErrUnknown }

// Kind says what an event is.
type Kind uint8

// The kinds of event.
const (
	Upstream Kind = iota + 1
	Outcome
	Receipt
	Timer
)

// String is the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Upstream:
		return "upstream"
	case Outcome:
		return "outcome"
	case Receipt:
		return "receipt"
	case Timer:
		return "timer"
	}
	return "unknown"
}

// Inbound is what a transport has read and wants stored before it acks (P1).
// Exactly one of Upstream and Receipt is set.
type Inbound struct {
	// Upstream has no ID, Attempt and Received: the ledger sets these.
	Upstream *message.Upstream
	// Receipt has no ID and Attempt. Its dedup key is its sender and CCSMessageID.
	Receipt *message.Receipt
	// CCSMessageID is CCS's own id of a receipt, with its prefix ("dr2:…").
	CCSMessageID string
	// Unusable, when not empty, says why nobody can handle the upstream. It goes to
	// the dead letters at once. Raw is set, and From and MessageID if they are text.
	Unusable string
	// Names, when not empty, is what CCS wrote for From and MessageID. It is needed
	// where their texts could be equal: the id 42 is not the id "42" (P6).
	Names string
	// Places says where in Raw the upstream's fields are, if that is known.
	Places Places
	// Line, when not nil, keeps the order of its connection (P1).
	Line *Line
	// Again, when not nil, is set before done is called, if the message was stored before
	// (P6).
	Again *bool
	// FromDevice says that the receipt's device has sent it itself, and not CCS. It is
	// stored only if the session has sent the message to this device; else done gets
	// ErrNotSent. Its dedup key is its device, OriginalMessageID and Status.
	FromDevice bool
	// Via is the transport that brought it, and Traceparent is what its device said of the
	// trace that it belongs to. Both may be empty. Only traces use them.
	Via         message.Transport
	Traceparent string
}

// Line is what one connection brings, or one request. It is stored in order: after the
// first that found no room none is stored, whatever room there is then. Only the ledger
// changes it.
type Line struct{ Broken bool }

// Places are offsets into an upstream's Raw; 0 is unknown. They only save a search:
// who uses one checks it first.
type Places struct{ From, Category, MessageID, Data int }

// Kept is how many bytes are kept of each end of a payload that is too large to be
// kept whole.
const Kept = 64 << 10

// Cut returns what is kept of size bytes that begin with head and end with tail.
func Cut(head, tail []byte, size int) []byte {
	head, tail = head[:min(len(head), Kept)], tail[max(0, len(tail)-Kept):]
	out := fmt.Appendf(bytes.Clone(head), "\n[%d bytes are cut out here]\n", size-len(head)-len(tail))
	return append(out, tail...)
}

// Event is one pending event, without its body: what decides its order and when it
// is due. The ledger gives out copies.
type Event struct {
	Seq      uint64
	Kind     Kind
	Session  string    // its sender id
	Category string    // upstreams, and receipts of unknown messages
	Plugin   string    // the owner: outcomes, and receipts of known messages; else ""
	Device   uint64    // hash of session and the device's token: upstreams
	Group    uint64    // hash of session and group, 0 without one: outcomes and receipts
	Lane     Lane      // timers
	Attempts int       // attempts that counted so far
	Due      time.Time // not before this; zero for at once
}

// Body is the body of one event. Beside Trace, exactly one field is set.
type Body struct {
	Upstream *message.Upstream
	Outcome  *message.Outcome
	Receipt  *message.Receipt
	Timer    *message.Timer
	Trace    *TraceSpan // what made it
}

// Verdict says what becomes of an event.
type Verdict uint8

// The verdicts on an event that was handed out.
const (
	Done  Verdict = iota + 1 // it was handled: commit Changes and its end together (P7)
	Retry                    // it stays pending until Due, with one more attempt
	Dead                     // it goes to the dead letters with Reason
	Void                     // it is a timer that was canceled or set anew: it ends
	Again                    // it goes to the end of its lane, as a dead letter does that is replayed
)

// Settlement ends one handing out of an event.
type Settlement struct {
	Seq     uint64
	Lease   uint64 // as given to Lease; if another one is in force, the commit fails with ErrLease
	Verdict Verdict
	Due     time.Time // Retry
	Reason  string    // Retry, Dead
	Plugin  string    // that handled it; it owns Changes
	Attempt Attempt   // of it the ledger needs Began, Took and Version; zero: no handler got it
	Changes Changes   // Done; for Retry and Dead only Reads count: the verdict was made by them
}

// Changes are committed all or nothing (P7).
type Changes struct {
	Sends  []Send
	Writes []Write
	Reads  []Read

	Ranges    []Range
	Schedules []Schedule
	Cancels   []Cancel
}

// Empty reports whether there is nothing to commit.
func (c Changes) Empty() bool {
	return len(c.Sends) == 0 && len(c.Writes) == 0 && len(c.Reads) == 0 &&
		len(c.Ranges) == 0 && len(c.Schedules) == 0 && len(c.Cancels) == 0
}

// Send is one downstream to accept (P2). Its MessageID and Session are set.
type Send struct {
	Message message.Checked
	Tell    bool       // the owner wants to hear the outcome as an event (P4)
	Trace   *TraceSpan // what sends it; nil: the ledger decides whether it is traced, unless a handler sends it; zero: it is not traced
}

// Cancel says that a downstream of the plugin shall not go out. One that has gone out or
// ended stays as it is.
type Cancel struct {
	Session   string // sender id
	MessageID string
}

// HostState is the owner of the host's own state, such as which plugins are paused.
// No plugin's file can have this name.
const HostState = "~dispatch"

// OwnState reports whether the host itself owns this state: its names begin with ~, as
// no plugin's does.
func OwnState(owner string) bool { return strings.HasPrefix(owner, "~") }

// Write sets or deletes one key of a plugin's state.
type Write struct {
	Key   string
	Value json.RawMessage // nil deletes
}

// Read is the version of a key that a handler read; 0: there was no such key.
type Read struct {
	Key     string
	Version uint64
}

// Range is a part of a plugin's keys that a handler has listed, in the order of their
// bytes: those that begin with Prefix, and are greater than After and at most Last. If
// Last is "", it goes to the end of the prefix.
type Range struct {
	Prefix, After, Last string
	Digest              Digest // as List gave it
}

// Digest says what a List has seen of a range. A write gives its key a version that is greater
// than all before. So if a range has the same digest later, it has the same keys with the same
// versions.
type Digest struct {
	Keys   int
	Newest uint64 // the greatest version; 0 if there is no key
}

// See adds a key with this version.
func (d *Digest) See(version uint64) {
	d.Keys++
	d.Newest = max(d.Newest, version)
}

// Span asks for a plugin's keys that begin with Prefix and are greater than After, in the order
// of their bytes.
type Span struct {
	Prefix, After string
	Keys, Bytes   int // at most so many; but one key with its value always fits
}

// Listing is what there is of a Span.
type Listing struct {
	Items  []Item
	More   bool // there are others behind the last
	Digest Digest
}

// StateOwner is a plugin that has state, and how much. It may be gone.
type StateOwner struct {
	Plugin string `json:"plugin"`
	Keys   int    `json:"keys"`
	Bytes  int64  `json:"bytes"`
	More   bool   `json:"more,omitempty"` // it has more than that: there is so much that it is not counted to the end
}

// StateOwners are plugins that have state, by name. Next is the "after" that asks for the
// next ones; "" at the end.
type StateOwners struct {
	Owners []StateOwner `json:"owners"`
	Next   string       `json:"next,omitempty"`
}

// Item is one key of a plugin's state.
type Item struct {
	Key     string
	Value   json.RawMessage
	Version uint64
}

// Schedule sets a timer of a plugin, and replaces the one with the same key; or ends it.
type Schedule struct {
	Key    string
	At     time.Time
	Data   json.RawMessage // nil: none
	Cancel bool            // end it, whether it is pending already or not
	Lane   Lane            // where it comes
	// What it tells its handler: that of the event that set it, or as named then.
	Session string // sender id; "": none
	Device  string // token; "": none
	// Ended is set before done is called: the pending event of the one that it has
	// canceled or replaced; 0: none. See ErrVoid.
	Ended uint64
	Trace *TraceSpan // what sets it; nil: it is not traced
}

// Lane is what a timer is handled in order with (P5).
type Lane struct {
	Kind Kind   // Upstream: a device's upstreams; Outcome: outcomes of a group; Timer: other timers of the plugin
	Hash uint64 // of session and device, of the group (0: none, it is unordered), or of the lane's name
	Key  uint64 // Upstream: the lane in an order by key; 0: the device's
}

// Downstream is one pending downstream, without its body: what decides its order
// and when it is due.
type Downstream struct {
	Seq       uint64
	Session   string // its sender id
	Owner     string // plugin name, or "" for the API
	MessageID string
	Group     uint64    // hash of session, owner and group; 0 without a group
	Target    uint64    // hash of session and target; of a token, Event.Device of the device's upstreams
	Attempts  int       // nacked attempts that counted
	Due       time.Time // not before this, be it for an attempt in vain or for NotBefore
	Expires   time.Time
	Early     bool // Due is its NotBefore: it has not gone out yet
}

// Outgoing is one downstream handed to a transport, which encodes it.
type Outgoing struct {
	Seq     uint64
	Message message.Checked
	TTL     *time.Duration // what remains of the TTL; nil when none was set
	Attempt int            // how often it was handed to a transport, this time included
}

// End is how one downstream ended, for the ledger to record (P4).
type End struct {
	Seq         uint64
	Status      message.OutcomeStatus
	Code        string
	Description string
	NewToken    string
	Gone        bool       // the target does not exist any more
	Attempts    int        // how often it was written to the wire
	Last        Attempt    // of it the ledger needs Began, Took and Via; zero: it was not sent
	Trace       *TraceSpan // its last sending; nil: the downstream's own
}

// Postponement keeps a downstream until Due.
type Postponement struct {
	Seq      uint64
	Due      time.Time
	Attempts int     // that counted; they replace those of before
	Tried    Attempt // the one that was in vain
}

// DeadLetter is one event that nobody could handle. It is kept until a person
// replays or deletes it (P8).
type DeadLetter struct {
	ID        string          `json:"id"` // the event's
	Kind      string          `json:"kind"`
	Reason    string          `json:"reason"`
	Died      time.Time       `json:"died"`
	Received  time.Time       `json:"received"`
	Attempts  int             `json:"attempts"`
	Plugin    string          `json:"plugin,omitempty"`   // who tried it last
	Unusable  bool            `json:"unusable,omitempty"` // it can't be understood, so it was never pending and is never replayed
	Session   string          `json:"session"`
	Category  string          `json:"category,omitempty"`
	From      string          `json:"from,omitempty"`
	MessageID string          `json:"message_id,omitempty"`
	Key       string          `json:"key,omitempty"`       // timer
	Status    string          `json:"status,omitempty"`    // outcome: acked, failed or expired
	Code      string          `json:"code,omitempty"`      // outcome: why it failed or expired
	Gone      bool            `json:"gone,omitempty"`      // outcome: the target does not exist any more
	Raw       json.RawMessage `json:"raw,omitempty"`       // upstream: the payload; timer: its data; absent in listings
	RawText   string          `json:"raw_text,omitempty"`  // the same when it is not JSON
	RawBytes  []byte          `json:"raw_bytes,omitempty"` // the same when it is not UTF-8 either
}

// Counts are the ledger's totals since it was made, and what is in it now.
type Counts struct {
	Accepted    uint64 `json:"accepted"`   // upstreams and receipts stored
	Duplicates  uint64 `json:"duplicates"` // known already; since this start
	Handled     uint64 `json:"handled"`    // events done
	Died        uint64 `json:"died"`       // events that went to the dead letters
	Sent        uint64 `json:"sent"`       // downstreams accepted from plugins and the API
	Acked       uint64 `json:"acked"`
	Failed      uint64 `json:"failed"`
	Expired     uint64 `json:"expired"`
	Canceled    uint64 `json:"canceled"`    // canceled or replaced before they went out
	Erased      uint64 `json:"erased"`      // events that a person erased with their device, or with their plugin
	Untold      uint64 `json:"untold"`      // outcomes and receipts of forgotten plugins, which nobody was told; since this start
	Events      int    `json:"events"`      // pending now
	Downstreams int    `json:"downstreams"` // pending now
	Timers      int    `json:"timers"`      // that are not due yet
	Dead        int    `json:"dead"`        // dead letters now
}

// Results are what came of the events that one process was handed.
type Results struct {
	Handled uint64
	Failed  uint64    // errors, panics and timeouts; not rejections
	Old     uint64    // of these, of events that had failed before they came to this process
	Holds   int       // handed out, and nothing came of it yet
	Oldest  time.Time // when the one of these that waits longest was handed out
	Stuck   int       // of these, handlers that went on after their time was up
	Ended   int       // of these, of events that another process did not let go of until it was ended
}
