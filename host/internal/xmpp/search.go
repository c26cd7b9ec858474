package xmpp

import "bytes"

// endSearch finds the end of an element whose structure is broken. CCS's stanzas
// are flat, so an end tag with the element's name ends it. The end tag may be
// missing, so text that can only be the beginning of the next element ends it too.
// A device can't write either of them, because CCS escapes a device's text.
type endSearch struct {
	fault   error  // what is broken; nil: there is no search
	name    []byte // of the element, with its prefix
	at      int    // index: b was searched up to here
	section string // the text that ends the section around at; "" outside of sections
	plain   bool   // sections are ignored, because one may have no end
}

// sections are comments, CDATA sections and processing instructions. An end tag
// inside one of them does not end the element.
var sections = [...]struct{ open, end string }{{"<!--", "-->"}, {"<" + cdataOpen, "]]>"}, {"<?", "?>"}}

// lookahead is how many bytes are enough to decide that an element begins here.
const lookahead = 1 << 10

// restart begins again at index at, and ignores sections.
func (l *endSearch) restart(at int) { l.plain, l.section, l.at = true, "", at }

// find goes on in b: the element's bytes, and those that follow it. n is the
// element's length. stream is the name of the stream's tag.
func (l *endSearch) find(b []byte, stream string) (n int, done bool) {
	for {
		if l.section != "" {
			i := bytes.Index(b[l.at:], []byte(l.section))
			if i < 0 {
				l.at = max(l.at, len(b)-len(l.section)+1)
				return 0, false
			}
			l.at += i + len(l.section)
			l.section = ""
		}
		i := bytes.IndexByte(b[l.at:], '<')
		if i < 0 {
			l.at = len(b)
			return 0, false
		}
		l.at += i
		switch n, at := l.look(b, stream); at {
		case isEnd:
			return n, true
		case needMore:
			return 0, false
		}
		l.at++
	}
}

// place says what is at a '<'.
type place uint8

const (
	noEnd    place = iota // the element goes on
	needMore              // more bytes are needed to decide
	isEnd                 // the element ends
	isWord                // the text begins with the word; what follows decides
)

// look judges the '<' at l.at. n is the element's length for isEnd.
func (l *endSearch) look(b []byte, stream string) (n int, is place) {
	rest := b[l.at:]
	for _, s := range sections {
		switch begins(rest, s.open) {
		case needMore:
			is = needMore
		case isWord:
			if !l.plain {
				l.section = s.end
				l.at += len(s.open) - 1
			}
			return 0, noEnd
		}
	}
	endTag := func(name string) (after []byte, is place) {
		p := begins(rest, name)
		if p != isWord {
			return nil, p
		}
		after = skipSpace(rest[len(name):])
		switch {
		case len(after) == 0:
			return nil, needMore
		case after[0] == '>':
			return after[1:], isEnd
		}
		return nil, noEnd
	}
	if after, p := endTag("</" + string(l.name)); p == isEnd {
		return len(b) - len(after), isEnd
	} else if p == needMore {
		is = needMore
	}
	switch after, p := endTag("</" + stream); {
	case p == isEnd && len(skipSpace(after)) > 0: // the stream goes on, so this was not its end
	case p == isEnd && l.plain:
		return l.at, isEnd
	case p == isEnd, p == needMore:
		is = needMore
	}
	prefix, _, _ := bytes.Cut([]byte(stream), []byte(":"))
	for _, name := range []string{"<message", "<iq", "<presence", "<" + string(prefix) + ":error"} {
		p := begins(rest, name)
		if p == isWord {
			p = l.next(b, rest[len(name):], name)
		}
		switch p {
		case isEnd:
			return l.at, isEnd
		case needMore:
			is = needMore
		}
	}
	return 0, is
}

// next reports whether the next element begins at l.at. name is the word there,
// and after are the bytes that follow it.
func (l *endSearch) next(b, after []byte, name string) place {
	switch {
	case len(after) == 0:
		return needMore
	case !isSpace(after[0]) && after[0] != '>' && after[0] != '/':
		return noEnd
	case l.plain:
		return isEnd
	}
	before := bytes.TrimRight(b[:l.at], " \t\r\n")
	if len(before) > 0 && before[len(before)-1] == '>' {
		return isEnd
	}
	if name != "<message" {
		return noEnd
	}
	i := bytes.IndexAny(after[:min(len(after), lookahead)], "<>")
	switch {
	case i < 0 && len(after) < lookahead:
		return needMore
	case i < 0 || after[i] == '<':
		return noEnd
	}
	gcm := skipSpace(after[i+1:])
	if len(gcm) == 0 || len(gcm) < lookahead && bytes.IndexByte(gcm, '>') < 0 {
		return needMore
	}
	if _, ok := payloadTag(gcm); ok {
		return isEnd
	}
	return noEnd
}

// begins is isWord if b begins with word, and needMore if b is too short to tell.
func begins(b []byte, word string) place {
	switch {
	case len(b) >= len(word) && string(b[:len(word)]) == word:
		return isWord
	case len(b) < len(word) && string(b) == word[:len(b)]:
		return needMore
	}
	return noEnd
}
