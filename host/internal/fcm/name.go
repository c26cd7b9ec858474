package fcm

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Name is a payload's "from" or "message_id". An ack gives it back, and CCS
// compares it with its own. So any JSON value is given back as it came.
type Name struct {
	// Text is for people and plugins: a string's text, or another value's JSON.
	// Half of a surrogate pair is written as its escape.
	Text string
	// JSON is the value as it came; "" if Text alone says it exactly.
	JSON string
}

// Given reports whether there is a value to give back.
func (n Name) Given() bool { return n.Text != "" || n.JSON != "" }

// check is the error for a value that can't name anything. A string or a number
// can, if it is not empty.
func (n Name) check(field string) error {
	switch {
	case !n.Given():
		return fmt.Errorf("%s is missing", field)
	case n.Text == "":
		return fmt.Errorf("%s is empty", field)
	case n.JSON != "" && n.JSON[0] != '"' && typeOf([]byte(n.JSON)) != "a number":
		return fmt.Errorf("%s is %s, not a string", field, typeOf([]byte(n.JSON)))
	}
	return nil
}

// name reads a raw value. nil and invalid JSON give no Name, because an ack can't give them back.
func name(raw []byte) Name {
	if !giveable(raw) {
		return Name{}
	}
	if raw[0] != '"' {
		return Name{Text: strings.ToValidUTF8(string(raw), "\uFFFD"), JSON: string(raw)}
	}
	inner := raw[1 : len(raw)-1]
	if s, ok := unquote(inner); ok && s != "" && utf8.ValidString(s) {
		return Name{Text: s}
	}
	return Name{Text: legible(inner), JSON: string(raw)}
}

// giveable reports whether raw is valid JSON after [appendName] has written it.
func giveable(raw []byte) bool {
	s := scanner{b: raw, raw: true}
	return raw != nil && s.value() == nil && s.i == len(raw)
}

// legible is the text of a valid JSON string that holds half of a surrogate pair
// or bytes that are not UTF-8. An escape that can't be unquoted is left as it came.
func legible(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		n := bytes.IndexByte(b, '\\')
		switch {
		case n < 0:
			n = len(b)
		case n > 0:
		case b[1] != 'u':
			n = 2
		default:
			n = min(12, len(b)) // the length of a surrogate pair
		}
		s, ok := unquote(b[:n])
		if !ok || n == 12 && string(b[6:8]) != `\u` {
			n = min(6, n)
			if s, ok = unquote(b[:n]); !ok {
				s = string(b[:n])
			}
		}
		out.WriteString(s)
		b = b[n:]
	}
	return strings.ToValidUTF8(out.String(), "\uFFFD")
}

// appendName appends n as JSON that is also plain XML text.
func appendName(dst []byte, n Name) []byte {
	if n.JSON == "" {
		return appendString(dst, n.Text)
	}
	inside := false // inside a string
	for i := 0; i < len(n.JSON); {
		switch c := n.JSON[i]; {
		case c == '\\':
			dst = append(dst, c, n.JSON[i+1])
			i += 2
			continue
		case c == '"':
			inside = !inside
			fallthrough
		case !inside, c >= 0x20 && c < utf8.RuneSelf && c != '<' && c != '>' && c != '&':
			dst = append(dst, c)
			i++
			continue
		}
		r, size := decodeRune(n.JSON[i:])
		if r < 0x20 || r == '<' || r == '>' || r == '&' || utf16.IsSurrogate(r) || r == 0xFFFE || r == 0xFFFF {
			dst = append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		} else {
			dst = utf8.AppendRune(dst, r)
		}
		i += size
	}
	return dst
}

// decodeRune reads the first rune of s. It also reads what wrong encoders write
// in place of UTF-8: halves of surrogate pairs and U+0000 as Java writes them, and
// bytes of Latin-1.
func decodeRune(s string) (r rune, size int) {
	if r, size = utf8.DecodeRuneInString(s); r != utf8.RuneError || size != 1 {
		return r, size
	}
	next := func(i int) (rune, bool) {
		if i < len(s) && s[i]&0xC0 == 0x80 {
			return rune(s[i] & 0x3F), true
		}
		return 0, false
	}
	b1, ok1 := next(1)
	b2, ok2 := next(2)
	switch {
	case s[0] == 0xED && ok1 && ok2:
		return 0xD000 | b1<<6 | b2, 3
	case (s[0] == 0xC0 || s[0] == 0xC1) && ok1:
		return rune(s[0]&0x1F)<<6 | b1, 2
	}
	return rune(s[0]), 1
}
