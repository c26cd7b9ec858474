package flow

// Fault says who is at fault when a connection ends. No stream condition is a
// verdict on a message: what is in flight then may have nothing to do with it. A
// message is blamed by comparison alone, see [JudgeLoss].
type Fault uint8

// The faults, and what each means for the connection and for what was in flight on it.
const (
	// Link: the connection broke, or is replaced. Connect again after the usual
	// backoff. What was in flight goes again at once.
	Link Fault = iota
	// Server: it is in trouble, or shuts down. As Link.
	Server
	// Account: the sender, its key, or what the config says of the server is wrong,
	// and somebody has to correct it. Connect again after a long backoff. What was in
	// flight goes again when there is a connection.
	Account
	// Policy: the connection or the account did too much of something, or a message
	// was over a limit of the server's. The condition does not say which. What was in
	// flight goes again, each alone. The backoff is long, until something shows that
	// it was a message.
	Policy
	// Bytes: CCS could not read what we wrote: a message, an ack, or the stream
	// itself. Connect again after the usual backoff. What was in flight goes again, each alone.
	Bytes
	// Rival: another client has logged in as the sender, and CCS keeps one of the
	// two. Once is a host that moves to another machine. While it repeats, connect again after longer and
	// longer waits, until a person stops one of the two. It says nothing of what was
	// in flight, which goes again when there is a connection.
	Rival
	// Ours: we ended the connection, for reasons of our own. It says nothing of what
	// was in flight, which goes again at once.
	Ours
)

// String is the fault in lower case.
func (f Fault) String() string {
	return [...]string{"link", "server", "account", "policy", "bytes", "rival", "ours"}[f]
}

// Waits reports whether trying again soon makes no sense.
func (f Fault) Waits() bool { return f == Account || f == Policy }

// Acquits reports whether no message can have caused the end. Then it is as if what
// was in flight had not been sent.
func (f Fault) Acquits() bool { return f == Rival || f == Ours }

// suspicious reports whether one such end is enough to send each of those in flight alone.
func (f Fault) suspicious() bool { return f == Policy || f == Bytes }

// streamFaults has every stream condition of RFC 6120 §4.9.3, and the two that
// RFC 3920 §4.7.3 spells otherwise. A test compares it with that list.
var streamFaults = map[string]Fault{
	"bad-format":               Bytes,
	"bad-namespace-prefix":     Bytes,
	"conflict":                 Rival,
	"connection-timeout":       Link,
	"host-gone":                Account, // the address or the domain serves no more
	"host-unknown":             Account,
	"improper-addressing":      Bytes,
	"internal-server-error":    Server,
	"invalid-from":             Bytes,
	"invalid-id":               Link, // RFC 3920
	"invalid-namespace":        Bytes,
	"invalid-xml":              Bytes,
	"not-authorized":           Account,
	"not-well-formed":          Bytes,
	"policy-violation":         Policy,
	"remote-connection-failed": Server,
	"reset":                    Server,
	"resource-constraint":      Server,
	"restricted-xml":           Bytes,
	"see-other-host":           Server,
	"system-shutdown":          Server,
	"undefined-condition":      Server, // says nothing of us
	"unsupported-encoding":     Bytes,
	"unsupported-feature":      Account,
	"unsupported-stanza-type":  Bytes,
	"unsupported-version":      Account,
	"xml-not-well-formed":      Bytes, // RFC 3920
}

// StreamFault says who is at fault by a stream error's condition. An unknown one says nothing of us.
func StreamFault(condition string) Fault {
	if f, ok := streamFaults[condition]; ok {
		return f
	}
	return Server
}

// stanzaVerdicts has every stanza condition of RFC 6120 §8.3.3, and the one that
// is in RFC 3920 alone: who is at fault when CCS does not take a downstream. If it
// is the server, the downstream is tried again, even where the error's type is
// "cancel", as RFC 6120 has it for some. A test compares the table with the list.
var stanzaVerdicts = map[string]Verdict{
	// The message's.
	"bad-request":             Fail,
	"feature-not-implemented": Fail,
	"gone":                    Fail,
	"item-not-found":          Fail,
	"jid-malformed":           Fail,
	"not-acceptable":          Fail,
	"not-allowed":             Fail,
	"redirect":                Fail,
	"unexpected-request":      Fail,

	// The account's.
	"forbidden":             Halt,
	"not-authorized":        Halt,
	"payment-required":      Halt, // RFC 3920
	"registration-required": Halt,
	"subscription-required": Halt,

	// The server's, or something that passes.
	"conflict":                Retry,
	"internal-server-error":   Retry,
	"policy-violation":        Retry, // a quota as well as a limit
	"recipient-unavailable":   Retry,
	"remote-server-not-found": Retry,
	"remote-server-timeout":   Retry,
	"resource-constraint":     Retry,
	"service-unavailable":     Retry,
}

// JudgeStanza says what a stanza error means, by its type and condition. The type
// "wait" means that time heals, whatever the condition. The condition
// "undefined-condition", an unknown one and none leave it to the type. Without a
// type the downstream is tried again.
// Spec: RFC 6120 §8.3.2, §8.3.3; ccs-protocol.md §4.2.
func JudgeStanza(errorType, condition string) Verdict {
	v, known := stanzaVerdicts[condition]
	switch {
	case errorType == "wait":
		return Retry
	case known:
		return v
	case errorType == "modify", errorType == "cancel":
		return Fail
	case errorType == "auth":
		return Halt
	}
	return Retry
}
