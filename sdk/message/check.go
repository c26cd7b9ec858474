package message

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Limits of a downstream, checked by [Downstream.Checked]. The size of a payload is
// the number of UTF-8 bytes in the keys and values of Data and Notification, as FCM
// counts it (ccs-protocol.md §3.1, fcm-v1-and-gateway.md A3). MaxID, MaxContext and
// MaxText are limits of balhost.
const (
	MaxPayload      = 4096                // bytes, to a device
	MaxTopicPayload = 2048                // bytes, to a topic or a condition
	MaxTTL          = 28 * 24 * time.Hour // FCM's default as well
	MaxID           = 255                 // bytes of a message id, a group or a collapse key
	MaxTarget       = 4096                // bytes of a token, an installation id, a topic's name or a condition
	MaxContext      = 64 << 10            // bytes
	MaxText         = 32 << 10            // bytes of JSON text, of Data, Notification, Android, APNS and Webpush each
)

// The bounds of NotBefore.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Problem is one reason why FCM would refuse a message.
type Problem struct {
	Field string // named as on the wire: "to", "data.count", "options.ttl"
	Wrong string // what is wrong
	Mend  string // what to do
}

func (p *Problem) Error() string { return p.Field + " " + p.Wrong + ": " + p.Mend }

// Checked returns d with Data and Notification as JSON. If no transport could carry d,
// it returns all reasons in one error, joined by errors.Join; each is a [*Problem]. A
// json.RawMessage in d keeps its bytes, except for white space around it.
//
// MessageID may be "": the host then makes one. Data and Notification may both be
// empty: the device still gets a message. Checked does not know whether the target and
// the session exist. What one transport cannot carry, [Checked.Fits] says.
// Spec: ccs-protocol.md §3.1, §3.2; fcm-v1-and-gateway.md A1 to A3.
func (d Downstream) Checked() (Checked, error) {
	var c checker
	c.target(d.To)
	d.Options = c.options(d.Options)
	if d.MessageID != "" {
		c.id("message_id", d.MessageID)
	}
	if d.Group != "" {
		c.id("group", d.Group)
	}
	if d.Replace != "" {
		c.id("replace", d.Replace)
	}
	if len(d.Context) > MaxContext {
		c.add("context", fmt.Sprintf("has %d bytes", len(d.Context)), fmt.Sprintf("use at most %d, and keep the rest in the plugin's state", MaxContext))
	} else if len(d.Context) > 0 && !json.Valid(d.Context) {
		c.add("context", "is not JSON", "marshal it")
	}
	notBefore := c.notBefore(d.NotBefore)
	data, n := c.payload("data", d.Data, c.dataField)
	notification, m := c.payload("notification", d.Notification, c.notificationField)
	if limit, to := d.To.limit(); n+m > limit {
		c.add("data and notification", "have "+sizeOf(n+m), tooMuch(limit, to))
	}
	if err := c.all(); err != nil {
		return Checked{}, err
	}
	return Checked{
		To: d.To, Data: data, Notification: notification, Options: d.Options,
		Group: d.Group, MessageID: d.MessageID, Session: d.Session, Context: d.Context, NotBefore: notBefore, Replace: d.Replace,
	}, nil
}

// CheckID says what is wrong with a message id that a plugin has chosen. It must have
// 1 to [MaxID] bytes, in UTF-8, without control characters.
func CheckID(id string) error {
	var c checker
	c.id("message_id", id)
	return c.all()
}

// CheckText finds what encoding/json would replace in a string without an error:
// bytes that are not UTF-8, and half a surrogate pair. The text need not be valid
// JSON. The error calls it field.
func CheckText(field string, text []byte) error {
	var c checker
	c.decodable(field, text)
	return c.all()
}

func sizeOf(size int) string { return fmt.Sprintf("%d bytes of keys and values", size) }

func tooMuch(limit int, to string) string {
	return fmt.Sprintf("FCM takes at most %d %s; send less, or an address from which the app can fetch it", limit, to)
}

// maxProblems is how many problems one error names.
const maxProblems = 50

// checker collects what is wrong.
type checker struct {
	problems []error
	more     int // than maxProblems
}

func (c *checker) add(field, wrong, mend string) {
	if len(c.problems) == maxProblems {
		c.more++
		return
	}
	c.problems = append(c.problems, &Problem{field, wrong, mend})
}

// all is all that is wrong, or nil.
func (c *checker) all() error {
	if c.more > 0 {
		c.problems = append(c.problems, &Problem{"message", fmt.Sprintf("has %d more problems", c.more), "correct these first"})
	}
	return errors.Join(c.problems...)
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

// text refuses characters that a log line or XML cannot carry.
func (c *checker) text(field, s string) {
	if !utf8.ValidString(s) {
		c.add(field, "is not UTF-8", "encode it, base64 for bytes")
		return
	}
	for i, r := range s {
		if r < 0x20 || r == 0x7F || isNoncharacter(r) {
			c.add(field, fmt.Sprintf("has %U at byte %d, which nobody can read", r, i), "leave it out")
			return
		}
	}
}

func (c *checker) options(o Options) Options {
	if o.TTL != nil {
		switch {
		case *o.TTL < 0 || *o.TTL > MaxTTL:
			c.add("options.ttl", "is "+seconds(*o.TTL), "use 0 (now or never) to 2419200s (four weeks), or leave it unset for four weeks")
		case *o.TTL%time.Second != 0:
			c.add("options.ttl", "is "+seconds(*o.TTL), "use whole seconds; round it")
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
	o.Android = c.block("options.android", o.Android)
	o.APNS = c.block("options.apns", o.APNS)
	o.Webpush = c.block("options.webpush", o.Webpush)
	return o
}

// notBefore rounds t up to whole milliseconds, as the wire has them. The bounds find a
// time in the wrong unit: in seconds it would be in 1970, in microseconds far away.
func (c *checker) notBefore(t time.Time) time.Time {
	switch {
	case t.IsZero():
		return t
	case t.Before(earliest) || t.After(latest):
		c.add("not_before", "is "+t.UTC().Format(time.RFC3339), "use a time from 2000 to 2200, on the wire in milliseconds since 1970; leave it unset to send at once")
		return t
	}
	return time.UnixMilli(t.Add(time.Millisecond - 1).UnixMilli()).UTC()
}

// seconds writes d in seconds: "600s".
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}
