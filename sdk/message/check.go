package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a downstream, checked by [Downstream.Checked]. The size of a payload is
// the number of UTF-8 bytes in the keys and values of Data and Notification, as CCS
// counts it (ccs-protocol.md §3.1). MaxID and MaxContext are limits of balhost.
const (
	MaxPayload      = 4096                // bytes, to a token
	MaxTopicPayload = 2048                // bytes, to a topic or a condition
	MaxTTL          = 28 * 24 * time.Hour // CCS's default as well
	MaxID           = 255                 // bytes of a message id, a group or a collapse key
	MaxTarget       = 4096                // bytes of a token, a topic's name or a condition
	MaxContext      = 64 << 10            // bytes
	maxText         = 32 << 10            // bytes of Data or Notification as JSON text
)

// Problem is one reason why CCS would refuse a message.
type Problem struct {
	Field string // named as on the wire: "to", "data.count", "options.ttl"
	Wrong string // what is wrong
	Mend  string // what to do
}

func (p *Problem) Error() string { return p.Field + " " + p.Wrong + ": " + p.Mend }

// Checked returns d with Data and Notification as JSON. If CCS would refuse d, it
// returns all reasons in one error, joined by errors.Join; each is a [*Problem]. A
// json.RawMessage in Data or Notification keeps its bytes.
//
// MessageID may be "": the host then makes one. Data and Notification may both be
// empty: the device still gets a message. Checked does not know whether the token and
// the session exist. Spec: ccs-protocol.md §3.1, §3.2.
func (d Downstream) Checked() (Checked, error) {
	var c checker
	c.target(d.To)
	c.options(d.Options)
	if d.MessageID != "" {
		c.id("message_id", d.MessageID)
	}
	if d.Group != "" {
		c.id("group", d.Group)
	}
	if len(d.Context) > MaxContext {
		c.add("context", fmt.Sprintf("has %d bytes", len(d.Context)), fmt.Sprintf("use at most %d, and keep the rest in the plugin's state", MaxContext))
	} else if len(d.Context) > 0 && !json.Valid(d.Context) {
		c.add("context", "is not JSON", "marshal it")
	}
	data, n := c.object("data", d.Data, c.dataField)
	notification, m := c.object("notification", d.Notification, c.notificationField)
	limit, where := MaxPayload, "to a token"
	if d.To.Token == "" {
		limit, where = MaxTopicPayload, "to a topic or condition"
	}
	if n+m > limit {
		c.add("data and notification", fmt.Sprintf("have %d bytes of keys and values", n+m),
			fmt.Sprintf("CCS takes at most %d %s; send less, or an address from which the app can fetch it", limit, where))
	}
	if len(c.problems) > 0 {
		return Checked{}, errors.Join(c.problems...)
	}
	return Checked{
		To: d.To, Data: data, Notification: notification, Options: d.Options,
		Group: d.Group, MessageID: d.MessageID, Session: d.Session, Context: d.Context,
	}, nil
}

// CheckID says what is wrong with a message id that a plugin has chosen. It must have
// 1 to [MaxID] bytes, in UTF-8, without control characters.
func CheckID(id string) error {
	var c checker
	c.id("message_id", id)
	return errors.Join(c.problems...)
}

type checker struct{ problems []error }

func (c *checker) add(field, wrong, mend string) {
	c.problems = append(c.problems, &Problem{field, wrong, mend})
}

func (c *checker) id(field, s string) {
	switch {
	case s == "":
		c.add(field, "is empty", "give it a text")
	case len(s) > MaxID:
		c.add(field, fmt.Sprintf("has %d bytes", len(s)), fmt.Sprintf("use at most %d, for example a hash", MaxID))
	default:
		c.text(field, s)
	}
}

// text refuses characters that XML or a log line cannot carry.
func (c *checker) text(field, s string) {
	if !utf8.ValidString(s) {
		c.add(field, "is not UTF-8", "encode it, base64 for bytes")
		return
	}
	for i, r := range s {
		if r < 0x20 || r == 0x7F || r == 0xFFFE || r == 0xFFFF {
			c.add(field, fmt.Sprintf("has %U at byte %d, which XML cannot carry or nobody can read", r, i), "leave it out")
			return
		}
	}
}

func (c *checker) target(t Target) {
	set := 0
	for _, to := range []struct{ field, s string }{
		{"to.token", t.Token}, {"to.topic", t.Topic}, {"to.condition", t.Condition},
	} {
		if to.s == "" {
			continue
		}
		if set++; len(to.s) > MaxTarget {
			c.add(to.field, fmt.Sprintf("has %d bytes", len(to.s)), fmt.Sprintf("use at most %d", MaxTarget))
		} else {
			c.text(to.field, to.s)
		}
	}
	if set != 1 {
		c.add("to", fmt.Sprintf("has %d targets", set), "set exactly one: a token, a topic or a condition")
	}
	if strings.HasPrefix(t.Token, "/topics/") {
		c.add("to.token", "is a topic", "use Topic with the name after /topics/")
	} else if strings.ContainsAny(t.Token, " \t\r\n") {
		c.add("to.token", "has a space", "use the registration token exactly as the app got it")
	}
	if name, ok := strings.CutPrefix(t.Topic, "/topics/"); ok {
		c.add("to.topic", "starts with /topics/", fmt.Sprintf("use the name alone, %q", name))
	} else if t.Topic != "" && !isTopic(t.Topic) {
		c.add("to.topic", fmt.Sprintf("%.40q is not a topic's name", t.Topic), "use only letters, digits and - _ . ~ %")
	}
	if t.Condition != "" {
		if err := checkCondition(t.Condition); err != nil {
			c.add("to.condition", err.Error(), "write it like 'a' in topics && ('b' in topics || 'c' in topics)")
		}
	}
}

func (c *checker) options(o Options) {
	if o.TTL != nil {
		switch {
		case *o.TTL < 0 || *o.TTL > MaxTTL:
			c.add("options.ttl", "is "+seconds(*o.TTL), "use 0 (now or never) to 2419200s (four weeks), or leave it unset for four weeks")
		case *o.TTL%time.Second != 0:
			c.add("options.ttl", "is "+seconds(*o.TTL), "CCS takes whole seconds only; round it")
		}
	}
	switch o.Priority {
	case "", PriorityNormal, PriorityHigh:
	default:
		c.add("options.priority", fmt.Sprintf("is %.20q", o.Priority), `use "normal" or "high", or leave it unset`)
	}
	if o.CollapseKey != "" {
		c.id("options.collapse_key", o.CollapseKey)
	}
	for _, block := range []struct {
		field string
		raw   json.RawMessage
	}{{"options.android", o.Android}, {"options.apns", o.APNS}, {"options.webpush", o.Webpush}} {
		if len(block.raw) > 0 {
			c.add(block.field, "is set, but CCS has no blocks per platform", "leave it out; use Options and Notification")
		}
	}
}

// seconds writes d in seconds: "600s".
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// object marshals v. The result must be an object with string values. It gives each
// field to check. size is the number of bytes in all keys and values.
func (c *checker) object(name string, v any, check func(key, value string)) (raw json.RawMessage, size int) {
	text, ok := v.(json.RawMessage)
	if !ok && v != nil {
		var err error
		if text, err = json.Marshal(v); err != nil {
			c.add(name, fmt.Sprintf("cannot be marshalled (%v)", err), "use a struct or map with string values")
			return nil, 0
		}
		// encoding/json writes this escape where a string was not UTF-8, and nowhere else.
		const replaced = `\ufffd`
		if bytes.Contains(text, []byte(replaced)) && bytes.Contains(bytes.ReplaceAll(text, []byte(`\\`), nil), []byte(replaced)) {
			c.add(name, "has a string that is not UTF-8", "encode it, base64 for bytes; do not cut text inside a character")
			return nil, 0
		}
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || string(text) == "null" {
		return nil, 0
	}
	if len(text) > maxText {
		c.add(name, fmt.Sprintf("is %d bytes of JSON text", len(text)), fmt.Sprintf("use at most %d; leave out white space", maxText))
		return nil, 0
	}
	if !c.carriable(name, text) {
		return nil, 0
	}
	if text[0] != '{' || !json.Valid(text) {
		c.add(name, fmt.Sprintf("is not a JSON object: %.40q", text), "use a struct or map with string values")
		return nil, 0
	}
	var seen []string
	eachField(text, func(key string, value []byte) {
		if slices.Contains(seen, key) {
			c.add(name+"."+key, "is there twice", "leave one out")
		}
		seen = append(seen, key)
		if value[0] != '"' {
			c.add(name+"."+key, "is "+typeName(value), "CCS takes strings only; marshal it into one")
			return
		}
		s := unquote(value)
		size += len(key) + len(s)
		check(key, s)
	})
	return text, size
}

// CheckText finds what encoding/json would replace in a string without an error:
// bytes that are not UTF-8, and half a surrogate pair. The text need not be valid
// JSON. The error calls it field.
func CheckText(field string, text []byte) error {
	var c checker
	c.decodable(field, text)
	return errors.Join(c.problems...)
}

func (c *checker) decodable(name string, text []byte) bool {
	if !utf8.Valid(text) {
		c.add(name, "is not UTF-8", "encode it, base64 for bytes")
		return false
	}
	if i := halfSurrogate(text); i >= 0 { // Spec: ccs-protocol.md §2 rule 3
		c.add(name, fmt.Sprintf("has half a surrogate pair at byte %d, %s", i, text[i:i+len(`\ud800`)]), "write both halves; do not cut text inside a character")
		return false
	}
	return true
}

// carriable reports whether XML can carry this JSON text unchanged. Control
// characters need no check: JSON allows them only as escapes.
func (c *checker) carriable(name string, text []byte) bool {
	if !c.decodable(name, text) {
		return false
	}
	if i := bytes.IndexFunc(text, func(r rune) bool { return r == 0xFFFE || r == 0xFFFF }); i >= 0 {
		c.add(name, fmt.Sprintf("has U+FFFE or U+FFFF at byte %d, which XML cannot carry", i), `leave it out, or write it as \ufffe or \uffff`)
		return false
	}
	return true
}

// dataField refuses keys that CCS reserves (ccs-protocol.md §3.1, data).
func (c *checker) dataField(key, _ string) {
	if key == "from" || key == "message_type" || strings.HasPrefix(key, "google") || strings.HasPrefix(key, "gcm") {
		c.add("data."+key, "is a key that CCS reserves", "choose another; from, message_type, google… and gcm… are reserved")
	}
}

// notificationField checks that arguments are a JSON array in a string
// (ccs-protocol.md §3.2).
func (c *checker) notificationField(key, value string) {
	if !strings.HasSuffix(key, "_loc_args") {
		return
	}
	var args []any
	if err := json.Unmarshal([]byte(value), &args); err != nil || args == nil {
		c.add("notification."+key, fmt.Sprintf("is %.40q, not a JSON array in a string", value), `write it like "[\"Ann\",\"3\"]"`)
	}
}
