package xmpp

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// maxAttrs is how many attributes a tag may have on the fast path.
const maxAttrs = 8

// attr is one attribute; its value needs no unescaping.
type attr struct{ name, value []byte }

// attrs are the attributes of one start tag. It is a value on the stack, so the
// fast path allocates nothing.
type attrs struct {
	n  int
	of [maxAttrs]attr
}

// parseFast reads a message with one gcm element that holds text, as nearly every
// stanza from CCS is. For anything else, valid or not, ok is false. Then the
// element is unchanged, and the slow path decides.
func (r *Reader) parseFast(element []byte) (s Stanza, ok bool, err error) {
	var message, gcm attrs
	name, rest, ok := message.readTag(element)
	if !ok || string(name) != "message" || r.resolve(nil, &message, nil) != nsClient {
		return s, false, nil
	}
	name, rest, ok = gcm.readTag(skipSpace(rest))
	prefix, local, _ := cutName(name)
	if !ok || string(local) != "gcm" || r.resolve(prefix, &gcm, &message) != nsGCM {
		return s, false, nil
	}
	end := bytes.IndexByte(rest, '<')
	if end < 0 {
		return s, false, nil
	}
	text := rest[:end]
	rest, ok = cutEndTag(rest[end:], name)
	if !ok {
		return s, false, nil
	}
	if rest, ok = cutEndTag(skipSpace(rest), []byte("message")); !ok || len(rest) > 0 {
		return s, false, nil
	}
	s.Kind, s.Name.Space, s.Name.Local = Message, nsClient, "message"
	for _, a := range message.of[:message.n] {
		switch string(a.name) {
		case "id":
			s.ID = string(a.value)
		case "from":
			s.From = reuse(&r.from, a.value)
		case "to":
			s.To = reuse(&r.to, a.value)
		case "type":
			if string(a.value) != "normal" {
				return Stanza{}, false, nil
			}
			s.Type = "normal"
		}
	}
	if s.GCM, err = r.unescape(text); err != nil {
		return Stanza{}, true, err
	}
	return s, true, nil
}

// reuse is string(b). If it equals the last string, it is that string, without an
// allocation.
func reuse(last *string, b []byte) string {
	if *last != string(b) {
		*last = string(b)
	}
	return *last
}

// readTag reads the start tag at b[0]. ok is false if b does not begin with a
// start tag, if the tag ends itself, or if the fast path can't read it.
func (a *attrs) readTag(b []byte) (name, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '<' {
		return nil, nil, false
	}
	name, b = cutWord(b[1:])
	for {
		after := skipSpace(b)
		switch {
		case len(name) == 0 || len(after) == 0:
			return nil, nil, false
		case after[0] == '>':
			return name, after[1:], true
		case len(after) == len(b) || a.n == maxAttrs:
			return nil, nil, false
		}
		if b, ok = a.read(after); !ok {
			return nil, nil, false
		}
	}
}

// read reads one attribute at b[0].
func (a *attrs) read(b []byte) (rest []byte, ok bool) {
	name, b := cutWord(b)
	if b = skipSpace(b); len(name) == 0 || len(b) == 0 || b[0] != '=' {
		return nil, false
	}
	if b = skipSpace(b[1:]); len(b) == 0 || b[0] != '"' && b[0] != '\'' {
		return nil, false
	}
	end := bytes.IndexByte(b[1:], b[0])
	if end < 0 {
		return nil, false
	}
	value := b[1 : 1+end]
	for _, c := range value {
		if plain[c]&inText == 0 {
			return nil, false
		}
	}
	for _, other := range a.of[:a.n] {
		if bytes.Equal(name, other.name) {
			return nil, false
		}
	}
	switch prefix, local, hasPrefix := cutName(name); {
	case !hasPrefix:
	case string(prefix) == "xmlns" && len(value) > 0 && !bytes.HasPrefix(local, []byte("xml")):
	case string(name) == "xml:lang":
	default:
		return nil, false
	}
	a.of[a.n] = attr{name, value}
	a.n++
	return b[end+2:], true
}

// resolve is the namespace of a prefix, or "" if it is not declared. A nil prefix
// asks for the default namespace. The innermost declaration counts.
func (r *Reader) resolve(prefix []byte, inner, outer *attrs) string {
	for _, tag := range []*attrs{inner, outer} {
		for i := 0; tag != nil && i < tag.n; i++ {
			p, local, declares := cutName(tag.of[i].name)
			if declares && string(p) == "xmlns" && prefix != nil && bytes.Equal(local, prefix) ||
				!declares && string(local) == "xmlns" && prefix == nil {
				return known(tag.of[i].value)
			}
		}
	}
	for _, b := range r.prefixes {
		if b.prefix == string(prefix) {
			return b.uri
		}
	}
	return ""
}

// known is string(b) if it is a namespace that the fast path reads, or "".
func known(b []byte) string {
	switch string(b) {
	case nsClient:
		return nsClient
	case nsGCM:
		return nsGCM
	}
	return ""
}

// cutName splits a name into prefix and local name. Without a prefix, prefix is
// nil and ok is false.
func cutName(name []byte) (prefix, local []byte, ok bool) {
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		return name[:i], name[i+1:], true
	}
	return nil, name, false
}

// cutWord cuts a name off the beginning of b. The name has ASCII letters, digits
// where XML allows them, and at most one colon inside.
func cutWord(b []byte) (word, rest []byte) {
	colon, start := false, true
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
			start = false
		case !start && (c >= '0' && c <= '9' || c == '-' || c == '.'):
		case c == ':' && !start && !colon:
			colon, start = true, true
		case start:
			return nil, b
		default:
			return b[:i], b[i:]
		}
	}
	return nil, b
}

// cutEndTag cuts </name> off the beginning of b.
func cutEndTag(b, name []byte) (rest []byte, ok bool) {
	n := len(name) + 2
	if len(b) <= n || b[0] != '<' || b[1] != '/' || !bytes.Equal(b[2:n], name) || b[n] != '>' {
		return nil, false
	}
	return b[n+1:], true
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return b
}

// unescape checks text without CDATA, and replaces its references. The result is
// b itself, or memory of r that is valid until the next call.
// Spec: XML 1.0 §2.2, §2.4, §2.11.
func (r *Reader) unescape(b []byte) ([]byte, error) {
	i := 0
	for i < len(b) && plain[b[i]]&asCame != 0 {
		i++
	}
	if i == len(b) {
		return b[:i:i], nil
	}
	if cap(r.text) > 4*firstBuffer {
		r.text = nil
	}
	out := append(r.text[:0], b[:i]...)
	defer func() { r.text = out }()
	for i < len(b) {
		n := 1
		switch c := b[i]; {
		case c == '&':
			ref, length, err := reference(b[i:])
			if err != nil {
				return nil, err
			}
			n = length
			out = utf8.AppendRune(out, ref)
		case c == ']':
			if bytes.HasPrefix(b[i:], []byte("]]>")) {
				return nil, &SyntaxError{What: "\"]]>\" in text"}
			}
			out = append(out, c)
		case c == '\r':
			if i+1 < len(b) && b[i+1] == '\n' {
				n = 2
			}
			out = append(out, '\n')
		default:
			var char rune
			if char, n = utf8.DecodeRune(b[i:]); char == utf8.RuneError && n == 1 || !isChar(char) {
				return nil, &SyntaxError{What: fmt.Sprintf("a character that XML does not allow: %q", b[i:i+n])}
			}
			out = append(out, b[i:i+n]...)
		}
		i += n
		j := i
		for j < len(b) && plain[b[j]]&asCame != 0 {
			j++
		}
		out = append(out, b[i:j]...)
		i = j
	}
	return out[:len(out):len(out)], nil
}
