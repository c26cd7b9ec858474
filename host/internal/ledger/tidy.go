package ledger

import (
	"context"
	"encoding/binary"
	"time"
)

const (
	tidyEvery    = time.Minute
	purgeChunk   = 500
	purgePause   = 2 * time.Millisecond // lets others work: purging is never urgent
	flattenEvery = 10 * time.Minute
	flattenFrom  = 64 << 20 // bytes of records deleted
)

// tidy deletes summaries that are older than the retention time, and rewrites pages with few
// pending entries. When much was deleted, it makes badger rewrite its tables: for keys that only
// grow, badger does not do this by itself (notes/badger.md D8).
func (l *Ledger) tidy(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	var flattened time.Time
	before := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if l.failed() != nil {
			return nil
		}
		if err := l.purge(ctx); err != nil && ctx.Err() == nil {
			l.o.Log.Warn("purge summaries", "err", err)
		}
		if err := l.squeeze(ctx, before); err != nil && ctx.Err() == nil {
			l.o.Log.Warn("rewrite pages", "err", err)
		}
		l.mu.RLock()
		before = l.tally.seq
		l.mu.RUnlock()
		if now := time.Now(); now.Sub(flattened) >= flattenEvery && l.worthFlattening() {
			flattened = now
			l.flatten()
		}
	}
}

// worthFlattening: enough was deleted, and the disk has space for old and new tables.
func (l *Ledger) worthFlattening() bool {
	l.mu.RLock()
	freed := l.freed
	l.mu.RUnlock()
	used := l.used()
	free, err := l.o.Statfs(l.o.Dir)
	return err == nil && freed >= max(flattenFrom, used/2) && free.Bytes > 2*used+l.o.DiskHard
}

func (l *Ledger) flatten() {
	l.mu.Lock()
	freed := l.freed
	l.freed = 0 // what is deleted from now on counts for the next time
	l.mu.Unlock()
	start := time.Now()
	if err := l.state.Flatten(); err != nil {
		l.o.Log.Warn("rewrite tables", "err", err)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.freed += freed // it still takes space
		return
	}
	l.o.Log.Debug("tables rewritten", "took", time.Since(start))
}

// purge deletes the summaries that are past the retention time.
func (l *Ledger) purge(ctx context.Context) error {
	now, _ := l.clock.now()
	cut := uint64(max(0, now.Add(-l.o.Retention).UnixMilli()))
	l.mu.RLock()
	from := l.tally.purgedTo
	l.mu.RUnlock()
	for {
		p, err := l.old(from, cut)
		if err != nil || len(p.keys) == 0 || ctx.Err() != nil {
			return err
		}
		if err := l.wait(p); err != nil {
			return err
		}
		time.Sleep(purgePause)
	}
}

// wait submits an operation and waits for its end.
func (l *Ledger) wait(o op) error {
	done := make(chan error, 1)
	l.put(o, func(err error) { done <- err })
	return <-done
}

// old finds some records of summaries that are older than cut.
func (l *Ledger) old(from, cut uint64) (*purge, error) {
	p := &purge{}
	start := binary.BigEndian.AppendUint64([]byte{kindSummary}, from)
	err := l.scan(start[:1], start, func(key, record []byte) (bool, error) {
		r, err := unseal(key, record)
		if err != nil {
			return false, err
		}
		if len(key) != 17 {
			return false, corrupt(key)
		}
		at := binary.BigEndian.Uint64(key[1:])
		if at >= cut || len(p.keys)+len(p.ids) >= purgeChunk {
			return false, nil
		}
		p.to = at
		p.keys = append(p.keys, append([]byte(nil), key...))
		p.bytes += len(record)
		for _, s := range r.summaries() {
			if s.kind != 0 {
				p.events++
			} else { // its message id may be used again
				p.ids = append(p.ids, appendHashKey(nil, kindSent, sumSent(s.session, s.messageID)))
			}
		}
		return true, r.done()
	})
	return p, err
}

// purge deletes records of summaries; after it, all before to are gone.
type purge struct {
	keys   [][]byte
	ids    [][]byte // of downstreams
	events int
	bytes  int
	to     uint64
}

func (o *purge) weigh() (bytes, records int) {
	n := len(o.keys) + len(o.ids)
	return n * recordExtra, n
}

func (o *purge) apply(b *batch) error {
	for _, k := range o.keys {
		b.del(k, o.bytes/len(o.keys))
	}
	for _, k := range o.ids {
		b.del(k, recordExtra)
	}
	b.tally.finished -= uint64(o.events)
	b.tally.outcomes -= uint64(len(o.ids))
	b.tally.purgedTo = o.to
	return nil
}

// squeeze rewrites sparse pages that existed at the last tidy, when before was the next seq.
func (l *Ledger) squeeze(ctx context.Context, before uint64) error {
	for _, kind := range []byte{kindEvent, kindDownstream} {
		for after := uint64(0); ctx.Err() == nil; {
			o := &squeeze{kind: kind, after: after, before: before}
			if err := l.wait(o); err != nil {
				return err
			}
			if o.next == 0 {
				break
			}
			after = o.next
		}
	}
	return nil
}
