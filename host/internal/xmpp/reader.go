// Package xmpp is the part of XMPP (RFC 6120) that a CCS session needs, over
// any io.ReadWriter: framing, parsing, login, and the few things that are
// written. It serves P10: no bytes from the peer make it hold more than one
// stanza of the agreed size, hang, or read one stanza as another. It starts no
// goroutine and knows no deadline; a [Reader] belongs to one goroutine. The
// bytes of the steady state are scanned in place, login and odd stanzas go
// through encoding/xml. Start at [Reader.Next] and [Login].
package xmpp

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Namespaces that are understood.
const (
	nsStream  = "http://etherx.jabber.org/streams"
	nsStreams = "urn:ietf:params:xml:ns:xmpp-streams" // conditions of stream errors
	nsSASL    = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind    = "urn:ietf:params:xml:ns:xmpp-bind"
	nsClient  = "jabber:client"
	nsStanzas = "urn:ietf:params:xml:ns:xmpp-stanzas" // conditions of stanza errors
	nsPing    = "urn:xmpp:ping"
	nsGCM     = "google:mobile:data"
)

const (
	firstBuffer = 16 << 10 // one TLS record; more is given back after a larger stanza
	maxHeader   = 8 << 10
	noProgress  = 100 // empty reads in a row before giving up, as bufio does
)

// Header is the peer's stream header. Every field may be empty; CCS mirrors
// From and gives an ID (ccs-protocol.md §1.2).
type Header struct{ ID, From, To, Version string }

// Reader cuts the peer's bytes into top-level elements. One Reader lives as
// long as its connection, through the stream restart too, so no byte is lost
// between two of them.
//
// An error of the underlying reader (a deadline, say) leaves everything as it
// was: the next call goes on where this one stopped. After a [Fault] or the end
// of the stream every call gives the same error.
type Reader struct {
	// Hide takes out of what the peer says in an error what is not to be shown,
	// before any of it is cut; nil: nothing is.
	Hide func(string) string

	r   io.Reader
	max int

	buf            []byte
	start, at, end int     // the element begins at start, is scanned up to at; bytes are there up to end
	scan           scanner // of the element that is being read
	inside         bool    // an element is being read
	skip           bool    // and dropped as it comes
	dropped        int64   // bytes of it that are gone already
	spaces         uint64
	over           error // sticky
	tolerant       bool
	lost           lost   // of the element that is being read, once it is broken
	head           []byte // how it begins, when that is dropped already
	elements       uint64 // begun so far
	came, doubt    int64  // bytes read so far, and up to where a section may have no end

	root     []byte    // the peer's header as it came: namespaces for the slow path
	tag      string    // its tag's name
	name     uint32    // the hash of that
	prefixes []binding // that it declares
	from, to string    // last seen; saves an allocation a stanza
	text     []byte    // of the stanza that was parsed last, when it is not as it came
}

// binding is one namespace declaration; prefix "" is the default namespace.
type binding struct{ prefix, uri string }

// NewReader reads from r. No element of more than maxStanza bytes is held.
func NewReader(r io.Reader, maxStanza int) *Reader {
	return &Reader{
		r: r, max: maxStanza,
		tag:      "stream:stream",
		name:     hashName([]byte("stream:stream")),
		root:     []byte(`<stream:stream xmlns="` + nsClient + `" xmlns:stream="` + nsStream + `">`),
		prefixes: []binding{{"", nsClient}, {"stream", nsStream}},
	}
}

// Buffered is how many bytes have been read and not returned yet. 0 means that
// Next has to wait for the peer: a good moment to flush what was written.
func (r *Reader) Buffered() int { return r.end - r.at }

// Spaces counts the whitespace bytes between stanzas, the peer's keepalives
// among them. Spec: RFC 6120 §4.6.1.
func (r *Reader) Spaces() uint64 { return r.spaces }

// Next returns the next whole top-level element, not yet checked beyond its
// structure: see [Reader.Parse]. The bytes are valid until the next call.
//
// It fails with [ErrClosed], with io.ErrUnexpectedEOF when the connection ends
// without a word, with a [Fault], with what the connection's Read fails with,
// or with [*TooLargeError] or [*BrokenError], after which the stream goes on.
func (r *Reader) Next() ([]byte, error) {
	for r.over == nil {
		if !r.inside {
			if err := r.between(); err != nil {
				return nil, err
			}
		}
		if r.inside && r.at < r.end {
			element, err := r.advance()
			if element != nil || err != nil {
				return element, err
			}
		}
		if err := r.fill(); err != nil {
			if r.lost.fault != nil && !r.lost.plain && errors.Is(err, io.ErrUnexpectedEOF) {
				r.Resync() // no more comes
				continue
			}
			return nil, err
		}
	}
	return nil, r.over
}

// between goes over the whitespace between two elements.
func (r *Reader) between() error {
	for r.at < r.end && isSpace(r.buf[r.at]) {
		r.at++
		r.spaces++
	}
	r.start = r.at
	switch b := r.buf[r.at:r.end]; {
	case len(b) == 0:
	case b[0] != '<':
		return r.junk(&SyntaxError{What: fmt.Sprintf("text between stanzas: %s", r.peek())})
	case !r.tolerant:
		r.begin()
	case len(b) == 1: // there is more to come
	case b[1] == '!' || b[1] == '?':
		return r.junk(&RestrictedError{fmt.Sprintf("what is no element, between stanzas: %s", r.peek())})
	case b[1] != '/' && nameEnds(b[1]):
		return r.junk(&SyntaxError{What: "a '<' that starts no tag"})
	default:
		r.begin()
	}
	return nil
}

func (r *Reader) begin() {
	r.inside, r.skip, r.dropped, r.scan, r.lost = true, false, 0, scanner{flat: r.tolerant}, lost{}
	r.elements++
}

// advance scans what is there of an element. It returns nil and no error when there is more to come.
func (r *Reader) advance() ([]byte, error) {
	if r.lost.fault != nil {
		return nil, r.seek()
	}
	n, done, err := r.scan.scan(r.buf[r.at:r.end])
	r.at += n
	switch {
	case err == nil:
	case !r.tolerant || r.scan.outside():
		return nil, r.junk(err)
	default:
		r.lose(err)
		return nil, r.seek()
	}
	size := r.dropped + int64(r.at-r.start)
	odd := r.scan.deep || r.scan.wide
	if odd && !r.tolerant || size > int64(r.max) {
		r.drop()
	}
	if !done {
		if keep := 0; r.skip {
			if r.tolerant { // how it ends, and where the next begins if it has no end
				keep = min(r.at-r.start, r.kept())
			}
			r.dropped, r.start = size-int64(keep), r.at-keep
		}
		return nil, nil
	}
	r.inside = false
	element := r.buf[r.start:r.at]
	switch {
	case r.scan.closed && r.scan.name != r.name:
		err := &SyntaxError{What: fmt.Sprintf("%.40q where only the stream can end", element)}
		if !r.tolerant {
			r.over = err
			return nil, err
		}
		return nil, &BrokenError{Err: err, Raw: element, Between: true}
	case r.scan.closed && r.tolerant && len(skipSpace(r.buf[r.at:r.end])) > 0:
		return nil, &BrokenError{Err: &SyntaxError{What: "a stream's end, and more behind it"}, Raw: element, Between: true}
	case r.scan.closed:
		r.over = ErrClosed
		return nil, r.over
	case r.skip || odd && !r.tolerant:
		return nil, r.tooLarge(size, element)
	case odd:
		return nil, &BrokenError{Err: &TooLargeError{Size: size, Max: r.max, Deep: r.scan.deep, Wide: r.scan.wide}, Raw: element}
	}
	return element, nil
}

// fill reads once. Invariant: the buffer never grows past one element of the
// largest size, because a larger one is dropped as it comes.
func (r *Reader) fill() error {
	if r.start == r.end {
		r.start, r.at, r.end = 0, 0, 0
		if r.buf == nil || len(r.buf) > 4*firstBuffer {
			r.buf = make([]byte, firstBuffer)
		}
	}
	if r.end == len(r.buf) {
		buf := r.buf
		if r.start < len(r.buf)/2 {
			buf = make([]byte, 2*len(r.buf))
		}
		r.end = copy(buf, r.buf[r.start:r.end])
		r.at -= r.start
		r.start, r.buf = 0, buf
	}
	for range noProgress {
		n, err := r.r.Read(r.buf[r.end:])
		r.end += n
		r.came += int64(n)
		switch {
		case n > 0:
			return nil // an error comes again at the next read
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// Header reads the XML declaration, if there is one, and the peer's
// <stream:stream …>: first on a connection, and once more after SASL. It fails
// as [Reader.Next] does. Spec: RFC 6120 §4.2, §4.7, §11.5.
func (r *Reader) Header() (Header, error) {
	for r.over == nil {
		for r.at < r.end && isSpace(r.buf[r.at]) {
			r.at++
		}
		r.start = r.at
		n, err := headerEnd(r.buf[r.at:r.end])
		switch {
		case err != nil:
			r.over = err
		case n > 0:
			r.root = bytes.Clone(r.buf[r.at : r.at+n])
			r.at += n
			r.start = r.at
			h, err := r.readHeader()
			r.over = err
			return h, err
		case r.end-r.at > maxHeader:
			r.over = &SyntaxError{What: "a stream header without end", condition: "policy-violation"}
		default:
			if err := r.fill(); err != nil {
				return Header{}, err
			}
		}
	}
	return Header{}, r.over
}

// headerEnd is the length of declaration and start tag together; 0 when there is more to come.
func headerEnd(b []byte) (int, error) {
	const declaration = "<?xml"
	n := 0
	if bytes.HasPrefix(b, []byte(declaration)) && len(b) > len(declaration) && isSpace(b[len(declaration)]) {
		i := bytes.Index(b, []byte("?>"))
		if i < 0 {
			return 0, nil
		}
		n = i + 2
		for n < len(b) && isSpace(b[n]) {
			n++
		}
	}
	for i := n; i < len(b); i++ {
		switch c := b[i]; {
		case i == n && c != '<':
			return 0, &SyntaxError{What: fmt.Sprintf("no stream header but %.40q: is this an XMPP port?", b[n:])}
		case n == 0 && i == 1 && len(b) <= len(declaration) && bytes.HasPrefix([]byte(declaration), b):
			return 0, nil // a declaration may still come of it
		case i == n+1 && (c == '!' || c == '?'):
			return 0, &RestrictedError{"a comment, DTD or processing instruction before the stream header"}
		case c == '"' || c == '\'':
			j := bytes.IndexByte(b[i+1:], c)
			if j < 0 {
				return 0, nil
			}
			i += j + 1
		case c == '>':
			return i + 1, nil
		}
	}
	return 0, nil
}

// readHeader takes r.root apart and keeps the namespaces that it declares.
func (r *Reader) readHeader() (Header, error) {
	if bytes.HasSuffix(r.root, []byte("/>")) {
		return Header{}, &SyntaxError{What: "a stream header that is its own end"}
	}
	d := xml.NewDecoder(bytes.NewReader(r.root))
	for {
		tok, err := d.Token()
		if err != nil {
			return Header{}, &SyntaxError{What: "stream header: " + err.Error()}
		}
		root, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if want := (xml.Name{Space: nsStream, Local: "stream"}); root.Name != want {
			return Header{}, &SyntaxError{condition: "invalid-namespace",
				What: fmt.Sprintf("the first element is %q of namespace %q, not a stream", root.Name.Local, root.Name.Space)}
		}
		tag := r.root[bytes.LastIndexByte(r.root, '<')+1:]
		tag = tag[:bytes.IndexFunc(tag, func(c rune) bool { return c < utf8.RuneSelf && nameEnds(byte(c)) })]
		r.tag, r.name = string(tag), hashName(tag)
		var h Header
		r.prefixes = r.prefixes[:0]
		for _, a := range root.Attr {
			switch {
			case a.Name.Space == "xmlns":
				r.prefixes = append(r.prefixes, binding{a.Name.Local, a.Value})
			case a.Name.Space != "":
			case a.Name.Local == "xmlns":
				r.prefixes = append(r.prefixes, binding{"", a.Value})
			case a.Name.Local == "id":
				h.ID = a.Value
			case a.Name.Local == "from":
				h.From = a.Value
			case a.Name.Local == "to":
				h.To = a.Value
			case a.Name.Local == "version":
				h.Version = a.Value
			}
		}
		return h, nil
	}
}

// peek shows the next few bytes for an error.
func (r *Reader) peek() string {
	return fmt.Sprintf("%.40q", r.buf[r.at:r.end])
}
