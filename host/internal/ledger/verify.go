package ledger

import (
	"context"
	"errors"
	"fmt"

	"balhost/host/internal/state"
)

// Verify reads every record of one moment, checks its checksum and where it
// points, and compares their numbers with the ledger's own counters: badger
// can lose keys without an error (notes/badger.md D1). What it finds is an
// alarm, too. It takes about a second for a million records, and holds one view of the
// store for that time, which costs disk space while much is written.
func (l *Ledger) Verify(ctx context.Context) error {
	v := verifier{ctx: ctx, live: map[uint64]bool{}, pending: map[byte]uint64{}}
	if err := l.state.Moment(v.run); err != nil {
		return fmt.Errorf("verify ledger: %w", closedAs(err))
	}
	for _, p := range v.problems {
		l.alarm(p)
	}
	if len(v.problems) > 0 {
		return fmt.Errorf("verify ledger: %w", errors.Join(v.errs()...))
	}
	return nil
}

// verifier collects what is wrong with one view of the store.
type verifier struct {
	ctx      context.Context
	moment   *state.Moment
	tally    tally
	live     map[uint64]bool // events, downstreams, and pages with a record of what has ended
	pending  map[byte]uint64
	finished uint64
	outcomes uint64
	problems []string
}

func (v *verifier) errs() (out []error) {
	for _, p := range v.problems {
		out = append(out, errors.New(p))
	}
	return out
}

func (v *verifier) wrong(format string, args ...any) {
	const enough = 100
	if len(v.problems) < enough {
		v.problems = append(v.problems, fmt.Sprintf(format, args...))
	}
}

func (v *verifier) run(m *state.Moment) error {
	v.moment = m
	if err := v.all(kindMeta, func(key []byte, r *reader) {
		if string(key) == string(keyCounter) {
			v.tally = readTally(r)
		} else {
			r.b = nil
		}
	}); err != nil {
		return err
	}
	t := &v.tally
	n := map[byte]uint64{}
	for kind, see := range map[byte]func(key []byte, r *reader){
		kindEvent:      func(key []byte, r *reader) { v.page(key, r, t.lowEvents, func(r *reader) { readEnvelope(r) }) },
		kindDownstream: func(key []byte, r *reader) { v.page(key, r, t.lowSent, v.parcel) },
		kindDead:       func(_ []byte, r *reader) { readDead(r) },
		kindSummary:    func(_ []byte, r *reader) { v.summaries(r.summaries()) },
		kindSent:       v.sent,
		kindValue:      skip,
		kindDedup:      skip,
		kindOwner:      skip,
	} {
		if err := v.all(kind, func(key []byte, r *reader) { n[kind]++; see(key, r) }); err != nil {
			return err
		}
	}
	for _, kind := range []byte{kindTries, kindEnded} {
		if err := v.all(kind, func(key []byte, r *reader) {
			skip(key, r)
			if seq, err := seqOf(key); err != nil || !v.live[seq] {
				v.wrong("record %x belongs to nothing", key)
			}
		}); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		what      string
		got, want uint64
	}{
		{"pending events", v.pending[kindEvent], uint64(t.counts.Events)},
		{"pending downstreams", v.pending[kindDownstream], uint64(t.counts.Downstreams)},
		{"dead letters", n[kindDead], uint64(t.counts.Dead)},
		{"summaries of events", v.finished, t.finished},
		{"summaries of downstreams", v.outcomes, t.outcomes},
		{"message ids", n[kindSent], t.outcomes + uint64(t.counts.Downstreams)},
		{"state keys", n[kindValue], t.values},
	} {
		if c.got != c.want {
			v.wrong("there are %d %s, there should be %d", c.got, c.what, c.want)
		}
	}
	return nil
}

func (v *verifier) summaries(all []summary) {
	for _, s := range all {
		if s.kind != 0 {
			v.finished++
		} else {
			v.outcomes++
		}
	}
}

func (v *verifier) sent(key []byte, r *reader) {
	if s := readSent(r); s.seq > v.tally.seq {
		v.wrong("message id %x leads to %d, which is not yet", key, s.seq)
	}
}

func skip(_ []byte, r *reader) { r.take(uint64(len(r.b))) }

// all gives every record of a kind to f, but for damaged ones.
func (v *verifier) all(kind byte, f func(key []byte, r *reader)) error {
	return v.moment.Scan([]byte{kind}, []byte{kind}, func(key, record []byte) (bool, error) {
		r, err := unseal(key, record)
		if err == nil {
			f(key, &r)
			err = r.done()
		}
		if err != nil {
			v.wrong("%v", err)
		}
		return true, v.ctx.Err()
	})
}

// page checks the entries of one page.
func (v *verifier) page(key []byte, r *reader, low uint64, see func(*reader)) {
	first, err := seqOf(key)
	if err != nil || first < low {
		v.wrong("page %x comes before %d", key, low)
	}
	p := page{seq: first}
	ended := appendSeqKey(nil, kindEnded, first)
	if _, err := v.moment.Get(ended, func(b []byte) error {
		v.live[first] = true
		er, err := unseal(ended, b)
		p.ended = readEnded(&er)
		return errors.Join(err, er.done())
	}); err != nil {
		v.wrong("%v", err)
	}
	r.slots(first, func(slot int, seq uint64, entry lent) bool {
		if !p.has(slot) {
			return true
		}
		er := reader{key: key, b: entry}
		er.bad = er.u8() != format
		see(&er)
		if er.done() != nil || seq > v.tally.seq {
			v.wrong("entry %d of page %d is damaged", seq, first)
		}
		v.live[seq] = true
		v.pending[key[0]]++
		return true
	})
}

// parcel checks that a pending downstream's id is known.
func (v *verifier) parcel(r *reader) {
	m := readParcel(r).message
	found, err := v.moment.Get(appendHashKey(nil, kindSent, sumSent(m.Session, m.MessageID)), func([]byte) error { return nil })
	if err != nil || !found {
		v.wrong("message id %s of a pending downstream is not known: %v", m.MessageID, err)
	}
}
