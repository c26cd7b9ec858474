package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/state"
)

// recover fills memory from the disk, and compares what it finds with the counters.
func (l *Ledger) recover(ctx context.Context) error {
	if err := l.loadMeta(); err != nil {
		return err
	}
	if err := l.startClock(); err != nil {
		return err
	}
	if l.tally.commit != l.state.Commit() {
		return fmt.Errorf("the counters are those of commit %d, but the last commit is %d: restore a backup", l.tally.commit, l.state.Commit())
	}
	err := l.state.Moment(func(m *state.Moment) error {
		err := l.loadPages(ctx, m, &l.events, l.tally.lowEvents)
		if err == nil {
			err = l.loadPages(ctx, m, &l.sent, l.tally.lowSent)
		}
		if err == nil {
			err = l.loadTries(ctx, m)
		}
		if err == nil {
			err = l.loadOwners(ctx, m)
		}
		if err == nil {
			err = l.loadForgotten(ctx, m)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"pending events", l.events.live, l.tally.counts.Events},
		{"pending downstreams", l.sent.live, l.tally.counts.Downstreams},
	} {
		if c.got != c.want {
			l.alarm(fmt.Sprintf("there are %d %s on disk, there should be %d", c.got, c.what, c.want))
		}
	}
	l.tally.counts.Events, l.tally.counts.Downstreams = l.events.live, l.sent.live
	return nil
}

// loadMeta reads the schema and the tally, or makes them in a new store.
func (l *Ledger) loadMeta() error {
	err := l.read(keySchema, func(r *reader) error {
		found := r.uvarint()
		if found < 2 || found > schema { // the one in MANIFEST decides
			return errSchema(uint16(found))
		}
		return nil
	})
	if errors.Is(err, errGone) && l.state.Commit() == 0 {
		return l.makeMeta()
	} else if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	err = l.read(keyCounter, func(r *reader) error {
		l.tally = readTally(r)
		return r.done()
	})
	if err != nil {
		return fmt.Errorf("read the counters: %w", err)
	}
	return nil
}

// makeMeta makes the first commit.
func (l *Ledger) makeMeta() error {
	b := newBatch(l, nil)
	b.begin(l.stamp())
	now := l.o.Now()
	b.now = now
	id := nextID(ulid.ULID{}, now, b.entropy)
	from := b.mark()
	b.arena = binary.AppendUvarint(append(b.arena, format), schema)
	b.arena = appendTime(b.arena, now)
	b.arena = append(b.arena, id[:]...) // the store's own
	b.set(keySchema, from)
	b.close()
	if b.err != nil {
		return b.err
	}
	l.tally = b.tally
	l.tally.at = now
	return l.sync(b)
}

// load gives f each record of a kind, from start on.
func load(ctx context.Context, m *state.Moment, start []byte, f func(key []byte, r *reader) error) error {
	return m.Scan(start[:1], start, func(key, record []byte) (bool, error) {
		r, err := unseal(key, record)
		if err != nil {
			return false, err
		}
		if err := f(key, &r); err != nil {
			return false, err
		}
		return true, errors.Join(r.done(), ctx.Err())
	})
}

func seqOf(key []byte) (uint64, error) {
	if len(key) != 9 {
		return 0, corrupt(key)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

// loadPages lists the pages of one kind, and counts their pending entries.
func (l *Ledger) loadPages(ctx context.Context, m *state.Moment, x *index, low uint64) error {
	return load(ctx, m, appendSeqKey(nil, x.kind, low), func(key []byte, r *reader) error {
		first, err := seqOf(key)
		if err != nil {
			return err
		}
		s := stub{seq: first}
		r.slots(first, func(int, uint64, lent) bool { s.n++; return true })
		if s.live = s.n; s.n > 1 { // a page of one entry is deleted when that ends
			ended := appendSeqKey(nil, kindEnded, first)
			if _, err := m.Get(ended, func(v []byte) error {
				s.marked = true
				er, err := unseal(ended, v)
				p := page{ended: readEnded(&er)}
				for slot := range int(s.n) {
					if !p.has(slot) {
						s.live--
					}
				}
				return errors.Join(err, er.done())
			}); err != nil {
				return err
			}
		}
		if s.live > 0 {
			x.list(s)
		} else if !r.bad {
			l.alarm(fmt.Sprintf("page %d exists, but none of its entries is pending", first))
		}
		return nil
	})
}

// loadTries notes which pages may have entries that were tried. Events and downstreams
// share the seqs, so the kind of an entry is known only when its page is read.
func (l *Ledger) loadTries(ctx context.Context, m *state.Moment) error {
	low := min(l.tally.lowEvents, l.tally.lowSent)
	return load(ctx, m, appendSeqKey(nil, kindTries, low), func(key []byte, r *reader) error {
		seq, err := seqOf(key)
		if err != nil {
			return err
		}
		readTries(r)
		found := false
		for _, x := range []*index{&l.events, &l.sent} {
			if s := x.stub(seq); s != nil {
				s.tried, found = true, true
			}
		}
		if !found {
			l.alarm(fmt.Sprintf("entry %d has attempts but does not exist", seq))
		}
		return nil
	})
}

func (l *Ledger) loadOwners(ctx context.Context, m *state.Moment) error {
	return load(ctx, m, []byte{kindOwner}, func(key []byte, r *reader) error {
		l.owners[string(key[1:])] = string(r.bytes(uint64(len(r.b))))
		return nil
	})
}
