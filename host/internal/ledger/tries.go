package ledger

import (
	"encoding/binary"
	"strings"
	"time"

	"balhost/host/internal/entry"
)

// tries is what has changed about a pending event or downstream since it was stored
// ('S'). Most entries are never retried and have no such record.
type tries struct {
	attempts uint32
	due      int64     // nanoseconds, 0: at once
	note     string    // the last error
	past     []attempt // in vain, see remember
}

// attempt is one attempt at an event or a downstream.
type attempt struct {
	number  uint32
	began   int64 // nanoseconds of the ledger's clock; 0: not known
	took    time.Duration
	version string // of the plugin
	via     string // by which transport
	code    string
	note    string
}

// Of the attempts in vain of an entry, the first one and the last seven are kept.
const (
	mostTries  = 8
	tryNote    = 200 // bytes of an error
	tryName    = 64  // bytes of a version, a transport or a code
	triesBytes = mostTries * (tryNote + 3*tryName + 40)
)

// attempt is a, as it is stored.
func (b *batch) attempt(a entry.Attempt, number uint32, note string) attempt {
	return attempt{
		number: number, began: b.until(a.Began), took: max(0, a.Took), version: clipText(a.Version, tryName),
		via: clipText(a.Via, tryName), code: clipText(a.Code, tryName), note: clipText(note, tryNote),
	}
}

// clipText is clip for texts that people read: it cuts through no character.
func clipText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}

// past are the attempts in vain of a pending entry.
func (b *batch) past(p *place) []attempt {
	if !p.kept {
		return nil
	}
	r, found := b.get(b.seqKey(kindTries, p.seq))
	if !found {
		return nil
	}
	return readTries(&r).past
}

// remember adds an attempt. Of many, those between the first one and the last ones go.
func remember(past []attempt, a attempt) []attempt {
	if len(past) >= mostTries {
		past = append(past[:1], past[len(past)-mostTries+2:]...)
	}
	return append(past, a)
}

func appendTries(dst []byte, s tries) []byte {
	dst = binary.AppendUvarint(append(dst, formatLife), uint64(s.attempts))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.due))
	dst = appendText(dst, s.note)
	return appendAttempts(dst, s.past)
}

func readTries(r *reader) tries {
	s := tries{attempts: uint32(r.uvarint()), due: int64(r.u64()), note: r.string()}
	if r.format >= formatLife {
		s.past = r.attempts()
	}
	return s
}

func appendAttempts(dst []byte, all []attempt) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(all)))
	for i := range all {
		a := &all[i]
		dst = binary.AppendUvarint(dst, uint64(a.number))
		dst = binary.BigEndian.AppendUint64(dst, uint64(a.began))
		dst = binary.AppendUvarint(dst, uint64(a.took))
		dst = appendText(dst, a.version)
		dst = appendText(dst, a.via)
		dst = appendText(dst, a.code)
		dst = appendText(dst, a.note)
	}
	return dst
}

func (r *reader) attempts() (all []attempt) {
	n := r.uvarint()
	if n > mostTries {
		r.bad = true
	}
	for range n {
		if r.bad {
			return nil
		}
		all = append(all, attempt{
			number: uint32(r.uvarint()), began: int64(r.u64()), took: time.Duration(r.uvarint()),
			version: r.string(), via: r.string(), code: r.string(), note: r.string(),
		})
	}
	return all
}

// public is the attempt with times of the wall clock.
func (a *attempt) public(shown func(int64) time.Time) entry.Attempt {
	return entry.Attempt{
		Number: int(a.number), Began: shown(a.began), Took: a.took, Version: a.version, Via: a.via, Code: a.code, Error: a.note,
	}
}
