package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/state"
)

// A plugin that was forgotten has a key in the host's own state, which says when. What it had
// sent before goes on, but nobody is told how that ends: no outcome and no receipt becomes an
// event. A plugin of that name that comes later is another one. The key is so small that it
// stays for ever. A host from before there was one ignores it, and makes events again.

// forgotten is when a plugin was forgotten.
type forgotten struct {
	Seq uint64 `json:"seq"` // of all that it had sent, none has a greater one
	At  int64  `json:"at"`  // nanoseconds of the ledger's clock
}

// setForgotten is that a batch forgets a plugin.
type setForgotten struct {
	plugin string
	forgotten
}

const forgottenKeys = "forgotten/"

// codeForgotten is the code of what ended without being told, because its plugin was forgotten.
const codeForgotten = "FORGOTTEN"

func (l *Ledger) loadForgotten(ctx context.Context, m *state.Moment) error {
	prefix := appendValueKey(nil, entry.HostState, forgottenKeys)
	return m.Scan(prefix, prefix, func(key, record []byte) (bool, error) {
		r, err := unseal(key, record)
		if err != nil {
			return false, err
		}
		var f forgotten
		v := readValue(&r)
		if err := r.done(); err != nil {
			return false, err
		}
		if err := json.Unmarshal(v.json, &f); err != nil {
			return false, fmt.Errorf("key %q of the host's state: %w", key[1:], err)
		}
		l.forgot(setForgotten{string(key[len(prefix):]), f})
		return true, ctx.Err()
	})
}

// forgot makes memory know of a forgotten plugin. The map is replaced, so who has read it
// under Ledger.mu may go on to read it.
func (l *Ledger) forgot(f setForgotten) {
	now := maps.Clone(l.forgottens)
	if now == nil {
		now = map[string]forgotten{}
	}
	now[strings.Clone(f.plugin)] = f.forgotten
	l.forgottens = now
}

// forgottenNow are the plugins that were forgotten, by name.
func (l *Ledger) forgottenNow() map[string]forgotten {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.forgottens
}

// untold reports whether nobody is told of a downstream of this plugin with this seq.
func (b *batch) untold(plugin name, seq uint64) bool {
	if len(b.l.forgottens) == 0 && len(b.forgot) == 0 {
		return false
	}
	for i := range b.forgot {
		if f := &b.forgot[i]; f.plugin == plugin.Value() && seq <= f.Seq {
			return true
		}
	}
	f, is := b.l.forgottens[plugin.Value()]
	return is && seq <= f.Seq
}

// unheard ends a receipt of a forgotten plugin's downstream, which nobody is told.
func (b *batch) unheard(e envelope) {
	h := e.heading()
	b.sumUp(summary{
		kind: entry.Receipt, id: e.id, lane: e.group, session: h.session, device: h.device, target: entry.KeptDevice(h.target),
		category: clip(h.category, maxName), plugin: e.plugin, messageID: clip(h.messageID, maxName), code: codeForgotten, detail: entry.ForgottenReason,
	})
	b.tally.finished++
	b.tally.untold++
	if b.watched {
		b.sayEvent(feed.Canceled, e, entry.ForgottenReason)
	}
}

// forget notes that a plugin is forgotten from now on.
type forget struct{ plugin string }

func (o *forget) weigh() (bytes, records int) { return 2*len(o.plugin) + 3*recordExtra, 1 }

func (o *forget) apply(b *batch) error {
	f := setForgotten{o.plugin, forgotten{Seq: b.next(), At: toNanos(b.now)}}
	text, err := json.Marshal(f.forgotten)
	if err != nil {
		return err
	}
	b.write(entry.HostState, entry.Write{Key: forgottenKeys + o.plugin, Value: text}, f.Seq)
	b.forgot = append(b.forgot, f)
	return nil
}

// What one operation of a forgetting may take: others wait for it.
const (
	forgetAtOnce = 256       // entries
	forgetPages  = 16        // pages of entries, each of which may be read from the disk
	forgetBytes  = 256 << 10 // of dead letters, or one of any size
)

// forgetEvents ends events of a forgotten plugin, from the first on and as many as fit.
type forgetEvents struct {
	l      *Ledger
	plugin string
	remove bool // else they become dead letters
	seqs   []uint64
	done   int           // of seqs; set by apply, as the next ones are
	gone   []entry.Event // ended
	moved  int           // of these became dead letters
}

func (o *forgetEvents) weigh() (bytes, records int) {
	if bytes = len(o.seqs) * 3 * recordExtra; !o.remove {
		bytes += o.l.weight(&o.l.events, o.seqs[0]) + o.extra() + forgetBytes
	}
	return bytes, 4 * len(o.seqs)
}

// extra is what a dead letter may have besides its event.
func (o *forgetEvents) extra() int { return triesBytes + len(o.plugin) + 2*recordExtra }

func (o *forgetEvents) apply(b *batch) error {
	today := b.l.clock.today()
	room, pages, last := forgetBytes, 0, pageAt{}
	for i, seq := range o.seqs {
		ev := b.event(seq)
		if ev == nil || ev.over || b.l.leases.of(seq) != 0 { // a handler has it: a plugin has claimed its category
			o.done = i + 1
			continue
		}
		if ev.page != last.page {
			pages, last = pages+1, pageAt{page: ev.page}
		}
		size := int(ev.weight) + recordExtra
		if ev.kept {
			size += triesBytes
		}
		if i > 0 && (pages > forgetPages || !o.remove && size+o.extra()-triesBytes > room) {
			break
		}
		room -= size + o.extra() - triesBytes
		o.done, o.gone = i+1, append(o.gone, ev.public(today))
		switch {
		case b.void(ev):
			b.endEvent(ev) // its timer was canceled
		case o.remove:
			b.dropEvent(ev)
		default:
			e, raw, err := b.opened(last.entry(b, ev.seq))
			if err != nil {
				return err
			}
			o.moved++
			b.bringDead(ev, raw, dead{event: e, attempts: ev.attempts, plugin: o.plugin, reason: entry.ForgottenReason, tries: b.past(ev.at())})
		}
	}
	if b.err != nil {
		return entry.ErrClosed
	}
	return nil
}

// pageAt is a page of events of which several entries are read, one after the other.
type pageAt struct {
	page   *page
	record reader
	read   bool
}

// entry is [batch.entry] of one of its entries.
func (p *pageAt) entry(b *batch, seq uint64) (reader, error) {
	if !p.read {
		if p.record, p.read = b.get(b.seqKey(kindEvent, p.page.seq)); !p.read {
			return reader{}, fmt.Errorf("page %d %w", p.page.seq, errGone)
		}
	}
	record := p.record
	return record.slot(p.page.seq, seq)
}

// dropEvent ends an event because a person wants it gone.
func (b *batch) dropEvent(ev *event) {
	if b.watched {
		if e, _, err := b.envelope(ev); err == nil {
			b.sayEvent(feed.Deleted, e, entry.ForgottenReason)
		}
	}
	b.endEvent(ev)
	b.tally.counts.Erased++
}

// forgetTimers takes away timers of a forgotten plugin that wait.
type forgetTimers struct {
	remove bool // else they become dead letters
	timers []waitingTimer
	did    int // set by apply
}

func (o *forgetTimers) weigh() (bytes, records int) {
	for _, t := range o.timers {
		bytes += int(t.at.bytes) + 3*(len(t.plugin)+recordExtra) + len(t.key)
	}
	return bytes, 3 * len(o.timers)
}

func (o *forgetTimers) apply(b *batch) error {
	for _, w := range o.timers {
		n, name, found := b.timer(w.plugin, w.key)
		if !found || n.event != 0 || n.at.due != w.at.due || n.at.seq != w.at.seq {
			continue // it is an event by now
		}
		r, found := b.get(b.dueKey(n.at))
		if !found {
			b.fail(fmt.Errorf("timer %q of plugin %s %w", w.key, w.plugin, errGone))
			break
		}
		e := envelope{plugin: w.plugin, body: readTimer(&r, r.string())}
		if b.fail(r.done()); b.err != nil {
			break
		}
		b.unwait(n.at)
		b.del(name, recordExtra)
		o.did++
		if o.remove {
			b.tally.counts.Erased++
		} else {
			b.tally.lastID = nextID(b.tally.lastID, b.now, b.entropy)
			e.id = b.tally.lastID
			from := b.mark()
			b.arena = appendEnvelope(b.arena, e)
			b.putDead(dead{seq: b.next(), died: b.now, plugin: w.plugin, reason: entry.ForgottenReason, event: e}, b.since(from)[1:])
		}
		if b.watched {
			b.sayForgotten(e)
		}
	}
	if b.err != nil {
		return entry.ErrClosed
	}
	return nil
}

// sayForgotten tells of a timer that became a dead letter, or, without an id, of one that is gone.
func (b *batch) sayForgotten(e envelope) {
	what := feed.Dead
	if e.id == (ulid.ULID{}) {
		what = feed.Canceled
	}
	b.sayEvent(what, e, entry.ForgottenReason)
}
