package xmpp

import "bytes"

// MaxDepth is how deep elements may be nested in a stanza. The stanza itself counts.
const MaxDepth = 16

// MaxAttrs is how many attributes a tag may have. Namespace declarations count.
// The limit exists because each attribute is compared with all others.
const MaxAttrs = 64

// scanner finds the end of one top-level element. It checks only the structure:
// tags must match, quotes must close, and no forbidden markup may begin. Parse
// checks text and attributes. The scanner keeps no bytes and never goes back. So
// an element may come in any pieces, and the bytes of a skipped element can be
// dropped as they come.
type scanner struct {
	state  scanState
	quote  byte             // in quoted: the quote that ends the value
	match  int              // in bang: how many bytes of "![CDATA[" came; in cdata: of "]]"
	depth  int              // how many elements are open
	deep   bool             // depth was over MaxDepth
	attrs  int              // of the tag that is being read
	wide   bool             // a tag had more than MaxAttrs attributes
	closed bool             // it is an end tag without a start tag; the stream's, if the name fits
	name   uint32           // hash of the tag's name, as far as it was read
	open   [MaxDepth]uint32 // hashes of the names of the open elements
	flat   bool             // a message inside another element is an error
}

type scanState uint8

const (
	content   scanState = iota // text, or before the first '<'
	opened                     // after '<'
	bang                       // after "<!"
	startName                  // in a start tag's name; startTag must follow in this list
	startTag
	slash   // after '/' in a start tag
	quoted  // in an attribute's value
	endName // in an end tag's name; endTag must follow in this list
	endTag
	cdata // after "<![CDATA["
)

const cdataOpen = "![CDATA["

// FNV-1a: good enough to find a wrong end tag early. Parse compares the names.
const hashStart, hashPrime = 2166136261, 16777619

var messageHash = hashName([]byte("message"))

func hashName(name []byte) uint32 {
	h := uint32(hashStart)
	for _, c := range name {
		h = (h ^ uint32(c)) * hashPrime
	}
	return h
}

// scan goes on at b[0]. n bytes belong to the element. done reports that the last
// of them ends it.
func (s *scanner) scan(b []byte) (n int, done bool, err error) {
	for n < len(b) {
		switch s.state {
		case content:
			i := bytes.IndexByte(b[n:], '<')
			if i < 0 {
				return len(b), false, nil
			}
			n += i + 1
			s.state = opened

		case opened:
			s.name, s.attrs = hashStart, 0
			switch c := b[n]; {
			case c == '/':
				s.state = endName
				n++
			case c == '!':
				s.state, s.match = bang, 1
				n++
			case c == '?':
				return n, false, &RestrictedError{"a processing instruction"}
			case nameEnds(c):
				return n, false, &SyntaxError{What: "a '<' that starts no tag"}
			default:
				s.state = startName
			}

		case bang:
			switch c := b[n]; {
			case c == cdataOpen[s.match] && s.depth > 0:
				n++
				if s.match++; s.match == len(cdataOpen) {
					s.state, s.match = cdata, 0
				}
			case s.match == 1 && c == '-':
				return n, false, &RestrictedError{"a comment"}
			case s.match == 1 && c != '[':
				return n, false, &RestrictedError{"a DTD"}
			default:
				return n, false, &SyntaxError{What: "\"<![\" that begins no CDATA section"}
			}

		case startName, endName:
			for n < len(b) && !nameEnds(b[n]) {
				s.name = (s.name ^ uint32(b[n])) * hashPrime
				n++
			}
			if n == len(b) {
				break
			}
			if s.flat && s.depth > 0 && s.state == startName && s.name == messageHash {
				return n, false, &SyntaxError{What: "a message inside an element"}
			}
			s.state++ // startTag or endTag

		case startTag:
			for n < len(b) && s.state == startTag {
				switch b[n] {
				case '"', '\'':
					s.quote, s.state = b[n], quoted
					s.attrs++
					s.wide = s.wide || s.attrs > MaxAttrs
				case '/':
					s.state = slash
				case '<':
					return n, false, &SyntaxError{What: "a '<' inside a tag"}
				case '>':
					s.push()
				}
				n++
			}

		case slash:
			if b[n] != '>' {
				return n, false, &SyntaxError{What: "a '/' inside a tag"}
			}
			n++
			if s.deep = s.deep || s.depth >= MaxDepth; s.depth == 0 {
				return n, true, nil
			}
			s.state = content

		case quoted:
			i := bytes.IndexByte(b[n:], s.quote)
			value := b[n:]
			if i >= 0 {
				value = b[n : n+i]
			}
			if bytes.IndexByte(value, '<') >= 0 {
				return n, false, &SyntaxError{What: "a '<' inside an attribute"}
			}
			if n += len(value); i >= 0 {
				n++
				s.state = startTag
			}

		case endTag:
			c := b[n]
			if isSpace(c) {
				n++
				continue
			}
			if c != '>' || s.name == hashStart {
				return n, false, &SyntaxError{What: "a malformed end tag"}
			}
			n++
			if s.depth == 0 {
				s.closed = true
				return n, true, nil
			}
			if d := s.depth - 1; d < MaxDepth && s.open[d] != s.name {
				return n, false, &SyntaxError{What: "an end tag that does not match its start tag"}
			}
			if s.depth--; s.depth == 0 {
				return n, true, nil
			}
			s.state = content

		case cdata:
			if s.match == 0 {
				i := bytes.IndexByte(b[n:], ']')
				if i < 0 {
					return len(b), false, nil
				}
				n += i
			}
			switch c := b[n]; {
			case c == ']':
				s.match = min(s.match+1, 2)
			case c == '>' && s.match == 2:
				s.state = content
			default:
				s.match = 0
			}
			n++
		}
	}
	return n, false, nil
}

// outside reports that no element has begun. After an error here there is no
// element whose end has to be found.
func (s *scanner) outside() bool {
	return s.depth == 0 && (s.state == opened || s.state == bang || s.state == endName || s.state == endTag)
}

func (s *scanner) push() {
	if s.depth < MaxDepth {
		s.open[s.depth] = s.name
	} else {
		s.deep = true
	}
	s.depth++
	s.state = content
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func nameEnds(c byte) bool {
	switch c {
	case ' ', '\n', '\t', '\r', '/', '>', '<', '"', '\'', '=', '&':
		return true
	}
	return false
}
