package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

// Update commits changes outside an event. The plugin owns them; "" is the API, which
// has no state and hears no outcomes. done gets what Settle's gets, and entry.ErrFull
// for changes that send, set a key of a plugin, or set a timer.
// Updates keep their order among each other. While other operations wait, updates get
// a quarter of each commit, so others overtake them.
func (l *Ledger) Update(plugin string, c entry.Changes, done func(error)) {
	l.put(&update{plugin: plugin, changes: c, l: l}, done)
}

var (
	errNoState = errors.New("the API has no state of its own: Writes and Reads need a plugin")
	errNoKey   = errors.New("a state key must not be empty")
	errNoID    = errors.New("a downstream needs a message id and a session")
)

// defaultTTL is how long CCS keeps a downstream without a TTL: four weeks
// (ccs-protocol.md §3.1). The ledger keeps it no longer either.
const defaultTTL = 28 * 24 * time.Hour

type update struct {
	plugin  string
	changes entry.Changes
	l       *Ledger
	ends    bound
}

func (o *update) weigh() (bytes, records int) {
	bytes, records = weighChanges(o.plugin, o.changes)
	more, extra := o.ends.weigh(o.l, o.plugin, o.changes)
	return bytes + more, records + extra
}

func (o *update) apply(b *batch) error {
	if o.grows() && b.full {
		return entry.ErrFull
	}
	return b.change(o.plugin, o.changes, nil)
}

// grows reports whether the ledger gets larger by what a plugin or a person wants.
// Deletions make it smaller. The host's own state, such as which plugins are paused,
// is small and always taken.
func (o *update) grows() bool {
	for _, w := range o.changes.Writes {
		if w.Value != nil && o.plugin != entry.HostState {
			return true
		}
	}
	for i := range o.changes.Schedules {
		if !o.changes.Schedules[i].Cancel {
			return true
		}
	}
	return len(o.changes.Sends) > 0
}

func weighChanges(plugin string, c entry.Changes) (bytes, records int) {
	for i := range c.Sends {
		bytes += weighMessage(&c.Sends[i].Message) + len(plugin)*2 + 4*recordExtra + spanBytes
	}
	for _, w := range c.Writes {
		bytes += len(plugin) + len(w.Key) + len(w.Value) + recordExtra
	}
	for i := range c.Schedules {
		more, n := weighSchedule(plugin, &c.Schedules[i])
		bytes, records = bytes+more, records+n
	}
	looks := len(c.Reads)
	for _, r := range c.Ranges {
		looks += 1 + r.Digest.Keys
	}
	bytes += looks * recordExtra // nothing is written, but it is looked for
	return bytes, records + 2*len(c.Sends) + len(c.Writes) + looks
}

func weighMessage(m *message.Checked) int {
	o := &m.Options
	return len(m.Session) + len(m.MessageID) + len(m.Group) + len(m.To.Token) + len(m.To.FID) + len(m.To.Topic) + len(m.To.Condition) + len(m.Context) + len(m.Replace) +
		len(m.Data) + len(m.Notification) + len(o.Priority) + len(o.CollapseKey) + len(o.Android) + len(o.APNS) + len(o.Webpush)
}

// change checks all changes against what is there, earlier operations of this batch
// included. Then it writes them, all or nothing (P7). by is the event that is settled with
// them; nil: none.
func (b *batch) change(plugin string, c entry.Changes, by *event) error {
	if c.Empty() {
		return nil
	}
	if err := b.checkReads(plugin, c); err != nil {
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
	for i := range c.Schedules {
		if err := checkSchedule(plugin, &c.Schedules[i]); err != nil {
			return err
		}
	}
	sends, err := b.checkSends(plugin, c.Sends, by)
	if err != nil {
		return err
	}
	if b.err != nil {
		return entry.ErrClosed
	}
	for _, s := range sends {
		b.send(s)
	}
	for i := range c.Schedules {
		b.schedule(plugin, &c.Schedules[i], by)
	}
	if len(c.Writes) > 0 {
		version := b.next()
		for _, w := range c.Writes {
			b.write(plugin, w, version)
		}
	}
	b.cancelAll(plugin, c.Cancels)
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
		b.arena = sealRecord(appendValue(b.arena, value{version, w.Value}), from, key)
		b.put(state.Change{Key: key, Value: b.since(from), New: old == 0})
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
	key     lent    // of its 'I' record
	sum     digest  // of owner and content
	parent  [8]byte // of its span
}

// checkSends returns the sends that are new. What was sent before by the same owner,
// with the same id and content, is the same message: a redelivered event can't send
// twice (P7). Any other use of an id is an error.
func (b *batch) checkSends(plugin string, sends []entry.Send, by *event) ([]toSend, error) {
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
		notBefore := b.notBefore(m)
		trace, parent := b.makes(&sends[i], by)
		out = append(out, toSend{
			parcel: parcel{
				tell: sends[i].Tell && plugin != "", accepted: b.now, notBefore: notBefore,
				expires: latest(b.now, notBefore).Add(ttl(m)), owner: plugin, cause: by.causes(m.MessageID), trace: trace, message: m,
			},
			content: content, key: key, sum: is, parent: parent,
		})
	}
	return out, nil
}

// causes is what is stored as the cause of a downstream: nothing if its id begins with
// that of the event, as the SDK makes it. See [entry.Trace].
func (e *event) causes(messageID string) (cause ulid.ULID) {
	if e == nil {
		return cause
	}
	var id [ulid.EncodedSize]byte
	if e.id.MarshalTextTo(id[:]) == nil && strings.HasPrefix(messageID, string(id[:])) {
		return cause
	}
	return e.id
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

// notBefore is a message's NotBefore by the ledger's clock; zero when it has passed.
func (b *batch) notBefore(m *message.Checked) time.Time {
	if t := fromNanos(b.until(m.NotBefore)); t.After(b.now) {
		return t
	}
	return time.Time{}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
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
	b.arena = appendSent(b.arena, sent{seq: d.seq, content: s.sum, target: d.target, group: d.group, owner: s.parcel.owner})
	b.set(s.key, from)
	b.tally.counts.Sent++
	b.tally.counts.Downstreams++
	b.effects = append(b.effects, effect{downstream: d, what: added})
	b.newest = append(b.newest, d)
	if s.parcel.trace != nil {
		b.traceMade(&s)
	}
	if b.watched {
		b.sayDownstream(d, d.body, feed.Step{What: feed.Stored, Due: s.parcel.message.NotBefore})
	}
	if d.replaces {
		b.replace(d, s.parcel.message)
	}
}
