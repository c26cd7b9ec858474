package ledger

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

// What an erasure lists of keys and of what belongs to others, at most. The rest is counted.
const (
	listedKeys     = 1000
	listedMentions = 100
	listedSeqs     = 100_000 // of its pending entries, to know their attempts by
)

// finder reads all records of one moment, and tells what of them is a device's. It gives what
// is to go to an eraser in portions, so it holds little.
type finder struct {
	*matcher
	ctx   context.Context
	do    *eraser // nil: it only looks
	found entry.Erased
	mine  map[uint64]bool // seqs of its pending entries
	m     *state.Moment
}

// look goes through the records of one moment.
func (f *finder) look(l *Ledger) error {
	return closedAs(l.state.Moment(func(m *state.Moment) error {
		f.m, f.mine = m, map[uint64]bool{}
		for _, kind := range []struct {
			of  byte
			see func(key []byte, r *reader) error
		}{
			{kindEvent, f.page}, {kindDownstream, f.page}, {kindWaiting, f.waiting}, {kindDead, f.dead},
			{kindSummary, f.summaries}, {kindValue, f.value}, {kindTries, f.tries}, {kindTimer, f.timerName}, {kindOwner, f.owner},
		} {
			if err := load(f.ctx, m, []byte{kind.of}, kind.see); err != nil {
				return err
			}
		}
		return f.do.flush()
	}))
}

// mention notes a record of somebody else that has a name of the device in it.
func (f *finder) mention(what string, id func() string) {
	if len(f.found.Mentions) == listedMentions {
		f.found.MoreMentions++
		return
	}
	f.found.Mentions = append(f.found.Mentions, entry.Mention{What: what, ID: id()})
}

// page looks at the entries of one page, ended ones too: they are on the disk as long as the page is.
func (f *finder) page(key []byte, r *reader) error {
	first, err := seqOf(key)
	if err != nil {
		return err
	}
	p := page{seq: first, kind: key[0]}
	ended := appendSeqKey(nil, kindEnded, first)
	if _, err := f.m.Get(ended, func(v []byte) error {
		er, err := unseal(ended, v)
		p.ended = readEnded(&er)
		return errors.Join(err, er.done())
	}); err != nil {
		return err
	}
	write := false // the page has something of it that has ended
	r.slots(first, func(slot int, seq uint64, e lent) bool {
		has := f.has(e)
		er := reader{key: key, b: e}
		er.bad = er.u8() != format
		mine, count, id := f.entry(key[0], &er)
		switch r.bad = er.done() != nil; {
		case !p.has(slot) && (mine || has):
			f.found.Ended++
			write = true
		case !p.has(slot):
		case mine:
			*count++
			err = f.pending(key[0], seq)
		case has:
			f.mention(map[byte]string{kindEvent: "event", kindDownstream: "downstream"}[key[0]], id)
		}
		return err == nil
	})
	if write && err == nil {
		err = f.do.page(p.kind, first)
	}
	return err
}

// pending has a pending entry erased.
func (f *finder) pending(kind byte, seq uint64) error {
	if len(f.mine) < listedSeqs {
		f.mine[seq] = true
	}
	if kind == kindDownstream {
		return f.do.sent(seq)
	}
	return f.do.event(seq)
}

// entry tells whether an entry is the device's, where it counts, and by what the commands name it.
func (f *finder) entry(kind byte, r *reader) (mine bool, count *int, id func() string) {
	if kind == kindDownstream {
		m := readParcel(r).message
		return f.target(m.Session, m.To), &f.found.Downstreams, func() string { return m.MessageID }
	}
	e := readEnvelope(r)
	count = &f.found.Upstreams
	switch e.body.(type) {
	case *message.Outcome:
		count = &f.found.Outcomes
	case *inboundReceipt:
		count = &f.found.Receipts
	case *timer:
		count = &f.found.Timers
	}
	return f.envelope(&e), count, e.id.String
}

func (f *finder) waiting(key []byte, r *reader) error {
	has := f.has(r.b)
	t := readTimer(r, r.string())
	switch {
	case f.timer(t):
		f.found.Timers++
		at, err := readDueKey(key)
		if err != nil {
			return err
		}
		return f.do.timer(waitingTimer{t.plugin, t.Key, at})
	case has:
		f.mention("timer", func() string { return t.plugin + " " + t.Key })
	}
	return nil
}

func (f *finder) dead(_ []byte, r *reader) error {
	has := f.has(r.b)
	d := readDead(r)
	switch {
	case f.envelope(&d.event):
		f.found.Dead++
		return f.do.letter(d.event.id)
	case has:
		f.mention("dead letter", d.event.id.String)
	}
	return nil
}

func (f *finder) summaries(key []byte, r *reader) error {
	size, mine, has := len(r.b), 0, f.has(r.b)
	for _, s := range r.summaries() {
		switch {
		case f.summary(s, f.sentTo):
			mine++
		case has && slices.ContainsFunc([]string{s.target, s.messageID, s.session, s.category, s.plugin, s.code, s.detail}, func(text string) bool { return f.has([]byte(text)) }):
			f.mention("ended message", func() string { return cmp.Or(s.messageID, s.id.String()) })
		}
	}
	if f.found.Summaries += mine; mine == 0 {
		return nil
	}
	return f.do.summaries(bytes.Clone(key), size)
}

// summary tells whether a summary is of the device. sentTo finds the target of a message id.
func (m *matcher) summary(s summary, sentTo func(session, messageID string) uint64) bool {
	if !m.of(s.session) {
		return false
	}
	if s.device != 0 && m.hashed(s.session, s.device) {
		return true
	}
	switch s.kind {
	case entry.Upstream:
		return m.hashed(s.session, s.lane) || m.named(s.messageID)
	case 0, entry.Outcome:
		return m.hashed(s.session, sentTo(s.session, s.messageID)) || m.named(s.messageID)
	}
	return m.hashed(s.session, s.lane) || m.named(s.messageID)
}

// sentTo is the hash of the target of a downstream; 0: nobody knows.
func (f *finder) sentTo(session, messageID string) (target uint64) {
	key := appendHashKey(nil, kindSent, sumSent(session, messageID))
	_, _ = f.m.Get(key, func(v []byte) error { // Verify finds a record that can't be read
		if r, err := unseal(key, v); err == nil {
			target = readSent(&r).target
		}
		return nil
	})
	return target
}

func (f *finder) value(key []byte, r *reader) error {
	name, own, _ := bytes.Cut(key[1:], []byte{0})
	v := readValue(r)
	k := entry.StateKey{Plugin: string(name), Key: string(own)}
	switch {
	case entry.OwnState(k.Plugin):
		if f.has(v.json) || f.has(own) {
			f.mention(entry.MentionHost, func() string { return fmt.Sprintf("%s %s", k.Plugin, k.Key) })
		}
		return nil
	case f.named(k.Key):
	case f.valued(v.json):
		k.InValue = true
	case f.has(own) || f.has(v.json):
		f.mention("state", func() string { return fmt.Sprintf("%s %s", k.Plugin, k.Key) })
		return nil
	default:
		return nil
	}
	if len(f.found.Keys) < listedKeys {
		f.found.Keys = append(f.found.Keys, k)
	} else {
		f.found.MoreKeys++
	}
	return f.do.key(k)
}

// tries looks for errors of others' attempts that name the device.
func (f *finder) tries(key []byte, r *reader) error {
	seq, err := seqOf(key)
	if f.has(r.b) && !f.mine[seq] {
		f.mention("error of an attempt", func() string { return fmt.Sprint(seq) })
	}
	skip(r)
	return err
}

func (f *finder) timerName(key []byte, r *reader) error {
	skip(r)
	if name, own, _ := bytes.Cut(key[1:], []byte{0}); f.has(own) && !f.named(string(own)) {
		f.mention("timer", func() string { return fmt.Sprintf("%s %s", name, own) })
	}
	return nil
}

func (f *finder) owner(key []byte, r *reader) error {
	skip(r)
	if f.has(key[1:]) {
		f.mention("category", func() string { return string(key[1:]) })
	}
	return nil
}

// eraser collects what a finder has found, and has the committer erase it. A nil one does nothing.
type eraser struct {
	l      *Ledger
	m      *matcher
	values bool
	upTo   uint64
	gone   func([]entry.Event)

	events  eraseEvents
	sents   eraseSent
	timers  eraseTimers
	letters []string
	pages   map[byte][]uint64
	keys    map[string][]entry.Write

	did  int    // what was erased, or is left for the next time
	held []held // a handler has them
}
