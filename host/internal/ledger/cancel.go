package ledger

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// The codes of downstreams that ended before they went out.
const (
	codeCanceled = "CANCELED"
	codeReplaced = "REPLACED"
)

// Cancel ends downstreams that have not gone out yet. It tells done how many when that is
// on disk, or entry.ErrClosed. A plugin cancels its own; the API, plugin "", everybody's.
// One that has gone out or ended, and one that there is not, stays as it is. Cancel keeps
// its order among updates, see [Ledger.Update].
func (l *Ledger) Cancel(plugin string, which []entry.Cancel, done func(canceled int, err error)) {
	o := &cancel{plugin: plugin, which: which, l: l}
	l.put(o, func(err error) { done(o.did, err) })
}

type cancel struct {
	plugin string
	which  []entry.Cancel
	did    int // set by apply
	l      *Ledger
	ends   bound
}

func (o *cancel) weigh() (bytes, records int) {
	return o.ends.weigh(o.l, o.plugin, entry.Changes{Cancels: o.which})
}

func (o *cancel) apply(b *batch) error {
	o.did = b.cancelAll(o.plugin, o.which)
	return nil
}

// Take gives a pending downstream to one who hands it to a connection or a route. From
// then on it has gone out: nobody cancels it any more. It is entry.ErrCanceled if it is
// being canceled, so that of the two exactly one happens, and entry.ErrUnknown if it has
// ended. The message's bytes are shared and must not be changed.
func (l *Ledger) Take(seq uint64) (message.Checked, error) {
	if !l.claims.take(seq) {
		return message.Checked{}, entry.ErrCanceled
	}
	m, err := l.Downstream(seq)
	if errors.Is(err, entry.ErrUnknown) {
		l.claims.drop(seq)
	}
	return m, err
}

// Canceled returns the downstreams that were canceled or replaced since it was called last.
// DownstreamsChanged tells when there are any.
func (l *Ledger) Canceled() (seqs []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seqs, l.canceled = l.canceled, nil
	return seqs
}

// claims say of pending downstreams what decides between those who hand one out and those
// who cancel it: whoever claims it first. They are not stored, as that would be a commit
// for each handing out. So what was pending at the start counts as gone out, unless its
// NotBefore lay ahead then. So a canceled one has never gone out, whatever crashed.
// Weak: if the machine starts with a clock that is behind, what went out after the last
// commit of before may count as not gone out.
type claims struct {
	mu    sync.Mutex
	by    map[uint64]claim
	upTo  uint64 // the last seq of before the start
	start int64  // by the ledger's clock, in ns
}

type claim uint8

const (
	goneOut claim = iota + 1
	canceled
)

// take reports whether a downstream may go out, and that it does.
func (c *claims) take(seq uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[seq] == canceled {
		return false
	}
	c.by[seq] = goneOut
	return true
}

// cancel reports whether a downstream has not gone out, and that it won't.
func (c *claims) cancel(d *downstream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[d.seq] == goneOut || d.kept || d.seq <= c.upTo && d.notBefore <= c.start {
		return false
	}
	c.by[d.seq] = canceled
	return true
}

func (c *claims) drop(seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.by, seq)
}

// cancelAll cancels downstreams of a plugin, or of anybody for the API, and returns how many.
func (b *batch) cancelAll(plugin string, which []entry.Cancel) (n int) {
	for _, c := range which {
		if s, found := b.sent(c.Session, c.MessageID); found && (s.owner == plugin || plugin == "") && b.cancel(s.seq, codeCanceled) {
			n++
		}
	}
	return n
}

// cancel ends a downstream, if it is pending and has not gone out.
func (b *batch) cancel(seq uint64, code string) bool {
	d := b.pendingSent(seq)
	if d == nil || d.over || !b.l.claims.cancel(d) {
		return false
	}
	b.conclude(d, entry.End{Status: message.Canceled, Code: code}, canceledBy)
	return b.err == nil
}

// pendingSent finds a pending downstream, of this very batch too; nil when there is none.
func (b *batch) pendingSent(seq uint64) *downstream {
	if seq <= b.l.tally.seq {
		return b.downstream(seq)
	}
	at, found := slices.BinarySearchFunc(b.newest, seq, func(d *downstream, seq uint64) int { return cmp.Compare(d.seq, seq) })
	if !found {
		return nil
	}
	return b.newest[at]
}

// replaceKey is the key of the record of which downstream with this Replace is the newest.
func (b *batch) replaceKey(owner string, m *message.Checked) lent {
	return b.hashKey(kindReplace, sumReplace(owner, m))
}

// replace notes that d is the newest with its Replace, and ends the one before it, if
// that has not gone out.
func (b *batch) replace(d *downstream, m *message.Checked) {
	key := b.replaceKey(d.owner.Value(), m)
	older := uint64(0)
	if r, found := b.get(key); found {
		older = readReplace(&r)
		b.fail(r.done())
	} else {
		b.tally.replaces++
	}
	from := b.mark()
	b.arena = appendReplace(b.arena, d.seq)
	b.set(key, from)
	if older != 0 {
		b.cancel(older, codeReplaced)
	}
}

// unreplace forgets a downstream that ends, if it is the newest with its Replace.
func (b *batch) unreplace(d *downstream, m *message.Checked) {
	key := b.replaceKey(d.owner.Value(), m)
	if r, found := b.get(key); found && readReplace(&r) == d.seq {
		b.del(key, recordExtra)
		b.tally.replaces--
	}
}

// bound is an upper bound of what an operation writes to end downstreams. It is looked up
// once, since each takes a read.
type bound struct {
	known          bool
	bytes, records int
}

func (e *bound) weigh(l *Ledger, plugin string, c entry.Changes) (bytes, records int) {
	if e.known {
		return e.bytes, e.records
	}
	e.known = true
	for _, one := range c.Cancels {
		e.add(l, appendHashKey(nil, kindSent, sumSent(one.Session, one.MessageID)), func(r *reader) uint64 { return readSent(r).seq })
	}
	for i := range c.Sends {
		if m := &c.Sends[i].Message; m.Replace != "" {
			e.add(l, appendHashKey(nil, kindReplace, sumReplace(plugin, m)), readReplace)
		}
	}
	return e.bytes, e.records
}

// add counts the end of the downstream to which a record leads.
func (e *bound) add(l *Ledger, key []byte, read func(*reader) uint64) {
	e.bytes, e.records = e.bytes+2*recordExtra, e.records+2
	err := l.read(key, func(r *reader) error {
		e.bytes += l.weight(&l.sent, read(r)) + 2*maxName + 4*recordExtra
		return nil
	})
	if err == nil {
		e.records += 4
	}
}
