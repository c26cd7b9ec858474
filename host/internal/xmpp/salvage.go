package xmpp

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Remains are what can be read of a stanza that is broken or unknown.
type Remains struct {
	Name     string   // of the first tag, without prefix, in lower case; "" if the text does not begin with a tag
	Type, ID string   // attributes of the first tag
	Tagged   bool     // there is a gcm element, in any namespace, in upper or lower case
	Payloads [][]byte // texts of the gcm elements; without one, the stanza's whole text
}

// mostPayloads is how many gcm elements of one stanza are read.
const mostPayloads = 16

// Salvage reads, as far as possible, bytes for which [Reader.Next] or
// [Reader.Parse] gave an error. It does not change b. Comments and processing
// instructions are not text. CDATA is text, and so is a '<' or '&' at a wrong place.
func Salvage(b []byte) (r Remains) {
	rest := b
	if len(b) > 1 && b[0] == '<' && !nameEnds(b[1]) {
		tag := b
		if i := bytes.IndexByte(b, '>'); i >= 0 {
			tag, rest = b[:i], b[i+1:]
		}
		r.Name, r.Type, r.ID = tagName(tag), looseAttr(tag, "type"), looseAttr(tag, "id")
	}
	var starts, begins []int // of gcm tags, and of the text after them
	for i := bytes.IndexByte(b, '<'); i >= 0 && len(starts) < mostPayloads; {
		if n, ok := payloadTag(b[i:]); ok {
			starts, begins = append(starts, i), append(begins, i+n)
		}
		next := bytes.IndexByte(b[i+1:], '<')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	for i, begin := range begins {
		end := len(b)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		r.Payloads = append(r.Payloads, looseText(before(b[begin:max(begin, end)], "gcm")))
	}
	if r.Tagged = begins != nil; !r.Tagged {
		r.Payloads = [][]byte{looseText(before(rest, r.Name))}
	}
	return r
}

// payloadTag is the length of the start tag of a gcm element at b[0], in any namespace.
func payloadTag(b []byte) (n int, ok bool) {
	if len(b) < 2 || b[0] != '<' || tagName(b) != "gcm" {
		return 0, false
	}
	var quote byte
	for i, c := range b {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0 && c != '<':
		case c == '"' || c == '\'':
			quote = c
		case c == '>' && b[i-1] == '/':
			return 0, false
		case c == '>':
			return i + 1, true
		case c == '<' && i > 0: // probably a quote was not closed
			if j := bytes.IndexByte(b[:i], '>'); j > 0 {
				return j + 1, true
			}
			return 0, false
		}
	}
	return 0, false
}

// tagName is the name of the tag at b[0] == '<', without prefix. It is in lower
// case, because a broken server may write the names in upper case.
func tagName(b []byte) string {
	_, local, _ := cutName(fullName(b, 64))
	return strings.ToLower(strings.ToValidUTF8(string(local), "\uFFFD"))
}

// fullName is the name of the tag at b[0] == '<', with its prefix, at most up to b[most].
func fullName(b []byte, most int) []byte {
	n := 1
	for n < len(b) && n < most && !nameEnds(b[n]) {
		n++
	}
	return b[min(1, len(b)):min(n, len(b))]
}

// looseAttr is the value of an attribute in a start tag.
func looseAttr(tag []byte, name string) string {
	for {
		i := bytes.Index(tag, []byte(name+"="))
		if i < 1 {
			return ""
		}
		after := tag[i+len(name)+1:]
		if isSpace(tag[i-1]) && len(after) > 0 && (after[0] == '"' || after[0] == '\'') {
			if end := bytes.IndexByte(after[1:], after[0]); end >= 0 {
				return strings.ToValidUTF8(string(looseText(after[1:1+end])), "\uFFFD")
			}
		}
		tag = after
	}
}

// before is b up to the last end tag of that name. Without such a tag, it is b up
// to the last end tag of a message.
func before(b []byte, name string) []byte {
	for _, want := range []string{name, "message"} {
		for end := len(b); end > 0 && want != ""; {
			i := bytes.LastIndex(b[:end], []byte("</"))
			if i < 0 {
				break
			}
			if tagName(b[i+1:]) == want {
				return b[:i]
			}
			end = i
		}
	}
	return b
}

// looseText is the text of b without markup. A reference to a character that XML
// does not allow can only be in a string of the JSON. It becomes JSON's \u escape.
func looseText(b []byte) []byte {
	out := make([]byte, 0, len(b))
	var endless [len(sections)]bool // for each kind of section: no end follows
	for len(b) > 0 {
		i := bytes.IndexAny(b, "<&")
		if i < 0 {
			return append(out, b...)
		}
		out, b = append(out, b[:i]...), b[i:]
		n := 1
		if b[0] == '&' {
			out, n = appendReference(out, b)
		} else if text, length := section(b, &endless); length > 0 {
			out, n = append(out, text...), length
		} else {
			out = append(out, '<')
		}
		b = b[n:]
	}
	return out
}

// section is for a comment, a CDATA section or a processing instruction at b[0].
// n is its length, and text is what CDATA holds. If CDATA does not end, n covers
// only its "<![CDATA[".
func section(b []byte, endless *[len(sections)]bool) (text []byte, n int) {
	for k, s := range sections {
		if begins(b, s.open) != isWord {
			continue
		}
		inside := b[len(s.open):]
		i := -1
		if !endless[k] {
			i = bytes.Index(inside, []byte(s.end))
			endless[k] = i < 0
		}
		isText := s.end == "]]>"
		switch {
		case i >= 0 && isText:
			return inside[:i], len(s.open) + i + len(s.end)
		case i >= 0:
			return nil, len(s.open) + i + len(s.end)
		case isText:
			return nil, len(s.open)
		}
	}
	return nil, 0
}

// appendReference appends the character of the reference at b[0] == '&'. If there
// is no reference, it appends '&'. n is how many bytes of b it used.
func appendReference(dst, b []byte) (out []byte, n int) {
	window := b[:min(len(b), 40)]
	if r, n, err := reference(window); err == nil {
		return utf8.AppendRune(dst, r), n
	}
	if end := bytes.IndexByte(window, ';'); end > 0 {
		if code, ok := codePoint(window[1:end]); ok && code <= 0xFFFF {
			return fmt.Appendf(dst, `\u%04x`, code), end + 1
		}
	}
	return append(dst, '&'), 1
}
