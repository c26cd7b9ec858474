package flow

// Fault says whose doing it is that CCS, or the link, ended a connection. No
// condition is a verdict on a message: what is in flight then may have nothing to
// do with it. A message is blamed by comparison alone, see [JudgeLoss].
type Fault uint8

// The faults, and what follows from each for the connection and for what was in flight on it.
const (
	// Link: the connection broke, or is replaced. Connect again after the usual
	// backoff; what was in flight goes again at once.
	Link Fault = iota
	// Server: it is in trouble, or leaves. As Link.
	Server
	// Account: the sender, its key, or what the config says of the server.
	// Somebody has to mend it: connect again after a long backoff; what was in
	// flight goes again when there is a connection.
	Account
	// Policy: the connection or the account has done too much of something, or a
	// message was over a limit of the server's; the condition does not tell which. What was
	// in flight goes again, each alone. As long as nothing shows that it is a
	// message the backoff is long.
	Policy
	// Bytes: CCS could not read what we wrote: a message, an ack, or the stream
	// itself. The usual backoff; what was in flight goes again, each alone.
	Bytes
	// Rival: another client has logged in as the sender, and CCS keeps one of the two. Once that
	// is a host that moves; while it repeats connect again after ever longer waits,
	// until a person stops one of them. It says nothing of what was in flight, which
	// goes again when there is a connection.
	Rival
	// Ours: we ended it, for reasons of our own. It says nothing of what was in
	// flight, which goes again at once.
	Ours
)

// String is the fault in lower case.
func (f Fault) String() string {
	return [...]string{"link", "server", "account", "policy", "bytes", "rival", "ours"}[f]
}

// Waits reports whether trying again soon makes no sense.
func (f Fault) Waits() bool { return f == Account || f == Policy }

// Acquits reports whether no message can have brought the end about: it is as if
// what was in flight had not been sent.
func (f Fault) Acquits() bool { return f == Rival || f == Ours }

// suspicious reports whether each of those in flight is looked at alone at once.
func (f Fault) suspicious() bool { return f == Policy || f == Bytes }

// streamFaults has every stream condition of RFC 6120 §4.9.3, and the two that
// RFC 3920 §4.7.3 spells otherwise. A test holds it to that list.
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

// StreamFault is whose doing a stream error is; an unknown condition says nothing of us.
func StreamFault(condition string) Fault {
	if f, ok := streamFaults[condition]; ok {
		return f
	}
	return Server
}

// stanzaVerdicts has every stanza condition of RFC 6120 §8.3.3, and the one that
// is in RFC 3920 alone: whose doing it is that CCS does not take a downstream.
// What is the server's is tried again, whatever type the error has: RFC 6120 gives
// some of these "cancel". A test holds it to the list.
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

	// The server's, or of something that passes.
	"conflict":                Retry,
	"internal-server-error":   Retry,
	"policy-violation":        Retry, // a quota as well as a limit
	"recipient-unavailable":   Retry,
	"remote-server-not-found": Retry,
	"remote-server-timeout":   Retry,
	"resource-constraint":     Retry,
	"service-unavailable":     Retry,
}

// JudgeStanza is Judge for a stanza error, by its type and condition. "wait" means
// that time heals, whatever the condition; "undefined-condition", an unknown one
// and none at all leave it to the type, and without a type it is tried again.
// Spec: RFC 6120 §8.3.2, §8.3.3; ccs-protocol.md §4.2.
func JudgeStanza(errorType, condition string, attempts, limit int) Verdict {
	v, known := stanzaVerdicts[condition]
	switch {
	case errorType == "wait":
		v = Retry
	case known:
	case errorType == "modify", errorType == "cancel":
		v = Fail
	case errorType == "auth":
		v = Halt
	default:
		v = Retry
	}
	if v == Retry && limit > 0 && attempts >= limit {
		return Fail
	}
	return v
}
