package ledger

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

var (
	errNoState = errors.New("the API has no state of its own: Writes and Reads need a plugin")
	errNoKey   = errors.New("a state key must not be empty")
	errNoID    = errors.New("a downstream needs a message id and a session")
)

// maxReads bounds the reads of one operation: each is a lookup in the committer.
const maxReads = message.MaxChanges

// defaultTTL is how long CCS keeps a downstream without a TTL: four weeks
// (ccs-protocol.md §3.1). The ledger keeps it no longer either.
const defaultTTL = 28 * 24 * time.Hour

// Settle ends one handing out of an event, with all that its handler did
// (P7). Whatever the verdict, it stands only if no key of Changes.Reads has changed. done gets nil after the commit, or why nothing was stored:
// entry.ErrLease, ErrConflict, ErrExists, ErrTooLarge or ErrClosed. What s points
// to belongs to the ledger from now on.
func (l *Ledger) Settle(s entry.Settlement, done func(error)) {
	l.put(&settle{s, l}, done)
}

// Update commits changes outside an event; done as in Settle, and entry.ErrFull
// for what sends, or sets a key of a plugin's.
// Updates keep their order among each other; while other operations wait too,
// they get a quarter of the commits, so those overtake them.
// The plugin owns them; "" is the API, which has no state and hears no outcomes.
func (l *Ledger) Update(plugin string, c entry.Changes, done func(error)) {
	l.put(&update{plugin, c}, done)
}

type settle struct {
	entry.Settlement
	l *Ledger
}

func (o *settle) weigh() (bytes, records int) {
	bytes, records = weighChanges(o.Plugin, o.Changes)
	if o.Verdict == entry.Dead {
		bytes += o.l.weight(&o.l.events, o.Seq)
	}
	return bytes + 8*recordExtra + maxNote + 2*maxName, records + 4
}

func (o *settle) apply(b *batch) error {
	ev := b.event(o.Seq)
	if ev == nil || ev.over || b.l.leases.of(o.Seq) != o.Lease { // P5
		return entry.ErrLease
	}
	switch o.Verdict {
	case entry.Done:
		if err := b.change(o.Plugin, o.Changes); err != nil {
			return err
		}
		b.finish(ev, o.Plugin)
	case entry.Retry:
		if err := b.checkReads(o.Plugin, o.Changes.Reads); err != nil {
			return err
		}
		b.retry(ev, o.Due, o.Reason)
	case entry.Dead:
		if err := b.checkReads(o.Plugin, o.Changes.Reads); err != nil {
			return err
		}
		return b.kill(ev, o.Plugin, o.Reason)
	default:
		return fmt.Errorf("settle event %d: verdict %d is none", o.Seq, o.Verdict)
	}
	return nil
}

// finish ends a handled event and leaves its summary.
func (b *batch) finish(ev *event, plugin string) {
	b.endEvent(ev)
	b.sumUp(summary{
		kind: ev.kind, id: ev.id, attempts: int(ev.attempts) + 1, lane: ev.lane, session: ev.session.Value(),
		category: ev.category.Value(), plugin: clip(plugin, maxName), messageID: ev.messageID,
	})
	b.tally.counts.Handled++
	b.tally.finished++
}

// retry keeps an event for another attempt. The lease ends with the commit.
func (b *batch) retry(ev *event, due time.Time, reason string) {
	s := tries{attempts: ev.attempts + 1, due: b.until(due), note: clip(reason, maxNote)}
	b.keep(ev.seq, s)
	ev.page.tried, ev.kept, ev.over = true, true, true // over until the commit: its lease is spent
	b.l.leases.set(ev.seq, 0)
	b.effects = append(b.effects, effect{event: ev, what: later, due: s.due, attempts: s.attempts})
}

// kill moves an event to the dead letters (P8). The attempt that failed counts.
func (b *batch) kill(ev *event, plugin, reason string) error {
	record, err := b.entry(kindEvent, ev.page, ev.seq)
	if err != nil {
		b.fail(err)
		return entry.ErrClosed
	}
	raw := record.b
	e := readEnvelope(&record)
	if b.fail(record.done()); b.err != nil {
		return entry.ErrClosed
	}
	b.putDead(dead{seq: ev.seq, died: b.now, attempts: ev.attempts + 1, plugin: clip(plugin, maxName), reason: reason, event: e}, raw)
	b.endEvent(ev)
	return nil
}

// entry reads a pending entry's record, after the format byte.
func (b *batch) entry(kind byte, p *page, seq uint64) (reader, error) {
	r, found := b.get(b.seqKey(kind, p.seq))
	if !found {
		return reader{}, fmt.Errorf("page %d %w", p.seq, errGone)
	}
	return r.slot(p.seq, seq)
}

type update struct {
	plugin  string
	changes entry.Changes
}

func (o *update) weigh() (bytes, records int) { return weighChanges(o.plugin, o.changes) }

func (o *update) apply(b *batch) error {
	if o.grows() && b.full {
		return entry.ErrFull
	}
	return b.change(o.plugin, o.changes)
}

// grows reports whether the ledger gets larger by what a plugin or a person
// wants: what they delete makes it smaller, and the host's own state, such as
// which plugins are paused, is needed for what is stored to go on.
func (o *update) grows() bool {
	for _, w := range o.changes.Writes {
		if w.Value != nil && o.plugin != entry.HostState {
			return true
		}
	}
	return len(o.changes.Sends) > 0
}

func weighChanges(plugin string, c entry.Changes) (bytes, records int) {
	for i := range c.Sends {
		bytes += weighMessage(&c.Sends[i].Message) + len(plugin)*2 + 4*recordExtra
	}
	for _, w := range c.Writes {
		bytes += len(plugin) + len(w.Key) + len(w.Value) + recordExtra
	}
	bytes += len(c.Reads) * recordExtra // nothing is written, but each takes its time
	return bytes, 2*len(c.Sends) + len(c.Writes) + len(c.Reads)
}

func weighMessage(m *message.Checked) int {
	o := &m.Options
	return len(m.Session) + len(m.MessageID) + len(m.Group) + len(m.To.Token) + len(m.To.Topic) + len(m.To.Condition) + len(m.Context) +
		len(m.Data) + len(m.Notification) + len(o.Priority) + len(o.CollapseKey) + len(o.Android) + len(o.APNS) + len(o.Webpush)
}

// change checks all changes against what is there, this batch's earlier
// operations included, then writes them: all or nothing (P7).
func (b *batch) change(plugin string, c entry.Changes) error {
	if c.Empty() {
		return nil
	}
	if err := b.checkReads(plugin, c.Reads); err != nil {
		return err
	}
	for _, w := range c.Writes {
		if err := checkState(plugin, w.Key); err != nil {
			return fmt.Errorf("write state %q: %w", clip(w.Key, 64), err)
		}
		if len(w.Value) > maxBody {
			return fmt.Errorf("write state %q of %d bytes: %w", clip(w.Key, 64), len(w.Value), entry.ErrTooLarge)
		}
	}
	sends, err := b.checkSends(plugin, c.Sends)
	if err != nil {
		return err
	}
	if b.err != nil {
		return entry.ErrClosed
	}
	for _, s := range sends {
		b.send(s)
	}
	if len(c.Writes) > 0 {
		version := b.next()
		for _, w := range c.Writes {
			b.write(plugin, w, version)
		}
	}
	return nil
}

// checkReads compares what was read with what is there: a *entry.Conflict names
// all keys that have changed (P7).
func (b *batch) checkReads(plugin string, reads []entry.Read) error {
	if len(reads) > maxReads {
		return fmt.Errorf("%d reads of state, more than %d: %w", len(reads), maxReads, entry.ErrTooLarge)
	}
	var changed []string
	for _, r := range reads {
		if err := checkState(plugin, r.Key); err != nil {
			return fmt.Errorf("read state %q: %w", clip(r.Key, 64), err)
		}
		if v, _ := b.version(plugin, r.Key); v != r.Version {
			changed = append(changed, r.Key)
		}
	}
	if changed != nil {
		return &entry.Conflict{Keys: changed}
	}
	return nil
}

// version returns a state key's version and where it is; 0 when there is none.
func (b *batch) version(plugin, key string) (version uint64, at lent) {
	from := b.mark()
	b.arena = appendValueKey(b.arena, plugin, key)
	at = b.since(from)
	if r, found := b.get(at); found {
		version = r.u64() // not readValue, which copies the value
	}
	return version, at
}

func (b *batch) write(plugin string, w entry.Write, version uint64) {
	old, key := b.version(plugin, w.Key)
	switch {
	case w.Value != nil:
		from := b.mark()
		b.arena = appendValue(b.arena, value{version, w.Value})
		b.set(key, from)
		if old == 0 {
			b.tally.values++
		}
	case old != 0:
		b.del(key, recordExtra)
		b.tally.values--
	}
}

// toSend is one downstream that passed the checks.
type toSend struct {
	parcel  parcel
	content lent
	key     lent   // of its 'I' record
	sum     digest // of owner and content
}

// checkSends returns what is new of sends. What was sent before with the same
// content by the same owner is taken for the same message (P7: a redelivered
// event can't send twice); any other use of its id is an error.
func (b *batch) checkSends(plugin string, sends []entry.Send) ([]toSend, error) {
	var out []toSend
	var here map[digest]digest // ids in this very list
	for i := range sends {
		m := &sends[i].Message
		if m.MessageID == "" || m.Session == "" {
			return nil, errNoID
		}
		from := b.mark()
		b.arena = appendContent(b.arena, m)
		content := b.since(from)
		if len(content) > maxBody || len(m.MessageID) > maxName {
			return nil, fmt.Errorf("send %s of %d bytes: %w", m.MessageID, len(content), entry.ErrTooLarge)
		}
		id, is := sumSent(m.Session, m.MessageID), sumContent(plugin, content)
		key := b.hashKey(kindSent, id)
		was, known := here[id]
		if r, found := b.get(key); found {
			was, known = readSent(&r).content, true
		}
		if known {
			if was != is {
				return nil, fmt.Errorf("send %s: %w", m.MessageID, entry.ErrExists)
			}
			continue
		}
		if here == nil && len(sends) > 1 {
			here = make(map[digest]digest, len(sends))
		}
		if here != nil {
			here[id] = is
		}
		out = append(out, toSend{
			parcel:  parcel{tell: sends[i].Tell && plugin != "", accepted: b.now, expires: b.now.Add(ttl(m)), owner: plugin, message: m},
			content: content, key: key, sum: is,
		})
	}
	return out, nil
}

func sumContent(owner string, content []byte) digest {
	h := sha256.New()
	h.Write(appendText(nil, owner))
	h.Write(content)
	return digest(h.Sum(nil)[:len(digest{})])
}

func ttl(m *message.Checked) time.Duration {
	if m.Options.TTL == nil {
		return defaultTTL
	}
	return *m.Options.TTL
}

// send stores a downstream and makes it pending (P2).
func (b *batch) send(s toSend) {
	d := newDownstream(b.next(), s.parcel)
	from := b.mark()
	b.arena = appendParcel(b.arena, s.parcel, s.content)
	d.weight = uint32(b.mark() - from)
	d.body = s.parcel.message
	d.size += d.weight + bodyExtra
	d.page, d.slot = b.addToPage(&b.newSent, d.seq, b.since(from))
	from = b.mark()
	b.arena = appendSent(b.arena, sent{seq: d.seq, content: s.sum, group: d.group, owner: s.parcel.owner})
	b.set(s.key, from)
	b.tally.counts.Sent++
	b.tally.counts.Downstreams++
	b.effects = append(b.effects, effect{downstream: d, what: added})
}

// Get reads one key of a plugin's state: version 0 and no value when there is none.
func (l *Ledger) Get(plugin, key string) (value json.RawMessage, version uint64, err error) {
	if err := checkState(plugin, key); err != nil {
		return nil, 0, fmt.Errorf("read state %q: %w", clip(key, 64), err)
	}
	err = l.read(appendValueKey(nil, plugin, key), func(r *reader) error {
		v := readValue(r)
		value, version = v.json, v.version
		return r.done()
	})
	if errors.Is(err, errGone) {
		return nil, 0, nil
	}
	return value, version, err
}
