package ccssim

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

const (
	nsGCM      = "google:mobile:data"
	nsSASL     = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind     = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession  = "urn:ietf:params:xml:ns:xmpp-session"
	nsStanzas  = "urn:ietf:params:xml:ns:xmpp-stanzas"
	gcmDomain  = "gcm.googleapis.com"
	tailGCM    = `</gcm></message>`
	tailPrefix = `</data:gcm></message>`
)

// upstreamHead is the part of a stanza before the payload of an upstream or receipt.
// Spec: ccs-protocol.md §5.
func upstreamHead(jid string) []byte {
	bare, _, _ := strings.Cut(jid, "/")
	return []byte(`<message to="` + escape(bare) + `" from="devices@gcm.googleapis.com" type="normal"><gcm xmlns="` + nsGCM + `">`)
}

// answer is the stanza for an ack or nack. It has no attributes, and the prefix data:
// as in recordings of CCS. Spec: ccs-protocol.md §2.
func (s *Server) answer(v any) []byte { return s.wrap(`<message>`, v) }

// draining is the control message. Spec: ccs-protocol.md §7.
func (s *Server) draining() []byte {
	head := `<message>`
	if s.opts.TypedControl {
		head = `<message type="normal">`
	}
	return s.wrap(head, map[string]string{"message_type": "control", "control_type": "CONNECTION_DRAINING"})
}

func (s *Server) wrap(head string, v any) []byte {
	text := escape(string(encode(v)))
	if s.opts.BareGCM {
		return []byte(head + `<gcm xmlns="` + nsGCM + `">` + text + tailGCM)
	}
	return []byte(head + `<data:gcm xmlns:data="` + nsGCM + `">` + text + tailPrefix)
}

// reply is an ack or nack for one downstream. Spec: ccs-protocol.md §4.
type reply struct {
	Type           string  `json:"message_type"`
	From           string  `json:"from"`
	MessageID      string  `json:"message_id"`
	RegistrationID string  `json:"registration_id,omitempty"`
	Error          string  `json:"error,omitempty"`
	Description    *string `json:"error_description,omitempty"`
}

func nack(from, id, code, description string) reply {
	return reply{Type: "nack", From: from, MessageID: id, Error: code, Description: &description}
}

// stanzaError is a stanza error. It repeats the payload that it is about. Spec: ccs-protocol.md §4.2.
func stanzaError(id, jid string, payload []byte, code, condition, text string) []byte {
	return []byte(`<message id="` + escape(id) + `" type="error" to="` + escape(jid) + `"><gcm xmlns="` + nsGCM + `">` + escape(string(payload)) +
		`</gcm><error code="` + code + `" type="modify"><` + condition + ` xmlns="` + nsStanzas + `"/><text xmlns="` + nsStanzas + `">` + escape(text) +
		`</text></error></message>`)
}

// encode is the JSON of a value. It panics on an error, so v must be valid. Its HTML
// escaping keeps < > & out of the XML, as in Go clients of the real CCS.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("ccssim: " + err.Error())
	}
	return b
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")

func escape(s string) string { return escaper.Replace(s) }

var textEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// xmlText is a payload as XML text. It is an error if XML 1.0 can't carry the payload.
// Only [Server.Inject] and Upstream.Bytes can send such a payload.
func xmlText(payload []byte) ([]byte, error) {
	if !utf8.Valid(payload) {
		return nil, errors.New("payload is not UTF-8")
	}
	if bytes.ContainsFunc(payload, func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	}) {
		return nil, errors.New("payload has a character that XML can't carry: write it as a JSON \\u escape")
	}
	return []byte(textEscaper.Replace(string(payload))), nil
}
