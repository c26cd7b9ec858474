package ccssim

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"balhost/host/internal/xmpp"
)

// login answers the stream header, PLAIN, the second stream header and the bind.
// Spec: ccs-protocol.md §1.2.
func (c *conn) login() error {
	domain, err := c.openStream(`<mechanisms xmlns="` + nsSASL + `"><mechanism>X-OAUTH2</mechanism><mechanism>X-GOOGLE-TOKEN</mechanism><mechanism>PLAIN</mechanism></mechanisms>`)
	if err != nil {
		return err
	}
	element, err := c.loginElement()
	if err != nil {
		return err
	}
	cid, err := c.authenticate(element)
	if err != nil {
		c.srv.mu.Lock()
		c.srv.counts.Denied++
		c.srv.mu.Unlock()
		c.say(`<failure xmlns="` + nsSASL + `"><not-authorized/></failure>` + xmpp.CloseTag)
		c.rw.Close()
		return err
	}
	if err := c.say(`<success xmlns="` + nsSASL + `"/>`); err != nil {
		return err
	}
	if _, err := c.openStream(`<bind xmlns="` + nsBind + `"/><session xmlns="` + nsSession + `"/>`); err != nil {
		return err
	}
	for { // until the bind
		if element, err = c.loginElement(); err != nil {
			return err
		}
		st, err := c.r.Parse(element)
		switch {
		case err != nil:
			return c.failLogin("invalid-xml", err)
		case st.Kind != xmpp.IQ && st.Kind != xmpp.Presence:
			return c.failLogin("not-authorized", fmt.Errorf("%s before the bind", st.Name.Local))
		case st.Bind == nil:
			continue
		}
		resource := st.Bind.Resource
		if resource == "" {
			resource = fmt.Sprintf("%08X", c.random())
		}
		if !strings.Contains(cid, "@") {
			cid += "@" + domain
		}
		c.jid = cid + "/" + resource
		c.head = upstreamHead(c.jid)
		// The connection must be bound before the client can read the result.
		if !c.bind([]byte(`<iq type="result" id="` + escape(st.ID) + `"><bind xmlns="` + nsBind + `"><jid>` + escape(c.jid) + `</jid></bind></iq>`)) {
			return c.failLogin("policy-violation", fmt.Errorf("%s has %d connections already", cid, c.srv.opts.Connections))
		}
		return nil
	}
}

// openStream answers a stream header. The answer's "from" is the client's "to".
func (c *conn) openStream(features string) (domain string, err error) {
	h, err := c.r.Header()
	if err != nil {
		return "", c.loginError(err)
	}
	domain = h.To
	if domain == "" {
		domain = gcmDomain
	}
	return domain, c.say(fmt.Sprintf(`<stream:stream from="%s" id="%016X" version="1.0" xmlns:stream="http://etherx.jabber.org/streams" xmlns="jabber:client"><stream:features>%s</stream:features>`,
		escape(domain), c.random(), features))
}

func (c *conn) loginElement() ([]byte, error) {
	element, err := c.r.Next()
	if err != nil {
		return nil, c.loginError(err)
	}
	c.srv.mu.Lock()
	c.srv.transcript.add(time.Now(), c.id, false, element)
	c.srv.mu.Unlock()
	return element, nil
}

// authenticate checks PLAIN's "authzid NUL authcid NUL password", and sets acct.
// The authcid is SENDER at one of CCS's two domains, or SENDER alone.
func (c *conn) authenticate(element []byte) (cid string, err error) {
	var auth struct {
		XMLName   xml.Name `xml:"urn:ietf:params:xml:ns:xmpp-sasl auth"`
		Mechanism string   `xml:"mechanism,attr"`
		Text      string   `xml:",chardata"`
	}
	if err := xml.Unmarshal(element, &auth); err != nil {
		return "", fmt.Errorf("login: %w", err)
	}
	if auth.Mechanism != "PLAIN" {
		return "", fmt.Errorf("login with mechanism %q: want PLAIN", auth.Mechanism)
	}
	blob, err := base64.StdEncoding.DecodeString(strings.TrimSpace(auth.Text))
	if err != nil {
		return "", fmt.Errorf("login: PLAIN's text is not base64: %w", err)
	}
	parts := bytes.Split(blob, []byte{0})
	if len(parts) != 3 {
		return "", fmt.Errorf("login: PLAIN has %d parts, not 3", len(parts))
	}
	cid = string(parts[1])
	sender, domain, qualified := strings.Cut(cid, "@")
	if qualified && domain != gcmDomain && domain != "fcm.googleapis.com" {
		return "", fmt.Errorf("login as %s: the domain must be %s or fcm.googleapis.com", cid, gcmDomain)
	}
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	a := c.srv.accounts[sender]
	if a == nil {
		return "", fmt.Errorf("login as %s: the simulator has no such sender", cid)
	}
	if a.key != string(parts[2]) {
		return "", fmt.Errorf("login as %s: wrong server key", cid)
	}
	c.acct = a
	return cid, nil
}

// say writes a part of the login.
func (c *conn) say(s string) error {
	_, err := io.WriteString(c.rw, s)
	c.srv.mu.Lock()
	c.srv.transcript.add(time.Now(), c.id, true, []byte(s))
	c.srv.mu.Unlock()
	return err
}

// loginError ends the stream if err is about the client's XML. It returns err.
func (c *conn) loginError(err error) error {
	var fault xmpp.Fault
	if errors.As(err, &fault) {
		return c.failLogin("invalid-xml", err)
	}
	return err
}

// failLogin ends a stream that is not bound yet with a stream error. It returns why.
func (c *conn) failLogin(condition string, why error) error {
	c.srv.mu.Lock()
	c.srv.counts.StreamErrors++
	c.srv.mu.Unlock()
	c.say(string(xmpp.AppendStreamError(nil, condition, "")))
	c.rw.Close()
	return why
}

func (c *conn) random() uint64 {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	return c.srv.rnd.Uint64()
}
