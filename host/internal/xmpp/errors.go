package xmpp

import (
	"errors"
	"fmt"
	"strings"
)

// ErrClosed means that the peer ended the stream with </stream:stream>. Answer
// with [CloseTag], then close the connection (RFC 6120 §4.4).
var ErrClosed = errors.New("the peer closed the stream")

// Fault is an error in the peer's bytes that breaks the stream: [*SyntaxError] or
// [*RestrictedError]. Nothing can be read after a Fault, except after
// [Reader.Tolerate].
type Fault interface {
	error
	Condition() string // of the stream error that answers it, see [AppendStreamError]
}

// SyntaxError is XML that is not well-formed, or not an XMPP stream.
type SyntaxError struct {
	What      string
	condition string // "" means not-well-formed
}

func (e *SyntaxError) Error() string { return "the peer's XML is broken: " + e.What }

// Condition is the stream error that answers it.
// Spec: RFC 6120 §4.9.3.13 not-well-formed, §4.9.3.10 invalid-namespace.
func (e *SyntaxError) Condition() string {
	if e.condition == "" {
		return "not-well-formed"
	}
	return e.condition
}

// RestrictedError is XML that XMPP forbids: a comment, a processing instruction,
// a DTD, or an entity that is not one of XML's five predefined ones.
type RestrictedError struct{ What string }

func (e *RestrictedError) Error() string { return "the peer sent XML that XMPP forbids: " + e.What }

// Condition is the stream error that answers it. Spec: RFC 6120 §4.9.3.18, §11.1.
func (e *RestrictedError) Condition() string { return "restricted-xml" }

// TooLargeError is a stanza over the limit, or nested deeper than [MaxDepth], or
// with a tag of more than [MaxAttrs] attributes. It was skipped to its end and not
// kept in memory. The stream goes on.
type TooLargeError struct {
	Size int64 // bytes of the whole stanza
	Max  int
	Deep bool // nested too deep
	Wide bool // a tag with too many attributes

	// Head and Tail are its beginning and its end. They are kept only after
	// [Reader.Tolerate], and are valid until the next element is read.
	Head, Tail []byte
}

func (e *TooLargeError) Error() string {
	switch {
	case e.Deep:
		return fmt.Sprintf("skipped a stanza of %d bytes: nested deeper than %d", e.Size, MaxDepth)
	case e.Wide:
		return fmt.Sprintf("skipped a stanza of %d bytes: a tag with more than %d attributes", e.Size, MaxAttrs)
	}
	return fmt.Sprintf("skipped a stanza of %d bytes: the limit is %d", e.Size, e.Max)
}

// BrokenError is broken XML after which the stream goes on: see
// [Reader.Tolerate]. [Salvage] reads what can be read of it.
type BrokenError struct {
	Err     error  // usually a [Fault]
	Raw     []byte // the broken bytes; valid until the next element is read
	Between bool   // the bytes are between two elements, not an element
}

func (e *BrokenError) Error() string { return e.Err.Error() }

func (e *BrokenError) Unwrap() error { return e.Err }

// StreamError is a <stream:error/> from the peer. It ends the stream. Spec: RFC 6120 §4.9.
type StreamError struct {
	Condition, Text string
	Host            string // of see-other-host: the server that the peer names; it is not followed. Spec: RFC 6120 §4.9.3.19
}

func (e *StreamError) Error() string {
	s := "the peer ended the stream: " + describe(e.Condition, e.Text)
	if e.Condition == "conflict" { // Spec: RFC 6120 §4.9.3.3
		s += "; another client logs in as this sender: does a second balhost run with it?"
	}
	if e.Host != "" {
		s += fmt.Sprintf("; it names %s, which is not followed: set the session's address to it, if CCS is there", clip(e.Host))
	}
	return s
}

// ErrNoLogin means that the peer offers no login mechanism. Servers do that while
// they start. The account may be right.
var ErrNoLogin = errors.New("the server offers no way to log in now; it may be starting")

// AuthError is a login that the peer denied, or for which it offers only
// mechanisms that we don't know.
type AuthError struct{ Condition, Text string }

func (e *AuthError) Error() string {
	s := "login denied: " + describe(e.Condition, e.Text)
	if e.Condition == "not-authorized" {
		s += "; check sender_id and server_key"
	}
	return s
}

// Temporary reports that the peer could not check the credentials. They may be
// right, and it makes sense to try again soon. Spec: RFC 6120 §6.5.12.
func (e *AuthError) Temporary() bool { return e.Condition == "temporary-auth-failure" }

// StanzaError is the <error/> of a stanza of type "error". Spec: RFC 6120 §8.3; ccs-protocol.md §4.2.
type StanzaError struct {
	Code      string // CCS's "400", "406"; often ""
	Type      string // modify, cancel, auth, wait
	Condition string // bad-request, not-acceptable …
	Text      string
}

func (e *StanzaError) Error() string {
	s := "stanza error"
	if e.Code != "" {
		s += " " + e.Code
	}
	return s + ": " + describe(e.Condition, e.Text)
}

func describe(condition, text string) string {
	if condition == "" {
		condition = "no condition given"
	}
	if text == "" {
		return condition
	}
	return condition + " (" + clip(text) + ")"
}

// clip shortens a peer's text to about one line.
func clip(s string) string {
	const enough = 300
	if len(s) > enough {
		s = s[:enough] + "…"
	}
	return strings.ToValidUTF8(s, "")
}
