package ccssim

import (
	"bytes"
	"time"
)

// Line is one stanza in [Server.Transcript].
type Line struct {
	Time   time.Time `json:"time"`
	Conn   int       `json:"conn"`
	Sent   bool      `json:"sent"` // true: by the simulator; false: by the client
	Stanza string    `json:"stanza"`
}

// transcript is a ring of the last stanzas. It uses its slots again.
type transcript struct {
	slots []slot
	next  int  // index of the slot for the next stanza
	full  bool // all slots are in use
}

type slot struct {
	time time.Time
	conn int
	sent bool
	text []byte
}

func (t *transcript) add(now time.Time, conn int, sent bool, text []byte) {
	if len(t.slots) == 0 {
		return
	}
	if bytes.HasPrefix(text, []byte("<auth")) {
		text = []byte("<auth>…</auth>") // the server key
	}
	s := &t.slots[t.next]
	s.time, s.conn, s.sent, s.text = now, conn, sent, append(s.text[:0], text...)
	if t.next++; t.next == len(t.slots) {
		t.next, t.full = 0, true
	}
}

func (t *transcript) lines() []Line {
	ordered := t.slots[:t.next]
	if t.full {
		ordered = append(t.slots[t.next:len(t.slots):len(t.slots)], ordered...)
	}
	out := make([]Line, len(ordered))
	for i, s := range ordered {
		out[i] = Line{s.time, s.conn, s.sent, string(s.text)}
	}
	return out
}
