package xmpp

import (
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Credentials are what a login needs. Printing them does not show the password.
type Credentials struct {
	Domain   string // the stream's "to"; CCS: gcm.googleapis.com
	AuthCID  string // who logs in; CCS: SENDER@gcm.googleapis.com, other XMPP servers: the user name alone
	Password string // CCS: the server key
	Resource string // "": the server chooses
}

// String names who logs in, without the password.
func (c Credentials) String() string { return c.AuthCID + " at " + c.Domain }

// GoString is String: the password stays out of %#v too.
func (c Credentials) GoString() string { return c.String() }

// Plain is the response of SASL PLAIN. The password can be read from it.
// Spec: RFC 4616 §2: empty authzid, NUL, authcid, NUL, password.
func (c Credentials) Plain() string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + c.AuthCID + "\x00" + c.Password))
}

// loginNoise is how many unexpected elements are ignored while Login waits for one.
const loginNoise = 16

// Login opens the stream, logs in with PLAIN, opens the stream again and binds a
// resource. rw must be encrypted already: TLS from the first byte, no STARTTLS.
// Bytes after the bind result stay in r. The caller sets the deadlines.
// It returns the address that the server gave. It fails with [*AuthError], with
// [*StreamError], with [*StanzaError] if the server rejects the bind, or as
// [Reader.Next] does.
//
// Servers differ (ccs-protocol.md §1.2), so much is allowed: ids, from and version
// may be missing, and the bind result may lack its id. Login does not send the
// session iq of RFC 3921. Spec: RFC 6120 §4.3, §6.4, §7.6; RFC 4616.
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
	if !slices.ContainsFunc(features.Mechanisms, func(m string) bool { return strings.EqualFold(m, "PLAIN") }) {
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
		return s.Denied
	case s.Kind != Success:
		return &AuthError{Condition: "unexpected " + s.Name.Local, Text: "a login with PLAIN has no such step"}
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

// open writes our stream header, and reads the server's header and features.
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

// await reads up to the wanted element and ignores a few others. A message is an
// error, because no message can come before the bind result.
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
			return Stanza{}, &SyntaxError{What: "a message before the login has ended", condition: "not-authorized"}
		}
	}
	return Stanza{}, &SyntaxError{What: "no answer to the login, only other elements", condition: "policy-violation"}
}
