package xmpp

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// Credentials are what a login needs. They print without the password.
type Credentials struct {
	Domain   string // the stream's "to"; CCS: gcm.googleapis.com
	AuthCID  string // who logs in; CCS: SENDER@gcm.googleapis.com, a stock server: the bare user
	Password string // CCS: the server key
	Resource string // "" lets the server choose
}

// String names who logs in, without the password.
func (c Credentials) String() string { return c.AuthCID + " at " + c.Domain }

// GoString is String: the password stays out of %#v too.
func (c Credentials) GoString() string { return c.String() }

// Plain is the response of SASL PLAIN: the password in another form.
// Spec: RFC 4616 §2: empty authzid, NUL, authcid, NUL, password.
func (c Credentials) Plain() string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + c.AuthCID + "\x00" + c.Password))
}

// loginNoise is how many unasked elements are passed over while one is waited for.
const loginNoise = 16

// Login opens the stream, logs in by PLAIN, opens it again and binds a
// resource; rw is secured already (TLS from the first byte, no STARTTLS). It
// reads no byte beyond the bind result but into r. Deadlines are the caller's.
// It returns the address that the server gave, and fails with [*AuthError],
// [*StreamError], [*StanzaError] for a bind that was refused, or as
// [Reader.Next] does.
//
// It is lenient where servers differ (ccs-protocol.md §1.2): ids, from and
// version may be missing, the bind result may lack its id, and the session iq
// of RFC 3921 is not sent. Spec: RFC 6120 §4.3, §6.4, §7.6; RFC 4616.
func Login(rw io.ReadWriter, r *Reader, c Credentials) (jid string, err error) {
	l := login{rw, r, c}
	if err := l.authenticate(); err != nil {
		return "", fmt.Errorf("log in as %s: %w", c, err)
	}
	if jid, err = l.bind(); err != nil {
		return "", fmt.Errorf("bind a resource for %s: %w", c, err)
	}
	return jid, nil
}

type login struct {
	rw io.ReadWriter
	r  *Reader
	c  Credentials
}

func (l login) authenticate() error {
	features, err := l.open()
	if err != nil {
		return err
	}
	if len(features.Mechanisms) == 0 {
		return ErrNoLogin
	}
	plain := false
	for _, m := range features.Mechanisms {
		plain = plain || strings.EqualFold(m, "PLAIN")
	}
	if !plain {
		return &AuthError{Condition: "invalid-mechanism", Text: fmt.Sprintf("the server offers %q, not PLAIN", features.Mechanisms)}
	}
	blob := l.c.Plain()
	if _, err := io.WriteString(l.rw, `<auth xmlns="`+nsSASL+`" mechanism="PLAIN">`+blob+`</auth>`); err != nil {
		return err
	}
	s, err := l.await(func(s Stanza) bool { return s.Kind == Success || s.Kind == Failure || s.Name.Space == nsSASL })
	switch {
	case err != nil:
		return err
	case s.Kind == Failure:
		return s.Refusal
	case s.Kind != Success:
		return &AuthError{Condition: "unexpected " + s.Name.Local, Text: "PLAIN has no such step"}
	}
	return nil
}

func (l login) bind() (string, error) {
	if _, err := l.open(); err != nil {
		return "", err
	}
	const id = "bind"
	request := append(appendIQ(nil, "set", id, ""), `><bind xmlns="`+nsBind+`">`...)
	if l.c.Resource != "" {
		var err error
		if request, err = appendEscaped(append(request, `<resource>`...), l.c.Resource, inText); err != nil {
			return "", err
		}
		request = append(request, `</resource>`...)
	}
	if _, err := l.rw.Write(append(request, `</bind></iq>`...)); err != nil {
		return "", err
	}
	s, err := l.await(func(s Stanza) bool {
		return s.Kind == IQ && (s.Type == "result" || s.Type == "error") && (s.ID == id || s.ID == "" || s.Bind != nil)
	})
	switch {
	case err != nil:
		return "", err
	case s.Err != nil:
		return "", s.Err
	case s.Bind == nil || s.Bind.JID == "":
		return l.c.AuthCID + "/" + l.c.Resource, nil
	}
	return s.Bind.JID, nil
}

// open writes our stream header and reads the server's, with its features.
func (l login) open() (Stanza, error) {
	header, err := appendAttr([]byte(`<stream:stream`), "to", l.c.Domain)
	if err != nil {
		return Stanza{}, err
	}
	header = append(header, ` version="1.0" xmlns="`+nsClient+`" xmlns:stream="`+nsStream+`">`...)
	if _, err := l.rw.Write(header); err != nil {
		return Stanza{}, err
	}
	if _, err := l.r.Header(); err != nil {
		return Stanza{}, err
	}
	return l.await(func(s Stanza) bool { return s.Kind == Features })
}

// await reads up to the element that is wanted and passes over a few others. A
// message is none to pass over: before the bind result there can be none.
func (l login) await(wanted func(Stanza) bool) (Stanza, error) {
	for range loginNoise {
		element, err := l.r.Next()
		if err != nil {
			return Stanza{}, err
		}
		s, err := l.r.Parse(element)
		if err != nil {
			return Stanza{}, err
		}
		if wanted(s) {
			return s, nil
		}
		if s.Kind == Message {
			return Stanza{}, &SyntaxError{What: "a message before the login is done", condition: "not-authorized"}
		}
	}
	return Stanza{}, &SyntaxError{What: "the login gets no answer, only other elements", condition: "policy-violation"}
}
