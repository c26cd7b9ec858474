// Package xmpp is the part of XMPP (RFC 6120) that a CCS session needs, over any
// io.ReadWriter: framing, parsing, login, and the few elements that are written.
// It serves P10: whatever bytes the peer sends, the reader keeps at most one
// stanza of the allowed size in memory, does not hang, and never reads one stanza
// as another. The package starts no goroutine and sets no deadline. A [Reader]
// belongs to one goroutine. Usual messages are read in place. The login and
// unusual stanzas go through encoding/xml. Start at [Reader.Next] and [Login].
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
	firstBuffer = 16 << 10 // one TLS record; a much larger buffer is freed after its stanza
	maxHeader   = 8 << 10
	noProgress  = 100 // empty reads in a row before an error, as in bufio
)

// Header is the peer's stream header. Every field may be empty. CCS's From is the
// "to" that we sent, and CCS sets ID (ccs-protocol.md §1.2).
type Header struct{ ID, From, To, Version string }

// Reader cuts the peer's bytes into top-level elements. A connection has one
// Reader for all its life. The Reader stays when the stream restarts after SASL,
// so no byte is lost.
//
// An error of the underlying reader, such as a deadline, loses nothing: the next
// call goes on where this one stopped. After a [Fault] or the end of the stream,
// every call gives the same error.
type Reader struct {
	// Hide removes secrets from a text of the peer's, before the text is shortened
	// and goes into an error. nil removes nothing.
	Hide func(string) string

	r   io.Reader
	max int

	buf            []byte
	start, at, end int     // in buf: the element begins at start; it is scanned up to at; buf has bytes up to end
	scan           scanner // of the element that is being read
	inside         bool    // an element is being read
	skip           bool    // its bytes are dropped
	dropped        int64   // how many of its bytes have been dropped
	spaces         uint64
	over           error // what every further call gives
	tolerant       bool
	broken         endSearch // for the end of the element that is being read, if that is broken
	head           []byte    // its beginning, if that has been dropped
	elements       uint64    // begun so far
	came           int64     // bytes read so far
	plainUntil     int64     // of came: a broken element that begins before this is searched as plain

	root     []byte    // the peer's header as it came: namespaces for the slow path
	tag      string    // the name of the header's tag
	name     uint32    // the hash of tag
	prefixes []binding // that the header declares
	from, to string    // of the last stanza; saves an allocation per stanza
	text     []byte    // memory for unescaped text
}

// binding is one namespace declaration. Prefix "" is the default namespace.
type binding struct{ prefix, uri string }

// NewReader reads from r. It keeps no element of more than maxStanza bytes.
func NewReader(r io.Reader, maxStanza int) *Reader {
	return &Reader{
		r: r, max: maxStanza,
		tag:      "stream:stream",
		name:     hashName([]byte("stream:stream")),
		root:     []byte(`<stream:stream xmlns="` + nsClient + `" xmlns:stream="` + nsStream + `">`),
		prefixes: []binding{{"", nsClient}, {"stream", nsStream}},
	}
}

// Buffered is how many bytes have been read and not returned yet. With 0, Next
// has to wait for the peer: a good moment to flush the writer.
func (r *Reader) Buffered() int { return r.end - r.at }

// Spaces counts the whitespace bytes between stanzas. The peer's keepalives are
// among them. Spec: RFC 6120 §4.6.1.
func (r *Reader) Spaces() uint64 { return r.spaces }

// Next returns the next whole top-level element. Only its structure has been
// checked; [Reader.Parse] checks the rest. The bytes are valid until the next call.
//
// It fails with [ErrClosed], with io.ErrUnexpectedEOF if the connection ends
// before the stream does, with a [Fault], or with the error of the connection's
// Read. After a [*TooLargeError] or a [*BrokenError] the stream goes on.
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
			if r.broken.fault != nil && !r.broken.plain && errors.Is(err, io.ErrUnexpectedEOF) {
				r.Resync() // nothing more will come
				continue
			}
			return nil, err
		}
	}
	return nil, r.over
}

// between skips the whitespace between two elements.
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
	case len(b) == 1: // the next byte decides
	case b[1] == '!' || b[1] == '?':
		return r.junk(&RestrictedError{fmt.Sprintf("markup that is no element, between stanzas: %s", r.peek())})
	case b[1] != '/' && nameEnds(b[1]):
		return r.junk(&SyntaxError{What: "a '<' that starts no tag"})
	default:
		r.begin()
	}
	return nil
}

func (r *Reader) begin() {
	r.inside, r.skip, r.dropped, r.scan, r.broken = true, false, 0, scanner{flat: r.tolerant}, endSearch{}
	r.elements++
}

// advance scans the bytes of an element that have come. If the element needs more
// bytes, it returns nil and no error.
func (r *Reader) advance() ([]byte, error) {
	if r.broken.fault != nil {
		return nil, r.findEnd()
	}
	n, done, err := r.scan.scan(r.buf[r.at:r.end])
	r.at += n
	switch {
	case err == nil:
	case !r.tolerant || r.scan.outside():
		return nil, r.junk(err)
	default:
		r.markBroken(err)
		return nil, r.findEnd()
	}
	size := r.dropped + int64(r.at-r.start)
	odd := r.scan.deep || r.scan.wide
	if odd && !r.tolerant || size > int64(r.max) {
		r.drop()
	}
	if !done {
		if keep := 0; r.skip {
			if r.tolerant { // for the error's Tail; and if the element has no end, the next one begins here
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
		err := &SyntaxError{What: fmt.Sprintf("the end tag %.40q, which is not the stream's", element)}
		if !r.tolerant {
			r.over = err
			return nil, err
		}
		return nil, &BrokenError{Err: err, Raw: element, Between: true}
	case r.scan.closed && r.tolerant && len(skipSpace(r.buf[r.at:r.end])) > 0:
		return nil, &BrokenError{Err: &SyntaxError{What: "the stream's end tag, and more after it"}, Raw: element, Between: true}
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

// fill reads once. Invariant: the buffer does not grow beyond one element of the
// allowed size, because the bytes of a larger element are dropped as they come.
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
			return nil // the next read gives the error again
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// Header reads the XML declaration, if there is one, and the peer's
// <stream:stream …>. Call it at the beginning of a connection, and again after
// SASL. It fails as [Reader.Next] does. Spec: RFC 6120 §4.2, §4.7, §11.5.
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

// headerEnd is the length of declaration and start tag together, or 0 if more
// bytes are needed.
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
			return 0, nil // it may become a declaration
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

// readHeader reads r.root and keeps the namespaces that it declares.
func (r *Reader) readHeader() (Header, error) {
	if bytes.HasSuffix(r.root, []byte("/>")) {
		return Header{}, &SyntaxError{What: "a stream header that ends the stream (\"/>\")"}
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

// peek quotes the next few bytes, for an error.
func (r *Reader) peek() string {
	return fmt.Sprintf("%.40q", r.buf[r.at:r.end])
}
