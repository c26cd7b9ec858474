package ledger

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// matcher tells what belongs to a device that is to be erased. It compares whole texts, so
// a token that begins like another one is another device.
type matcher struct {
	names   []string
	session string              // "": any
	needles [][]byte            // the names, as they are and as JSON has them
	hashes  map[string][]uint64 // by session: of the device
}

func newMatcher(e entry.Erasure) *matcher {
	m := &matcher{names: e.Names, session: e.Session, hashes: map[string][]uint64{}}
	for _, name := range e.Names {
		m.needles = append(m.needles, []byte(name))
		for _, html := range []bool{false, true} {
			if escaped := escape(name, html); escaped != name {
				m.needles = append(m.needles, []byte(escaped))
			}
		}
	}
	return m
}

// escape is how encoding/json writes a text inside its quotes, with or without its escapes for HTML.
func escape(text string, html bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if e.Encode(text) != nil { // never, for a string
		return text
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
}

func (m *matcher) of(session string) bool { return m.session == "" || session == m.session }

func (m *matcher) is(session, name string) bool {
	return name != "" && m.of(session) && slices.Contains(m.names, name)
}

// hashed is is for a hash of session and device.
func (m *matcher) hashed(session string, hash uint64) bool {
	if !m.of(session) {
		return false
	}
	known, found := m.hashes[session]
	if !found {
		for _, name := range m.names {
			known = append(known, entry.DeviceHash(session, name), entry.TargetHash(session, message.FID(name)))
		}
		m.hashes[strings.Clone(session)] = known
	}
	return slices.Contains(known, hash)
}

func (m *matcher) envelope(e *envelope) bool {
	switch b := e.body.(type) {
	case *message.Upstream:
		return m.is(b.Session, b.From)
	case *message.Outcome:
		return m.target(b.Session, b.To) || m.is(b.Session, b.NewToken)
	case *inboundReceipt:
		return m.is(b.Session, b.Device)
	case *timer:
		return m.timer(b)
	}
	return false
}

func (m *matcher) target(session string, to message.Target) bool {
	return m.is(session, to.Token) || m.is(session, to.FID)
}

// timer: one may be in a device's lane without its token, or have it in its key.
func (m *matcher) timer(t *timer) bool {
	return m.is(t.Session, t.Device) || t.Device == "" && t.lane.Kind == entry.Upstream && m.hashed(t.Session, t.lane.Hash) ||
		(t.Session == "" || m.of(t.Session)) && m.named(t.Key)
}

// named reports whether a key has a name as one of its parts: no letter, digit, "-" or "_" is
// beside it.
func (m *matcher) named(key string) bool {
	return slices.ContainsFunc(m.names, func(name string) bool { return hasPart(key, name) })
}

func hasPart[T ~string | ~[]byte](text T, part string) bool {
	for from := 0; from+len(part) <= len(text); {
		at := strings.Index(string(text[from:]), part)
		if at < 0 {
			return false
		}
		at += from
		end := at + len(part)
		if (at == 0 || !inWord(text[at-1])) && (end == len(text) || !inWord(text[end])) {
			return true
		}
		from = at + 1
	}
	return false
}

func inWord(c byte) bool {
	return c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

// valued reports whether a JSON value has a name as a part of one of its texts, however it is escaped.
func (m *matcher) valued(value json.RawMessage) bool {
	if !m.has(value) && bytes.IndexByte(value, '\\') < 0 {
		return false
	}
	var v any
	return json.Unmarshal(value, &v) == nil && m.valueHas(v)
}

func (m *matcher) valueHas(v any) bool {
	switch v := v.(type) {
	case string:
		return m.named(v)
	case []any:
		return slices.ContainsFunc(v, m.valueHas)
	case map[string]any:
		for key, one := range v {
			if m.named(key) || m.valueHas(one) {
				return true
			}
		}
	}
	return false
}

// has reports whether bytes have a name anywhere, be it a part of something longer.
func (m *matcher) has(b []byte) bool {
	return slices.ContainsFunc(m.needles, func(n []byte) bool { return bytes.Contains(b, n) })
}
