package xmpp

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Where a byte needs no escape.
const (
	inText = 1 << iota // in text that is written
	inAttr             // in an attribute that is written
	asCame             // in text that is read
)

// plain tells, for each byte, where it needs no escape.
var plain = func() (t [256]uint8) {
	for c := range t {
		if c >= 0x20 && c < 0x80 || c == '\t' || c == '\n' {
			t[c] = inText | inAttr | asCame
		}
	}
	for _, c := range `&<>` {
		t[c] &^= inText | inAttr
	}
	for _, c := range "\"\t\n" {
		t[c] &^= inAttr
	}
	for _, c := range `&]` {
		t[c] &^= asCame
	}
	return t
}()

// isChar reports whether XML may hold r. Spec: XML 1.0 §2.2.
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// reference reads the reference at b[0] == '&'. n is its length.
// Spec: XML 1.0 §4.1, §4.6; RFC 6120 §11.1 forbids every other entity.
func reference(b []byte) (r rune, n int, err error) {
	end := bytes.IndexByte(b, ';')
	if end < 2 {
		return 0, 0, &SyntaxError{What: fmt.Sprintf("'&' that starts no reference: %.12q", b)}
	}
	name, n := b[1:end], end+1
	switch string(name) {
	case "lt":
		return '<', n, nil
	case "gt":
		return '>', n, nil
	case "amp":
		return '&', n, nil
	case "quot":
		return '"', n, nil
	case "apos":
		return '\'', n, nil
	}
	if c := name[0]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
		return 0, 0, &RestrictedError{fmt.Sprintf("the entity %.32q", b[:n])}
	} else if c != '#' {
		return 0, 0, &SyntaxError{What: fmt.Sprintf("'&' that starts no reference: %.12q", b)}
	}
	v, ok := codePoint(name)
	if !ok || v > utf8.MaxRune || !isChar(rune(v)) {
		return 0, 0, &SyntaxError{What: fmt.Sprintf("a reference to a character that XML does not allow: %.32q", b[:n])}
	}
	return rune(v), n, nil
}

// codePoint reads the text between '&' and ';' of a numeric reference.
func codePoint(name []byte) (v uint64, ok bool) {
	if len(name) == 0 || name[0] != '#' {
		return 0, false
	}
	digits, base := name[1:], 10
	if len(digits) > 0 && digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	v, err := strconv.ParseUint(string(digits), base, 32)
	return v, err == nil
}

// appendEscaped appends s, escaped for where it is written: inText or inAttr.
func appendEscaped[S []byte | string](dst []byte, s S, where uint8) ([]byte, error) {
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && plain[s[j]]&where != 0 {
			j++
		}
		dst = append(dst, s[i:j]...)
		if i = j; i == len(s) {
			break
		}
		n := 1
		switch c := s[i]; c {
		case '&':
			dst = append(dst, "&amp;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		case '"', '\t', '\n', '\r':
			dst = append(strconv.AppendInt(append(dst, "&#"...), int64(c), 10), ';')
		default:
			var r rune
			if r, n = utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))])); r == utf8.RuneError && n == 1 {
				return dst, fmt.Errorf("XML cannot carry byte %#x at %d: it is not UTF-8", c, i)
			}
			if !isChar(r) {
				return dst, fmt.Errorf("XML cannot carry %U at %d: leave it out, or write it as \\u%04x inside a JSON string", r, i, r)
			}
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst, nil
}
