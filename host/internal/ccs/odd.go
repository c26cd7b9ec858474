package ccs

import (
	"slices"
	"time"

	"balhost/host/internal/status"
)

// oddity is a kind of thing that CCS should not send. Each is counted, and logged
// once per 30 s. None of them disturbs anything else (P10).
type oddity uint8

const (
	unknownStanza   oddity = iota // XML that is no message, iq or presence
	unknownType                   // a payload whose message_type or control_type is unknown
	unusablePayload               // a payload that can't be understood
	tooLarge                      // a stanza over max_stanza, or an upstream that no commit can hold
	stanzaError                   // a stanza error about no downstream in flight: CCS rejects an ack
	lateAnswer                    // an ack or nack of something not in flight on that connection
	brokenXML                     // no XML, or no message as CCS writes it
	oddities
)

// String is the value of the metric's label.
func (k oddity) String() string {
	return [...]string{"unknown_stanza", "unknown_type", "unusable_payload", "too_large", "stanza_error", "late_answer", "broken_xml"}[k]
}

var oddMessage = [...]string{
	unknownStanza:   "CCS sent an unknown stanza; ignored",
	unknownType:     "CCS sent a payload of an unknown type",
	unusablePayload: "CCS sent an unusable payload",
	tooLarge:        "CCS sent something too large; acked if its names are known, and kept as a dead letter that is cut",
	stanzaError:     "CCS rejected a stanza of ours",
	lateAnswer:      "CCS answered something that is not in flight; ignored",
	brokenXML:       "CCS sent a broken stanza; acked if its names are known, and kept as a dead letter",
}

// odd counts and logs one.
func (s *Session) odd(k oddity, what string) {
	s.counts.odd[k].Add(1)
	s.said.Log(s.o.Log.Warn, oddMessage[k], "err", s.secrets.Text(what))
}

// remembered is how many of the last unusable payloads status shows.
const remembered = 20

func (s *Session) remember(at time.Time, from, messageID, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recent) == remembered {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
	s.recent = append(s.recent, status.Unusable{At: at, Session: s.o.Name, Reason: reason, From: from, MessageID: messageID})
}
