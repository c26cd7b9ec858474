package fcm

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep JSON may be nested. Payloads are flat. Other packages read
// the same bytes with encoding/json, whose own limit is 10,000.
const maxDepth = 500

// scanner reads JSON text once and checks it. It copies nothing. Spec: RFC 8259.
type scanner struct {
	b     []byte
	i     int
	depth int
	raw   bool // control characters in strings are allowed
}

// object reads b, which must be one JSON object. It calls field for each field:
// key without its quotes, value as it is. If the text is broken, field has been
// called for the fields before the mistake. whole reports that the object itself
// is complete: then a mistake is only after it.
func object(b []byte, field func(key, value []byte)) (whole bool, err error) {
	s := scanner{b: b}
	s.space()
	if s.i == len(b) || b[s.i] != '{' {
		return false, s.fail("an object")
	}
	if err := s.object(field); err != nil {
		return false, err
	}
	if s.space(); s.i < len(b) {
		return true, s.fail("nothing more")
	}
	return true, nil
}

func (s *scanner) object(field func(key, value []byte)) error {
	s.i++
	for more := false; ; more = true {
		s.space()
		if !more && s.is('}') {
			return nil
		}
		start := s.i
		if err := s.string(); err != nil {
			return err
		}
		key := s.b[start+1 : s.i-1]
		if s.space(); !s.is(':') {
			return s.fail("':'")
		}
		s.space()
		start = s.i
		if err := s.value(); err != nil {
			return err
		}
		if field != nil {
			field(key, s.b[start:s.i])
		}
		if s.space(); s.is('}') {
			return nil
		}
		if !s.is(',') {
			return s.fail("',' or '}'")
		}
	}
}

func (s *scanner) array() error {
	s.i++
	if s.space(); s.is(']') {
		return nil
	}
	for {
		s.space()
		if err := s.value(); err != nil {
			return err
		}
		if s.space(); s.is(']') {
			return nil
		}
		if !s.is(',') {
			return s.fail("',' or ']'")
		}
	}
}

func (s *scanner) value() error {
	if s.i == len(s.b) {
		return s.fail("a value")
	}
	switch c := s.b[s.i]; c {
	case '"':
		return s.string()
	case '{', '[':
		if s.depth++; s.depth > maxDepth {
			return fmt.Errorf("JSON at byte %d: nested deeper than %d", s.i, maxDepth)
		}
		members := s.array
		if c == '{' {
			members = func() error { return s.object(nil) }
		}
		err := members()
		s.depth--
		return err
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

func (s *scanner) string() error {
	if !s.is('"') {
		return s.fail("a string")
	}
	for s.i < len(s.b) {
		c := s.b[s.i]
		s.i++
		switch {
		case c == '"':
			return nil
		case c < 0x20 && !s.raw:
			s.i--
			return s.fail("no control character in a string")
		case c != '\\':
		case s.i == len(s.b):
			return s.fail("an escape")
		case s.b[s.i] == 'u':
			if _, ok := hex4(s.b[s.i+1:]); !ok {
				return s.fail("an escape")
			}
			s.i += 5
		case bytes.IndexByte([]byte(`"\/bfnrt`), s.b[s.i]) < 0:
			return s.fail("an escape")
		default:
			s.i++
		}
	}
	return s.fail("'\"'")
}

func (s *scanner) number() error {
	s.is('-')
	if !s.is('0') && !s.digits() {
		return s.fail("a value")
	}
	if s.is('.') && !s.digits() {
		return s.fail("a digit")
	}
	if s.is('e') || s.is('E') {
		if !s.is('+') {
			s.is('-')
		}
		if !s.digits() {
			return s.fail("a digit")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.b[s.i:], []byte(word)) {
		return s.fail("a value")
	}
	s.i += len(word)
	return nil
}

// is reports whether c is the next byte, and steps over it.
func (s *scanner) is(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) space() {
	for s.i < len(s.b) && isSpace(s.b[s.i]) {
		s.i++
	}
}

func (s *scanner) fail(want string) error {
	if s.i == len(s.b) {
		return fmt.Errorf("JSON ends at byte %d: want %s", s.i, want)
	}
	return fmt.Errorf("JSON at byte %d: want %s, not %.20q", s.i, want, s.b[s.i:])
}

// unquote is the text of a valid JSON string, given without its quotes. It is
// false for half of a surrogate pair, because a Go string can't hold that.
func unquote(b []byte) (string, bool) {
	i := bytes.IndexByte(b, '\\')
	if i < 0 {
		return string(b), true
	}
	out := make([]byte, i, len(b))
	copy(out, b)
	for i < len(b) {
		c := b[i]
		i++
		if c != '\\' {
			out = append(out, c)
			continue
		}
		c = b[i]
		i++
		if c != 'u' {
			if k := bytes.IndexByte([]byte("bfnrt"), c); k >= 0 {
				c = "\b\f\n\r\t"[k]
			}
			out = append(out, c)
			continue
		}
		r, _ := hex4(b[i:])
		if i += 4; utf16.IsSurrogate(r) {
			if !bytes.HasPrefix(b[i:], []byte(`\u`)) {
				return "", false
			}
			low, _ := hex4(b[i+2:])
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				return "", false
			}
			i += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out), true
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
