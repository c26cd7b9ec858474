package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"balhost/host/internal/state"
)

// Examined is what was looked at, and what is wrong with it.
type Examined struct {
	Commit   uint64   `json:"commit"`  // the last one that was looked at
	Records  uint64   `json:"records"` // of the tables
	Commits  uint64   `json:"commits"` // of the journal
	Problems []string `json:"problems"`
}

// Err returns the problems as one error; nil when there are none.
func (e Examined) Err() error {
	var errs []error
	for _, p := range e.Problems {
		errs = append(errs, errors.New(p))
	}
	return errors.Join(errs...)
}

// Verify is Examine, with the problems as an error.
func (l *Ledger) Verify(ctx context.Context) error {
	e, err := l.Examine(ctx)
	if err == nil {
		err = e.Err()
	}
	if err != nil {
		return fmt.Errorf("verify ledger: %w", err)
	}
	return nil
}

// Examine reads the journal and every record of one moment. It compares them with each
// other and with the ledger's own counters, because badger can lose keys without an error
// (notes/badger.md D1). Each problem also becomes an alarm. Half a million records took 1.3 s
// on a busy machine. The view of that moment costs disk space if much is written meanwhile, so
// there is one at a time: another one waits, or ends with ctx.
func (l *Ledger) Examine(ctx context.Context) (Examined, error) {
	v := newVerifier(ctx)
	select {
	case l.examining <- struct{}{}:
		defer func() { <-l.examining }()
	case <-ctx.Done():
		return v.Examined, ctx.Err()
	}
	err := l.state.Moment(func(m *state.Moment) error {
		_, err := m.Get(keyCounter, func(record []byte) error {
			r, err := unseal(keyCounter, record)
			v.Commit = readTally(&r).commit
			return err
		})
		if err == nil {
			err = v.journal(l.journal)
		}
		if err == nil {
			err = m.Each(v.see)
		}
		return err
	})
	if err != nil {
		return v.Examined, closedAs(err)
	}
	v.end()
	for _, p := range v.Problems {
		l.alarm(p)
	}
	return v.Examined, nil
}

// verifier is given all records of a moment, in the order of their keys, and collects what
// is wrong. It looks up no record, because it also checks files, which can't be searched.
type verifier struct {
	Examined
	ctx      context.Context
	tally    tally
	marks    map[uint64]*[pageSlots / 64]uint64 // by page: which entries have ended
	live     map[uint64]bool                    // pending events and downstreams
	replaces map[digest]uint64                  // the newest pending downstream by its Replace
	pending  map[byte]uint64
	n        map[byte]uint64 // records, by kind
	finished uint64
	outcomes uint64
	ids      uint64 // sum of the message ids that are stored, minus those of the downstreams
	timers   timersSeen
	last     journaled
}

func newVerifier(ctx context.Context) *verifier {
	return &verifier{
		ctx: ctx, marks: map[uint64]*[pageSlots / 64]uint64{}, live: map[uint64]bool{}, replaces: map[digest]uint64{}, pending: map[byte]uint64{}, n: map[byte]uint64{},
		timers:   timersSeen{events: map[uint64]uint64{}},
		Examined: Examined{Problems: []string{}},
	}
}

func (v *verifier) wrong(format string, args ...any) {
	const enough = 100
	if len(v.Problems) < enough {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// see checks one record. The kinds come in the order of their bytes. So the counters come
// first, and the record of what has ended of a page comes before the page.
func (v *verifier) see(c state.Change) error {
	v.Records++
	v.last.met(v, c)
	r, err := unseal(c.Key, c.Value)
	if err == nil {
		v.n[c.Key[0]]++
		v.record(c.Key, &r)
		err = r.done()
	}
	if err != nil {
		v.wrong("%v", err)
	}
	return v.ctx.Err()
}

func (v *verifier) record(key []byte, r *reader) {
	t := &v.tally
	switch key[0] {
	case kindMeta:
		if string(key) == string(keyCounter) {
			*t = readTally(r)
			v.Commit = t.commit
		} else {
			skip(r)
		}
	case kindEvent:
		v.page(key, r, t.lowEvents, func(seq uint64, r *reader) {
			if t, is := readEnvelope(r).body.(*timer); is {
				v.timers.event(seq, t)
			}
		})
	case kindDownstream:
		v.page(key, r, t.lowSent, func(seq uint64, r *reader) {
			p := readParcel(r)
			v.ids -= idOf(sumSent(p.message.Session, p.message.MessageID))
			if p.message.Replace != "" {
				v.replaces[sumReplace(p.owner, p.message)] = seq // they come in the order of seqs
			}
		})
	case kindEnded:
		v.marks[v.seq(key)] = readEnded(r)
	case kindTries:
		skip(r)
		if seq := v.seq(key); !v.live[seq] {
			v.wrong("entry %d has attempts but does not exist", seq)
		}
	case kindDead:
		readDead(r)
	case kindSummary:
		v.summaries(r.summaries())
	case kindSent:
		if s := readSent(r); s.seq > t.seq {
			v.wrong("message id %x leads to seq %d, which was not given out yet", key, s.seq)
		}
		if len(key) == 1+len(digest{}) {
			v.ids += idOf(digest(key[1:]))
		}
	case kindTimer:
		v.timers.name(v, key, readTimerName(r))
	case kindWaiting:
		v.timers.waiting(v, key, readTimer(r, r.string()))
	case kindReplace:
		if seq := readReplace(r); len(key) != 1+len(digest{}) || v.replaces[digest(key[1:])] != seq {
			v.wrong("downstream %d is not the newest with its Replace, but a record says so", seq)
		}
	case kindValue, kindDedup, kindOwner:
		skip(r)
	default:
		skip(r)
		v.wrong("record %q has a kind that this balhost does not know", key)
	}
}

// end compares what was seen with the counters.
func (v *verifier) end() {
	t := &v.tally
	for first := range v.marks {
		v.wrong("page %d does not exist, but there is a record of what has ended of it", first)
	}
	for _, c := range []struct {
		what      string
		got, want uint64
	}{
		{"pending events", v.pending[kindEvent], uint64(t.counts.Events)},
		{"pending downstreams", v.pending[kindDownstream], uint64(t.counts.Downstreams)},
		{"dead letters", v.n[kindDead], uint64(t.counts.Dead)},
		{"summaries of events", v.finished, t.finished},
		{"summaries of downstreams", v.outcomes, t.outcomes},
		{"message ids", v.n[kindSent], t.outcomes + uint64(t.counts.Downstreams)},
		{"state keys", v.n[kindValue], t.values},
		{"timers that wait", v.n[kindWaiting], uint64(t.counts.Timers)},
		{"names of timers that wait", v.timers.names, v.n[kindWaiting]},
		{"records of Replace", v.n[kindReplace], t.replaces},
	} {
		if c.got != c.want {
			v.wrong("there are %d %s, there should be %d", c.got, c.what, c.want)
		}
	}
	if v.ids != 0 {
		v.wrong("the stored message ids are not those of the downstreams that are pending or have ended")
	}
	if v.timers.sum != 0 {
		v.wrong("the names of timers that wait do not lead to the timers that wait")
	}
	v.last.missed(v)
}

func (v *verifier) summaries(all []summary) {
	for _, s := range all {
		if s.kind != 0 {
			v.finished++
			continue
		}
		v.outcomes++
		v.ids -= idOf(sumSent(s.session, s.messageID))
	}
}

// idOf returns a message id as a number. If the stored ids and those of all downstreams
// have different sums, they are not the same ids.
func idOf(d digest) uint64 { return binary.BigEndian.Uint64(d[:]) }

func skip(r *reader) { r.bytes(uint64(len(r.b))) }

func (v *verifier) seq(key []byte) uint64 {
	seq, err := seqOf(key)
	if err != nil {
		v.wrong("%v", err)
	}
	return seq
}

// page checks the entries of one page.
func (v *verifier) page(key []byte, r *reader, low uint64, see func(uint64, *reader)) {
	first := v.seq(key)
	if first < low {
		v.wrong("page %d comes before %d, where the pending pages should begin", first, low)
	}
	p := page{seq: first, ended: v.marks[first]}
	delete(v.marks, first)
	r.slots(first, func(slot int, seq uint64, entry lent) bool {
		if !p.has(slot) {
			return true
		}
		er := reader{key: key, b: entry}
		er.bad = er.u8() != format
		see(seq, &er)
		if er.done() != nil || seq > v.tally.seq {
			v.wrong("entry %d of page %d is damaged", seq, first)
		}
		v.live[seq] = true
		v.pending[key[0]]++
		return true
	})
}
