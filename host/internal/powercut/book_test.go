package powercut

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"balhost/host/internal/entry"
	"balhost/host/internal/ledger"
	"balhost/sdk/message"
)

// book notes what the callers of a ledger have asked for, and what they were told.
type book struct {
	mu        sync.Mutex
	upstreams map[string]upstreamNote // by message id
	sends     map[string]sendNote     // by message id; of updates, and of other sends that were confirmed
	updates   map[string]updateNote   // by key
	lastSeq   uint64                  // the highest that anybody has seen
	lastID    string
}

type upstreamNote struct {
	stored                       bool // the callback came
	id                           string
	retries                      int  // committed since the last replay
	willDone, done               bool // asked for; committed
	willDie, died, willReplay    bool
	willDelete, deleted, unknown bool // unknown: the number of retries is not known
}

type sendNote struct{ willFinish, finished, willTell, told bool }

// updateNote has the values of a counter: the one asked for, and the one committed.
type updateNote struct{ asked, set int }

func newBook() *book {
	return &book{upstreams: map[string]upstreamNote{}, sends: map[string]sendNote{}, updates: map[string]updateNote{}}
}

func (b *book) clone() *book {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &book{
		upstreams: maps.Clone(b.upstreams), sends: maps.Clone(b.sends), updates: maps.Clone(b.updates),
		lastSeq: b.lastSeq, lastID: b.lastID,
	}
}

func (b *book) upstream(id string, change func(*upstreamNote)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.upstreams[id]
	change(&n)
	b.upstreams[id] = n
}

func (b *book) send(id string, change func(*sendNote)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.sends[id]
	change(&n)
	b.sends[id] = n
}

// saw notes the seq of an event that was read.
func (b *book) saw(seq uint64, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lastSeq, b.lastID = max(b.lastSeq, seq), max(b.lastID, id)
}

// found is what is in a ledger.
type found struct {
	pending  map[string]entry.Event // upstreams by message id
	outcomes map[string]bool        // by the message id of the downstream
	sends    map[string]bool
	dead     map[string]entry.DeadLetter
	done     map[string]bool
	told     map[string]bool
	wrong    []error
}

func (f *found) add(format string, args ...any) {
	if len(f.wrong) < 20 {
		f.wrong = append(f.wrong, fmt.Errorf(format, args...))
	}
}

// plugin is the plugin whose state says what was handled.
const plugin = "p"

func has(l *ledger.Ledger, key string) bool {
	_, version, err := l.Get(plugin, key)
	return err == nil && version != 0
}

// compare checks a ledger against the promises: Every acked message is pending, handled
// or dead, exactly once (P1, P6, P8). What a handler did is there exactly if its event
// has ended (P7). Every downstream is pending, or has one outcome that is pending or
// was heard (P4). The totals agree. Nobody may use the ledger meanwhile.
func (b *book) compare(l *ledger.Ledger) error {
	f := &found{
		pending: map[string]entry.Event{}, outcomes: map[string]bool{}, sends: map[string]bool{},
		dead: map[string]entry.DeadLetter{}, done: map[string]bool{}, told: map[string]bool{},
	}
	b.readEvents(l, f)
	for _, d := range l.Downstreams(0, 1<<30) {
		if _, err := l.Downstream(d.Seq); err != nil {
			f.add("read downstream %s: %w", d.MessageID, err)
		}
		if f.sends[d.MessageID] {
			f.add("downstream %s is pending twice", d.MessageID)
		}
		f.sends[d.MessageID] = true
	}
	letters, err := l.Dead("", 1<<30)
	if err != nil {
		f.add("read dead letters: %w", err)
	}
	for _, d := range letters {
		f.dead[d.MessageID] = d
	}
	if len(f.dead) != len(letters) {
		f.add("%d dead letters are of %d messages", len(letters), len(f.dead))
	}
	stored := b.compareUpstreams(l, f)
	sent := b.compareSends(l, f)
	c := l.Counts()
	for _, n := range []struct {
		what      string
		got, want int
	}{
		{"accepted", int(c.Accepted), stored},
		{"handled", int(c.Handled), len(f.done) + len(f.told)},
		{"sent", int(c.Sent), sent},
		{"ended downstreams", int(c.Acked + c.Failed + c.Expired), sent - len(f.sends)},
		{"dead letters", c.Dead, len(f.dead)},
		{"timers", c.Timers, len(f.done)},
		{"pending events", c.Events, len(f.pending) + len(f.outcomes)},
	} {
		if n.got != n.want {
			f.add("the counters have %d %s, there are %d", n.got, n.what, n.want)
		}
	}
	if a := l.Alarms(); len(a) > 0 {
		f.add("alarms: %s", strings.Join(a, "; "))
	}
	return errors.Join(f.wrong...)
}

func (b *book) readEvents(l *ledger.Ledger, f *found) {
	last := uint64(0)
	for _, ev := range l.Events(0, 1<<30) {
		if ev.Seq <= last {
			f.add("event %d comes after %d", ev.Seq, last)
		}
		last = ev.Seq
		body, err := l.Body(ev.Seq)
		if err != nil {
			f.add("read event %d: %w", ev.Seq, err)
			continue
		}
		switch {
		case body.Upstream != nil:
			u := body.Upstream
			if _, twice := f.pending[u.MessageID]; twice {
				f.add("%s is pending twice", u.MessageID)
			}
			f.pending[u.MessageID] = ev
			if n := b.upstreams[u.MessageID]; n.id != "" && n.id != u.ID {
				f.add("%s had the id %s and has %s", u.MessageID, n.id, u.ID)
			}
			if string(u.Data) != payload(u.MessageID) {
				f.add("%s has other data: %.100s", u.MessageID, u.Data)
			}
		case body.Outcome != nil:
			if f.outcomes[body.Outcome.MessageID] {
				f.add("the outcome of %s is pending twice", body.Outcome.MessageID)
			}
			f.outcomes[body.Outcome.MessageID] = true
		}
	}
}

// compareUpstreams returns how many upstreams were stored in all.
func (b *book) compareUpstreams(l *ledger.Ledger, f *found) (stored int) {
	for id, n := range b.upstreams {
		ev, pending := f.pending[id]
		d, dead := f.dead[id]
		done := has(l, "done/"+id)
		if done {
			f.done[id] = true
		}
		places := 0
		for _, there := range []bool{pending, dead, done} {
			if there {
				places++
			}
		}
		switch {
		case places > 1:
			f.add("%s is in %d places: pending %t, dead %t, handled %t", id, places, pending, dead, done)
		case n.deleted && places > 0:
			f.add("%s was deleted and is back", id)
		case n.stored && places == 0 && !n.willDelete:
			f.add("%s was acked and is lost: %+v", id, n)
		case done && !n.willDone:
			f.add("%s is handled, by nobody", id)
		case n.done && !done:
			f.add("%s was handled, which is undone", id)
		case n.died && !dead && !n.willReplay && !n.willDelete:
			f.add("%s was dead and is not", id)
		case pending && !n.unknown && ev.Attempts < n.retries:
			f.add("%s was tried %d times, %d are known", id, n.retries, ev.Attempts)
		case dead && n.id != "" && n.id != d.ID:
			f.add("%s had the id %s and is dead with %s", id, n.id, d.ID)
		}
		if places > 0 || n.willDelete {
			stored++
		}
	}
	for id := range f.pending {
		if _, known := b.upstreams[id]; !known {
			f.add("%s is pending, of nobody", id)
		}
	}
	return stored
}

// compareSends returns how many downstreams were sent in all.
func (b *book) compareSends(l *ledger.Ledger, f *found) (sent int) {
	each := func(id string) {
		sent++
		n := b.sends[id]
		told := has(l, "told/"+id)
		if told {
			f.told[id] = true
		}
		places := 0
		for _, there := range []bool{f.sends[id], f.outcomes[id], told} {
			if there {
				places++
			}
		}
		switch {
		case places != 1:
			f.add("downstream %s is in %d places: pending %t, outcome %t, told %t", id, places, f.sends[id], f.outcomes[id], told)
		case n.finished && f.sends[id]:
			f.add("downstream %s was finished and is pending", id)
		case n.told && !told:
			f.add("the outcome of %s was heard, which is undone", id)
		case !f.sends[id] && !n.willFinish:
			f.add("downstream %s was finished, by nobody", id)
		case told && !n.willTell:
			f.add("the outcome of %s was heard, by nobody", id)
		}
	}
	for id := range f.done {
		each("d-" + id)
	}
	for key, n := range b.updates {
		value, _, err := l.Get(plugin, key)
		now := 0
		if err == nil && value != nil {
			err = json.Unmarshal(value, &now)
		}
		if err != nil || now < n.set || now > n.asked {
			f.add("%s is %d, was set to %d: %w", key, now, n.set, err)
		}
		for i := range now {
			each(fmt.Sprintf("u-%s-%d", key, i+1))
		}
	}
	if got := len(f.sends) + len(f.outcomes) + len(f.told); got != sent {
		f.add("there are %d downstreams, %d were sent", got, sent)
	}
	return sent
}

func payload(id string) string {
	return `{"is":"` + id + `","pad":"` + strings.Repeat("x", 150+len(id)*7%400) + `"}`
}

// upstream makes a message of a device. Some are unusable and go to the dead letters.
func inbound(id string) entry.Inbound {
	raw := fmt.Sprintf(`{"category":"com.example.app","data":%s,"message_id":%q,"from":"tokA"}`, payload(id), id)
	u := &message.Upstream{Session: "main", From: "tokA", Category: "com.example.app", MessageID: id, Data: json.RawMessage(payload(id)), Raw: json.RawMessage(raw)}
	return entry.Inbound{Upstream: u}
}

func downstream(id string) entry.Send {
	return entry.Send{Tell: true, Message: message.Checked{
		To: message.Token("tokA"), Data: json.RawMessage(`{"n":"1"}`), MessageID: id, Session: "main", Group: "room", Context: json.RawMessage(`{"c":1}`),
	}}
}
