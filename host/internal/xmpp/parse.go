package xmpp

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
)

// Kind says what a top-level element is.
type Kind uint8

// The kinds of element. Other is an unknown element. It is not an error, but it
// can't be handled.
const (
	Other Kind = iota
	Message
	IQ
	Presence
	Features
	Success
	Failure
)

// Stanza is one parsed top-level element. GCM and More are valid until the next
// element is read or parsed. Everything else is a copy.
type Stanza struct {
	Kind Kind
	Name xml.Name

	ID, Type, From, To string // stanzas

	GCM  []byte       // message: the payload, unescaped; nil without a gcm element
	More [][]byte     // message: the payloads of further gcm elements
	Odd  string       // message: how its gcm element differs from what CCS writes; usually ""
	Err  *StanzaError // stanza of type "error"

	Ping bool  // iq: has a ping element (XEP-0199)
	Bind *Bind // iq, features: nil without a bind element

	Mechanisms []string   // features: how to log in
	Denied     *AuthError // failure: why
}

// Bind is resource binding (RFC 6120 §7): Resource in the request, JID in the result.
type Bind struct{ Resource, JID string }

// Parse checks and reads an element that [Reader.Next] returned. It does not
// change the element. It fails with a [Fault]. If the element is a stream error,
// it fails with that [*StreamError].
//
// Names are compared by namespace, never by prefix (ccs-protocol.md §2).
func (r *Reader) Parse(element []byte) (Stanza, error) {
	if s, ok, err := r.parseFast(element); ok {
		return s, err
	}
	return r.parseAny(element)
}

// node is any element. Its depth is bounded by MaxDepth.
type node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    []byte     `xml:",chardata"`
	Nodes   []node     `xml:",any"`
}

// parseAny is the slow path. encoding/xml first reads the peer's own header, for
// the namespaces. It accepts some ill-formed XML, so check looks for that.
func (r *Reader) parseAny(element []byte) (Stanza, error) {
	if err := checkReferences(element); err != nil {
		return Stanza{}, err
	}
	d := xml.NewDecoder(io.MultiReader(bytes.NewReader(r.root), bytes.NewReader(element)))
	var n node
	for first := true; ; {
		tok, err := d.Token()
		if err != nil {
			return Stanza{}, &SyntaxError{What: err.Error()}
		}
		start, ok := tok.(xml.StartElement)
		if ok && !first {
			if err := d.DecodeElement(&n, &start); err != nil {
				return Stanza{}, &SyntaxError{What: err.Error()}
			}
			break
		}
		first = first && !ok
	}
	if d.InputOffset() != int64(len(r.root)+len(element)) {
		return Stanza{}, &SyntaxError{What: "more text after the element's end"}
	}
	scope := map[string]int{}
	for _, b := range r.prefixes {
		scope[b.uri]++
	}
	if err := n.check(scope); err != nil {
		return Stanza{}, err
	}
	s, err := n.stanza()
	if r.Hide != nil {
		s.hide(err, r.Hide)
	}
	return s, err
}

// hide applies hide to all texts of the peer in err and s that an error may show.
func (s *Stanza) hide(err error, hide func(string) string) {
	var words []*string
	if ended, ok := err.(*StreamError); ok { //nolint:errorlint // stanza does not wrap it
		words = append(words, &ended.Condition, &ended.Text, &ended.Host)
	}
	if s.Denied != nil {
		words = append(words, &s.Denied.Condition, &s.Denied.Text)
	}
	if s.Err != nil {
		words = append(words, &s.Err.Code, &s.Err.Type, &s.Err.Condition, &s.Err.Text)
	}
	for i := range s.Mechanisms {
		words = append(words, &s.Mechanisms[i])
	}
	for _, w := range words {
		*w = hide(*w)
	}
}

// checkReferences checks each reference outside CDATA.
func checkReferences(b []byte) error {
	for {
		i := bytes.IndexByte(b, '&')
		if j := bytes.Index(b, []byte("<"+cdataOpen)); j >= 0 && (i < 0 || j < i) {
			k := bytes.Index(b[j:], []byte("]]>"))
			if k < 0 {
				return nil
			}
			b = b[j+k+3:]
			continue
		}
		if i < 0 {
			return nil
		}
		b = b[i:]
		_, n, err := reference(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
}

// check finds what encoding/xml accepts: prefixes that are not declared, and
// attributes that are there twice. scope counts, for each namespace, the
// declarations around n. When check returns, scope is as it was.
// Spec: XML 1.0 §3.1 "Unique Att Spec"; Namespaces in XML §5.
func (n *node) check(scope map[string]int) error {
	for i, a := range n.Attrs {
		for _, b := range n.Attrs[:i] { // at most MaxAttrs
			if a.Name == b.Name {
				return &SyntaxError{What: "attribute " + a.Name.Local + " is there twice"}
			}
		}
		if declares(a) {
			scope[a.Value]++
			defer func() { scope[a.Value]-- }()
		}
	}
	for _, a := range n.Attrs {
		if err := declared(scope, a.Name.Space); err != nil {
			return err
		}
	}
	if err := declared(scope, n.XMLName.Space); err != nil {
		return err
	}
	for i := range n.Nodes {
		if err := n.Nodes[i].check(scope); err != nil {
			return err
		}
	}
	return nil
}

// declares reports whether a is a namespace declaration.
func declares(a xml.Attr) bool {
	return a.Name.Space == "xmlns" || a.Name == (xml.Name{Local: "xmlns"})
}

// declared checks that space is a declared namespace. If a prefix is not declared,
// encoding/xml gives the prefix itself as its namespace.
func declared(scope map[string]int, space string) error {
	switch {
	case space == "", space == "xmlns", space == "http://www.w3.org/XML/1998/namespace", scope[space] > 0:
		return nil
	}
	return &SyntaxError{What: "prefix " + space + " is not declared", condition: "bad-namespace-prefix"}
}

func (n *node) is(space, local string) bool {
	return n.XMLName.Space == space && n.XMLName.Local == local
}

// child is the first child of that name, or nil.
func (n *node) child(space, local string) *node {
	for i := range n.Nodes {
		if n.Nodes[i].is(space, local) {
			return &n.Nodes[i]
		}
	}
	return nil
}

func (n *node) attr(local string) string {
	for _, a := range n.Attrs {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value
		}
	}
	return ""
}

func (n *node) text() string { return strings.TrimSpace(string(n.Text)) }

// condition is the name of the first child that is not <text/>, and the text of
// the <text/>. Servers often write wrong namespaces here, so they don't count.
func (n *node) condition() (name, text string) {
	for i := range n.Nodes {
		switch c := &n.Nodes[i]; {
		case c.XMLName.Local == "text":
			text = c.text()
		case name == "":
			name = c.XMLName.Local
		}
	}
	return name, text
}

func (n *node) stanza() (Stanza, error) {
	s := Stanza{Name: n.XMLName}
	switch {
	case n.is(nsStream, "error"):
		e := &StreamError{}
		e.Condition, e.Text = n.condition()
		if c := n.child(nsStreams, "see-other-host"); c != nil {
			e.Host = c.text()
		}
		return s, e
	case n.is(nsStream, "features"):
		s.Kind = Features
		if m := n.child(nsSASL, "mechanisms"); m != nil {
			for i := range m.Nodes {
				s.Mechanisms = append(s.Mechanisms, m.Nodes[i].text())
			}
		}
		s.Bind = n.bind()
	case n.is(nsSASL, "success"):
		s.Kind = Success
	case n.is(nsSASL, "failure"):
		s.Kind = Failure
		s.Denied = &AuthError{}
		s.Denied.Condition, s.Denied.Text = n.condition()
	case n.is(nsClient, "message"):
		s.Kind = Message
		n.stanzaAttrs(&s)
		for i := range n.Nodes {
			g := &n.Nodes[i]
			if !g.is(nsGCM, "gcm") {
				continue
			}
			if len(g.Nodes) > 0 {
				s.Odd = "an element inside the payload: " + clip(g.Nodes[0].XMLName.Local)
			}
			if g.Text == nil {
				g.Text = []byte{}
			}
			if s.GCM == nil {
				s.GCM = g.Text
			} else {
				s.More = append(s.More, g.Text)
			}
		}
	case n.is(nsClient, "iq"):
		s.Kind = IQ
		n.stanzaAttrs(&s)
		s.Ping = n.child(nsPing, "ping") != nil
		s.Bind = n.bind()
	case n.is(nsClient, "presence"):
		s.Kind = Presence
		n.stanzaAttrs(&s)
	}
	return s, nil
}

func (n *node) stanzaAttrs(s *Stanza) {
	s.ID, s.Type, s.From, s.To = n.attr("id"), n.attr("type"), n.attr("from"), n.attr("to")
	if s.Type != "error" {
		return
	}
	s.Err = &StanzaError{}
	if e := n.child(nsClient, "error"); e != nil {
		s.Err.Code, s.Err.Type = e.attr("code"), e.attr("type")
		s.Err.Condition, s.Err.Text = e.condition()
	}
}

func (n *node) bind() *Bind {
	b := n.child(nsBind, "bind")
	if b == nil {
		return nil
	}
	out := &Bind{}
	if c := b.child(nsBind, "resource"); c != nil {
		out.Resource = c.text()
	}
	if c := b.child(nsBind, "jid"); c != nil {
		out.JID = c.text()
	}
	return out
}
