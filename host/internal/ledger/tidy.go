package ledger

import (
	"context"
	"encoding/binary"
	"time"
)

const (
	tidyEvery    = time.Minute
	purgeChunk   = 500
	purgePause   = 2 * time.Millisecond // for others: purging is never urgent
	flattenEvery = 10 * time.Minute
	flattenFrom  = 64 << 20 // bytes of records deleted
)

// tidy deletes summaries that are older than the retention time, and has
// badger rewrite its tables when much of what is in them was deleted: by
// itself it does not, for keys that only grow (notes/badger.md D8).
func (l *Ledger) tidy(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	var flattened time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if l.failed() != nil {
			return nil
		}
		if err := l.purge(ctx); err != nil {
			l.o.Log.Warn("purge summaries", "err", err)
		}
		if now := time.Now(); now.Sub(flattened) >= flattenEvery && l.worthFlattening() {
			flattened = now
			l.flatten()
		}
	}
}

// worthFlattening: enough was deleted, and there is room for old and new tables at once.
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
	l.freed = 0
	l.mu.Unlock()
	start := time.Now()
	if err := l.db.Flatten(1); err != nil {
		l.o.Log.Warn("rewrite tables", "err", err)
		return
	}
	l.o.Log.Debug("tables rewritten", "took", time.Since(start))
}

// purge deletes the summaries of all hours that are past the retention time.
func (l *Ledger) purge(ctx context.Context) error {
	cut := hour(l.o.Now().Add(-l.o.Retention))
	l.mu.RLock()
	from := l.tally.purgedTo
	l.mu.RUnlock()
	if cut <= from {
		return nil
	}
	for _, kind := range []byte{kindFinished, kindOutcome} {
		for {
			p, err := l.old(kind, from, cut)
			if err != nil || ctx.Err() != nil {
				return err
			}
			if len(p.keys) == 0 {
				break
			}
			if err := l.wait(p); err != nil {
				return err
			}
			time.Sleep(purgePause)
		}
	}
	return l.wait(&purge{to: cut})
}

// wait submits an operation and waits for its end.
func (l *Ledger) wait(o op) error {
	done := make(chan error, 1)
	l.put(o, func(err error) { done <- err })
	return <-done
}

// old finds some summaries of a kind from the hours in [from, cut).
func (l *Ledger) old(kind byte, from, cut uint32) (*purge, error) {
	p := &purge{kind: kind}
	err := l.scan([]byte{kind}, appendHourKey(nil, kind, from), func(key, record []byte) (bool, error) {
		if len(key) < 5 || binary.BigEndian.Uint32(key[1:]) >= cut || len(p.keys) >= purgeChunk {
			return false, nil
		}
		p.keys = append(p.keys, append([]byte(nil), key...))
		p.bytes += len(key) + len(record)
		if kind == kindOutcome { // its message id is free again
			r, err := unseal(key, record)
			if err != nil {
				return false, err
			}
			p.ids = append(p.ids, appendHashKey(nil, kindSent, sumSent(readOutcomeID(&r))))
		}
		return true, nil
	})
	return p, err
}

// purge deletes summaries; to, when it is not 0, notes that all before are gone.
type purge struct {
	kind  byte
	keys  [][]byte
	ids   [][]byte
	bytes int
	to    uint32
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
	if o.kind == kindFinished {
		b.tally.finished -= uint64(len(o.keys))
	} else {
		b.tally.outcomes -= uint64(len(o.keys))
	}
	if o.to != 0 {
		b.tally.purgedTo = o.to
		b.writes++ // the tally
	}
	return nil
}
