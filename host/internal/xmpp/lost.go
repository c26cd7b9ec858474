package xmpp

import "bytes"

// lost looks for the end of an element whose structure is broken. What CCS
// sends is flat, so an end tag of the element's name ends it; and as an element
// may lack its end, so does what can only be the beginning of the next one.
// Neither can be written by a device whose text is escaped at all.
type lost struct {
	fault   error  // why it is lost; nil: it is not
	name    []byte // of the element, with its prefix
	at      int    // looked at up to here
	section string // what ends the comment, CDATA section or instruction that at is in
	plain   bool   // these have no end: they are text like any other
}

// sections are what may hold an end tag that ends neither.
var sections = [...]struct{ open, end string }{{"<!--", "-->"}, {"<" + cdataOpen, "]]>"}, {"<?", "?>"}}

// lookahead is how much of an element is enough to tell that it begins here.
const lookahead = 1 << 10

// find goes on in b, which is all of the element that is there and what follows
// it. n is the element's length.
func (l *lost) find(b []byte, stream string) (n int, done bool) {
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
		case ends:
			return n, true
		case unsure:
			return 0, false
		}
		l.at++
	}
}

// what stands at a '<'.
type place uint8

const (
	neither  place = iota // of the following
	unsure                // there is more to come
	ends                  // the element
	possibly              // what it is called; what follows decides
)

// look looks at the '<' at l.at.
func (l *lost) look(b []byte, stream string) (n int, is place) {
	rest := b[l.at:]
	for _, s := range sections {
		switch begins(rest, s.open) {
		case unsure:
			is = unsure
		case possibly:
			if !l.plain {
				l.section = s.end
				l.at += len(s.open) - 1
			}
			return 0, neither
		}
	}
	tail := func(name string) ([]byte, place) {
		p := begins(rest, name)
		if p != possibly {
			return nil, p
		}
		after := skipSpace(rest[len(name):])
		switch {
		case len(after) == 0:
			return nil, unsure
		case after[0] == '>':
			return after[1:], ends
		}
		return nil, neither
	}
	if after, p := tail("</" + string(l.name)); p == ends {
		return len(b) - len(after), ends
	} else if p == unsure {
		is = unsure
	}
	switch after, p := tail("</" + stream); {
	case p == ends && len(skipSpace(after)) > 0: // the stream goes on: it is text
	case p == ends && l.plain:
		return l.at, ends
	case p == ends, p == unsure:
		is = unsure
	}
	prefix, _, _ := bytes.Cut([]byte(stream), []byte(":"))
	for _, name := range []string{"<message", "<iq", "<presence", "<" + string(prefix) + ":error"} {
		p := begins(rest, name)
		if p == possibly {
			p = l.next(b, rest[len(name):], name == "<message")
		}
		switch p {
		case ends:
			return l.at, ends
		case unsure:
			is = unsure
		}
	}
	return 0, is
}

// next judges what may be the next element, by what follows its name.
func (l *lost) next(b, after []byte, message bool) place {
	switch {
	case len(after) == 0:
		return unsure
	case !isSpace(after[0]) && after[0] != '>' && after[0] != '/':
		return neither
	case l.plain:
		return ends
	}
	before := bytes.TrimRight(b[:l.at], " \t\r\n")
	if len(before) > 0 && before[len(before)-1] == '>' {
		return ends
	}
	if !message {
		return neither
	}
	i := bytes.IndexAny(after[:min(len(after), lookahead)], "<>")
	switch {
	case i < 0 && len(after) < lookahead:
		return unsure
	case i < 0 || after[i] == '<':
		return neither
	}
	gcm := skipSpace(after[i+1:])
	if len(gcm) == 0 || len(gcm) < lookahead && bytes.IndexByte(gcm, '>') < 0 {
		return unsure
	}
	if _, ok := payloadTag(gcm); ok {
		return ends
	}
	return neither
}

// begins reports whether b begins with word: possibly, neither, or unsure where b is too short.
func begins(b []byte, word string) place {
	switch {
	case len(b) >= len(word) && string(b[:len(word)]) == word:
		return possibly
	case len(b) < len(word) && string(b) == word[:len(b)]:
		return unsure
	}
	return neither
}
