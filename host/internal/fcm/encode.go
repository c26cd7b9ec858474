package fcm

import (
	"strconv"
	"time"
	"unicode/utf8"

	"balhost/sdk/message"
)

// AppendDownstream appends the payload for m. m.MessageID must be set. The bytes
// of Data and Notification are copied unchanged. ttl is the rest of the time to
// live. It is sent in whole seconds, rounded down. nil sends no time_to_live,
// which means something else than 0. Spec: ccs-protocol.md §3.1.
func AppendDownstream(dst []byte, m message.Checked, ttl *time.Duration) []byte {
	switch {
	case m.To.Condition != "":
		dst = appendField(dst, `{"condition":`, m.To.Condition)
	case m.To.Topic != "":
		dst = appendField(dst, `{"to":`, "/topics/"+m.To.Topic)
	default:
		dst = appendField(dst, `{"to":`, m.To.Token)
	}
	dst = appendField(dst, `,"message_id":`, m.MessageID)
	if m.Options.CollapseKey != "" {
		dst = appendField(dst, `,"collapse_key":`, m.Options.CollapseKey)
	}
	if m.Options.Priority != "" {
		dst = appendField(dst, `,"priority":`, string(m.Options.Priority))
	}
	if ttl != nil {
		dst = strconv.AppendInt(append(dst, `,"time_to_live":`...), int64(max(0, *ttl)/time.Second), 10)
	}
	for _, o := range []struct {
		field string
		on    bool
	}{
		{`,"content_available":true`, m.Options.ContentAvailable},
		{`,"mutable_content":true`, m.Options.MutableContent},
		{`,"delivery_receipt_requested":true`, m.Options.ReceiptRequested},
		{`,"dry_run":true`, m.Options.DryRun},
	} {
		if o.on {
			dst = append(dst, o.field...)
		}
	}
	if len(m.Data) > 0 {
		dst = append(append(dst, `,"data":`...), m.Data...)
	}
	if len(m.Notification) > 0 {
		dst = append(append(dst, `,"notification":`...), m.Notification...)
	}
	return append(dst, '}')
}

// AppendAck appends the ack for an upstream or a receipt. to is its From, and
// messageID is its whole id. Spec: ccs-protocol.md §5, §6.
func AppendAck(dst []byte, to, messageID Name) []byte {
	dst = appendName(append(dst, `{"to":`...), to)
	dst = appendName(append(dst, `,"message_id":`...), messageID)
	return append(dst, `,"message_type":"ack"}`...)
}

func appendField(dst []byte, before, value string) []byte {
	return appendString(append(dst, before...), value)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string that is also plain XML text. Control
// characters, markup, U+FFFE and U+FFFF become \u escapes.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20 || c == '<' || c == '>' || c == '&':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == 0xFFFE || r == 0xFFFF {
				dst = append(dst, `\uff`...)
				dst = append(dst, 'f', hexDigits[r&15])
			} else {
				dst = utf8.AppendRune(dst, r)
			}
			i += n
			continue
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}
