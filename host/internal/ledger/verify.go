package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"balhost/host/internal/entry"
)

// forever lets a scan take as long as it needs.
var forever time.Time

// Verify reads every record of one moment, checks its checksum and where it
// points, and compares their numbers with the ledger's own counters: badger
// can lose keys without an error (notes/badger.md D1). What it finds is an
// alarm, too. It takes about a second for a million records, and holds one view of the
// store for that time, which costs disk space while much is written.
func (l *Ledger) Verify(ctx context.Context) error {
	if !l.reading.enter() {
		return entry.ErrClosed
	}
	defer l.reading.leave()
	v := verifier{ctx: ctx, live: map[uint64]bool{}}
	if err := l.db.View(v.run); err != nil {
		return fmt.Errorf("verify ledger: %w", err)
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
	txn      *badger.Txn
	tally    tally
	live     map[uint64]bool // events and downstreams
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

func (v *verifier) run(txn *badger.Txn) error {
	v.txn = txn
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
	for _, c := range []struct {
		kind byte
		what string
		want uint64
		see  func(key []byte, r *reader)
	}{
		{kindEvent, "pending events", uint64(t.counts.Events), func(key []byte, r *reader) { readEnvelope(r); v.pending(key, t.lowEvents) }},
		{kindDownstream, "pending downstreams", uint64(t.counts.Downstreams), func(key []byte, r *reader) { v.parcel(r); v.pending(key, t.lowSent) }},
		{kindDead, "dead letters", uint64(t.counts.Dead), func(_ []byte, r *reader) { readDead(r) }},
		{kindFinished, "summaries of events", t.finished, skip},
		{kindOutcome, "summaries of downstreams", t.outcomes, skip},
		{kindSent, "message ids", t.outcomes + uint64(t.counts.Downstreams), func(key []byte, r *reader) {
			if s := readSent(r); s.seq > t.seq {
				v.wrong("message id %x leads to %d, which is not yet", key, s.seq)
			}
		}},
		{kindValue, "state keys", t.values, skip},
	} {
		n := uint64(0)
		if err := v.all(c.kind, func(key []byte, r *reader) { n++; c.see(key, r) }); err != nil {
			return err
		}
		if n != c.want {
			v.wrong("there are %d %s, there should be %d", n, c.what, c.want)
		}
	}
	if err := v.all(kindState, func(key []byte, r *reader) {
		readState(r)
		if seq, err := seqOf(key); err != nil || !v.live[seq] {
			v.wrong("entry %x has attempts but is not there", key)
		}
	}); err != nil {
		return err
	}
	return v.all(kindDedup, skip)
}

func skip(_ []byte, r *reader) { r.take(uint64(len(r.b))) }

// all gives every record of a kind to f, but for damaged ones.
func (v *verifier) all(kind byte, f func(key []byte, r *reader)) error {
	return scan(v.txn, []byte{kind}, []byte{kind}, forever, func(key, record []byte) (bool, error) {
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

func (v *verifier) pending(key []byte, low uint64) {
	seq, err := seqOf(key)
	if err != nil || seq < low || seq > v.tally.seq {
		v.wrong("pending entry %x is outside of %d to %d", key, low, v.tally.seq)
	}
	v.live[seq] = true
}

// parcel checks that a pending downstream's id is known.
func (v *verifier) parcel(r *reader) {
	m := readParcel(r).message
	if _, err := v.txn.Get(appendHashKey(nil, kindSent, sumSent(m.Session, m.MessageID))); err != nil {
		v.wrong("message id %s of a pending downstream: %v", m.MessageID, err)
	}
}
