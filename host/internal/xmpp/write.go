package xmpp

const (
	// Keepalive is one byte between stanzas. It shows that the sender still lives. Spec: RFC 6120 §4.6.1.
	Keepalive = " "
	// CloseTag ends our side of the stream. Spec: RFC 6120 §4.4.
	CloseTag = "</stream:stream>"
)

// AppendMessage appends a message with a payload of JSON text. id is the stanza's
// own id, which CCS gives back in a stanza error (ccs-protocol.md §4.2). "" writes
// no id. If XML can't carry the bytes, it fails and returns dst unchanged.
func AppendMessage(dst []byte, id string, json []byte) ([]byte, error) {
	out, err := append(dst, `<message`...), error(nil)
	if id != "" {
		if out, err = appendAttr(out, "id", id); err != nil {
			return dst, err
		}
	}
	out = append(out, `><gcm xmlns="`+nsGCM+`">`...)
	if out, err = appendEscaped(out, json, inText); err != nil {
		return dst, err
	}
	return append(out, `</gcm></message>`...), nil
}

// AppendPing appends a ping (XEP-0199). The answer is an iq with the same id, of type result or error.
func AppendPing(dst []byte, id, to string) []byte {
	return append(appendIQ(dst, "get", id, to), `><ping xmlns="`+nsPing+`"/></iq>`...)
}

// AppendIQResult appends an empty result: the answer to the peer's ping.
func AppendIQResult(dst []byte, id, to string) []byte {
	return append(appendIQ(dst, "result", id, to), `/>`...)
}

// AppendIQError appends an error: the answer to a request that is not understood.
// Every request must be answered. Spec: RFC 6120 §8.2.3, §8.4.
func AppendIQError(dst []byte, id, to string) []byte {
	return append(appendIQ(dst, "error", id, to),
		`><error type="cancel"><service-unavailable xmlns="`+nsStanzas+`"/></error></iq>`...)
}

// AppendStreamError appends a stream error and the end of the stream. condition
// is [Fault].Condition, for example. text may be "".
func AppendStreamError(dst []byte, condition, text string) []byte {
	dst = append(dst, `<stream:error><`+condition+` xmlns="`+nsStreams+`"/>`...)
	if text != "" {
		if with, err := appendEscaped(append(dst, `<text xmlns="`+nsStreams+`">`...), text, inText); err == nil {
			dst = append(with, `</text>`...)
		}
	}
	return append(dst, `</stream:error>`+CloseTag...)
}

// appendIQ appends an iq's start tag without its '>'. XML can carry id and to:
// they are our own, or were read from XML.
func appendIQ(dst []byte, kind, id, to string) []byte {
	dst = append(append(append(dst, `<iq type="`...), kind...), '"')
	dst, _ = appendAttr(dst, "id", id)
	if to != "" {
		dst, _ = appendAttr(dst, "to", to)
	}
	return dst
}

func appendAttr(dst []byte, name, value string) ([]byte, error) {
	dst, err := appendEscaped(append(append(append(dst, ' '), name...), `="`...), value, inAttr)
	return append(dst, '"'), err
}
