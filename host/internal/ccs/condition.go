package ccs

import "balhost/host/internal/flow"

// streamFaults has every stream condition of RFC 6120 §4.9.3, and the two that
// RFC 3920 §4.7.3 spells otherwise. A test compares it with that list.
var streamFaults = map[string]flow.Fault{
	"bad-format":               flow.Bytes,
	"bad-namespace-prefix":     flow.Bytes,
	"conflict":                 flow.Rival,
	"connection-timeout":       flow.Link,
	"host-gone":                flow.Account, // the address or the domain serves no more
	"host-unknown":             flow.Account,
	"improper-addressing":      flow.Bytes,
	"internal-server-error":    flow.Server,
	"invalid-from":             flow.Bytes,
	"invalid-id":               flow.Link, // RFC 3920
	"invalid-namespace":        flow.Bytes,
	"invalid-xml":              flow.Bytes,
	"not-authorized":           flow.Account,
	"not-well-formed":          flow.Bytes,
	"policy-violation":         flow.Policy,
	"remote-connection-failed": flow.Server,
	"reset":                    flow.Server,
	"resource-constraint":      flow.Server,
	"restricted-xml":           flow.Bytes,
	"see-other-host":           flow.Server,
	"system-shutdown":          flow.Server,
	"undefined-condition":      flow.Server, // says nothing of us
	"unsupported-encoding":     flow.Bytes,
	"unsupported-feature":      flow.Account,
	"unsupported-stanza-type":  flow.Bytes,
	"unsupported-version":      flow.Account,
	"xml-not-well-formed":      flow.Bytes, // RFC 3920
}

// streamFault says who is at fault by a stream error's condition. An unknown one says nothing of us.
func streamFault(condition string) flow.Fault {
	if f, ok := streamFaults[condition]; ok {
		return f
	}
	return flow.Server
}

// stanzaVerdicts has every stanza condition of RFC 6120 §8.3.3, and the one that
// is in RFC 3920 alone: who is at fault when CCS does not take a downstream. If it
// is the server, the downstream is tried again, even where the error's type is
// "cancel", as RFC 6120 has it for some. A test compares the table with the list.
var stanzaVerdicts = map[string]flow.Verdict{
	// The message's.
	"bad-request":             flow.Fail,
	"feature-not-implemented": flow.Fail,
	"gone":                    flow.Fail,
	"item-not-found":          flow.Fail,
	"jid-malformed":           flow.Fail,
	"not-acceptable":          flow.Fail,
	"not-allowed":             flow.Fail,
	"redirect":                flow.Fail,
	"unexpected-request":      flow.Fail,

	// The account's.
	"forbidden":             flow.Halt,
	"not-authorized":        flow.Halt,
	"payment-required":      flow.Halt, // RFC 3920
	"registration-required": flow.Halt,
	"subscription-required": flow.Halt,

	// The server's, or something that passes.
	"conflict":                flow.Retry,
	"internal-server-error":   flow.Retry,
	"policy-violation":        flow.Retry, // a quota as well as a limit
	"recipient-unavailable":   flow.Retry,
	"remote-server-not-found": flow.Retry,
	"remote-server-timeout":   flow.Retry,
	"resource-constraint":     flow.Retry,
	"service-unavailable":     flow.Retry,
}

// judgeStanza says what a stanza error means, by its type and condition. The type
// "wait" means that time heals, whatever the condition. The condition
// "undefined-condition", an unknown one and none leave it to the type. Without a
// type the downstream is tried again.
// Spec: RFC 6120 §8.3.2, §8.3.3; ccs-protocol.md §4.2.
func judgeStanza(errorType, condition string) flow.Verdict {
	v, known := stanzaVerdicts[condition]
	switch {
	case errorType == "wait":
		return flow.Retry
	case known:
		return v
	case errorType == "modify", errorType == "cancel":
		return flow.Fail
	case errorType == "auth":
		return flow.Halt
	}
	return flow.Retry
}
