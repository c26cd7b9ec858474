package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// model is the ledger as the promises describe it, in plain Go. It holds copies
// of all that was given to the ledger, to be compared with what the ledger tells.
type model struct {
	clock    *machine
	dedup    map[string]time.Time
	events   []modelEvent
	dead     []modelDead
	downs    []modelDown
	ids      map[string]modelID // message ids
	replaces map[string]string  // the newest pending downstream by its Replace
	state    map[string]modelValue
	versions int // given out
	counts   entry.Counts
	timers   modelTimers
}

type modelEvent struct {
	Body     any // message.Upstream, message.Outcome or message.Timer, with the id that the ledger gave it, and the next attempt
	Attempts int
	Due      time.Time
	seq      uint64
	lease    uint64
	timer    modelTimer
}

type modelDead struct {
	modelEvent
	plugin, reason string
}

type modelDown struct {
	Message  message.Checked
	Owner    string
	Attempts int
	Due      time.Time
	seq      uint64
	gone     bool // it has gone out, or may have
}

// replaceKey is "" without a Replace.
func (d *modelDown) replaceKey() string {
	if d.Message.Replace == "" {
		return ""
	}
	return fmt.Sprintf("%s %+v %s", d.Owner, d.Message.To, d.Message.Replace)
}

type modelID struct {
	owner, content string
	ended          time.Time // zero: pending
}

type modelValue struct {
	text    string
	version int // 0: there is no such key
}

// find returns where the pending event with this seq is; -1 when it is not.
func (m *model) find(seq uint64) int {
	return slices.IndexFunc(m.events, func(e modelEvent) bool { return e.seq == seq })
}

func (m *model) findDown(seq uint64) int {
	return slices.IndexFunc(m.downs, func(d modelDown) bool { return d.seq == seq })
}

func (m *model) accept(u message.Upstream) {
	key := u.From + u.MessageID + string(u.Data)
	if at, ok := m.dedup[key]; ok && m.clock.now().Sub(at) < time.Hour {
		return
	}
	m.dedup[key] = m.clock.now()
	m.counts.Accepted++
	m.events = append(m.events, modelEvent{Body: u})
}

// seen is what changes have read and listed, as the model has it.
type seen struct {
	versions []int
	ranges   []string // what list made of them
}

// list is a plugin's state in a range, as text.
func (m *model) list(plugin string, r entry.Range) (text string) {
	for _, key := range m.keys(plugin, r) {
		text += fmt.Sprint(key, m.state[plugin+key], " ")
	}
	return text
}

// keys are a plugin's keys in a range, in order.
func (m *model) keys(plugin string, r entry.Range) (keys []string) {
	for name := range m.state {
		key, mine := strings.CutPrefix(name, plugin)
		if mine && strings.HasPrefix(key, r.Prefix) && key > r.After && (r.Last == "" || key <= r.Last) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// refuses says why changes can't be committed, if they can't.
func (m *model) refuses(plugin string, c entry.Changes, read seen) (why []error) {
	for i, r := range c.Reads {
		if m.state[plugin+r.Key].version != read.versions[i] {
			why = append(why, entry.ErrConflict)
		}
	}
	for i, r := range c.Ranges {
		if m.list(plugin, r) != read.ranges[i] {
			why = append(why, entry.ErrConflict)
		}
	}
	here := map[string]string{}
	for _, s := range c.Sends {
		id, is := s.Message.MessageID, content(s.Message)
		was, known := here[id]
		if used, ok := m.ids[id]; ok {
			was, known = used.content, true
			if used.owner != plugin {
				was = ""
			}
		}
		if known && was != is {
			why = append(why, entry.ErrExists)
		}
		here[id] = is
	}
	return why
}

// commit is what changes do that are not refused.
func (m *model) commit(plugin string, c entry.Changes) {
	for _, s := range c.Sends {
		if _, known := m.ids[s.Message.MessageID]; !known {
			m.ids[s.Message.MessageID] = modelID{owner: plugin, content: content(s.Message)}
			d := modelDown{Message: s.Message, Owner: plugin}
			if at := s.Message.NotBefore; at.After(m.clock.now()) {
				d.Due = at
			}
			m.downs = append(m.downs, d)
			m.counts.Sent++
			if key := d.replaceKey(); key != "" {
				older := m.replaces[key]
				m.replaces[key] = s.Message.MessageID
				m.cancel(plugin, older, "REPLACED")
			}
		}
	}
	for _, w := range c.Writes {
		if w.Value == nil {
			delete(m.state, plugin+w.Key)
		} else {
			m.versions++
			m.state[plugin+w.Key] = modelValue{string(w.Value), m.versions}
		}
	}
	for _, t := range c.Schedules {
		m.timers.schedule(plugin, t)
	}
	for _, c := range c.Cancels {
		m.cancel(plugin, c.MessageID, "CANCELED")
	}
}

// cancel ends a downstream, if it is pending, has not gone out, and is the plugin's; the
// API, plugin "", cancels everybody's.
func (m *model) cancel(plugin, id, code string) bool {
	i := slices.IndexFunc(m.downs, func(d modelDown) bool { return d.Message.MessageID == id })
	if i < 0 || m.downs[i].gone || plugin != "" && m.downs[i].Owner != plugin {
		return false
	}
	m.end(i, entry.End{Status: message.Canceled, Code: code})
	return true
}

// end ends a pending downstream.
func (m *model) end(i int, end entry.End) {
	d := m.downs[i]
	*map[message.OutcomeStatus]*uint64{
		message.Acked: &m.counts.Acked, message.Failed: &m.counts.Failed, message.Expired: &m.counts.Expired, message.Canceled: &m.counts.Canceled,
	}[end.Status]++
	id := m.ids[d.Message.MessageID]
	id.ended = m.clock.now()
	m.ids[d.Message.MessageID] = id
	if key := d.replaceKey(); m.replaces[key] == d.Message.MessageID {
		delete(m.replaces, key)
	}
	m.downs = slices.Delete(m.downs, i, i+1)
	m.events = append(m.events, modelEvent{Body: message.Outcome{
		Session: d.Message.Session, MessageID: d.Message.MessageID, Group: d.Message.Group, To: d.Message.To, Context: d.Message.Context,
		Status: end.Status, Code: end.Code, Description: end.Description, NewToken: end.NewToken, Gone: end.Gone, Attempts: end.Attempts,
	}})
}

// restarts is what a start forgets: which of those whose time had come have not gone out.
func (m *model) restarts() {
	for i := range m.downs {
		d := &m.downs[i]
		d.gone = d.gone || !d.Message.NotBefore.After(m.clock.now())
	}
}

// bury takes dead letters out.
func (m *model) bury(ids []string) {
	m.dead = slices.DeleteFunc(m.dead, func(d modelDead) bool { return slices.Contains(ids, d.id()) })
}

func (e *modelEvent) id() string {
	if u, ok := e.Body.(message.Upstream); ok {
		return u.ID
	}
	if t, ok := e.Body.(message.Timer); ok {
		return t.ID
	}
	return e.Body.(message.Outcome).ID
}

// again is the event for an attempt, under its id.
func (e *modelEvent) again(id string, attempts int) {
	e.Attempts = attempts
	switch m := e.Body.(type) {
	case message.Upstream:
		m.ID, m.Attempt = id, attempts+1
		e.Body = m
	case message.Outcome:
		m.ID, m.Attempt = id, attempts+1
		e.Body = m
	case message.Timer:
		m.ID, m.Attempt = id, attempts+1
		e.Body = m
	}
}

func content(m message.Checked) string { return string(appendContent(nil, &m)) }

// own copies what the ledger is given, so that the model's bytes stay as they are.
func own(c entry.Changes) entry.Changes {
	c.Sends, c.Writes, c.Schedules = slices.Clone(c.Sends), slices.Clone(c.Writes), slices.Clone(c.Schedules)
	for i := range c.Schedules {
		c.Schedules[i].Data = bytes.Clone(c.Schedules[i].Data)
	}
	for i := range c.Sends {
		m := &c.Sends[i].Message
		m.Data, m.Context = bytes.Clone(m.Data), bytes.Clone(m.Context)
		m.Options.Android = bytes.Clone(m.Options.Android)
	}
	for i := range c.Writes {
		c.Writes[i].Value = bytes.Clone(c.Writes[i].Value)
	}
	return c
}

// TestModel does at random what the engines do, several things in one batch at
// times, compares with a model after every step, byte for byte, and reopens now
// and then. // P0 P2 P4 P5 P6 P7 P8
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{clock: newMachine(), dedup: map[string]time.Time{}, ids: map[string]modelID{}, replaces: map[string]string{}, state: map[string]modelValue{}, timers: modelTimers{names: map[string]int{}}}
		s := &steps{rt: rt, t: t, m: m, cached: rapid.Bool().Draw(rt, "cached")}
		s.open(t.TempDir())
		defer func() { s.l.Close() }() //nolint:errcheck // compared before
		defer func() {
			if s.held {
				s.gate.open()
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"accept": s.accept, "settle": s.settle, "stale": s.stale, "replay": s.replay, "delete": s.deleteDead, "import": s.importDead,
			"update": s.update, "finish": s.finish, "take": s.take, "cancel": s.cancel, "postpone": s.postpone, "pass": s.pass, "squeeze": s.squeeze,
			"reopen": s.reopen, "restore": s.restore, "batch": s.batch, "again": s.batch, "once more": s.batch, "": s.compare,
		})
	})
}

// compare checks every promise that can be seen.
func (s *steps) compare(rt *rapid.T) {
	s.collect()
	s.compareEvents(rt)
	var downs []modelDown
	for i, d := range s.l.Downstreams(0, 1000) {
		msg, err := s.l.Downstream(d.Seq)
		s.must(err)
		if i < len(s.m.downs) {
			s.m.downs[i].seq = d.Seq
		}
		downs = append(downs, modelDown{Message: msg, Owner: d.Owner, Attempts: d.Attempts, Due: d.Due})
	}
	s.same(rt, "downstreams", s.m.downs, downs)
	s.compareDead(rt)
	s.compareState(rt)
	want := s.m.counts
	want.Events, want.Downstreams, want.Dead = len(s.m.events), len(s.m.downs), len(s.m.dead)
	want.Timers = len(s.m.timers.waiting)
	c := s.l.Counts()
	c.Duplicates = 0
	s.same(rt, "counts", want, c)
	s.must(s.l.Verify(s.t.Context()))
}

func (s *steps) compareState(rt *rapid.T) {
	for _, plugin := range []string{"p", "q"} {
		for _, key := range stateKeys {
			v, version, err := s.l.Get(plugin, key)
			s.must(err)
			want := s.m.state[plugin+key]
			if string(v) != want.text || (version == 0) != (want.version == 0) {
				rt.Fatalf("state %s of %s is %q, should be %q", key, plugin, v, want.text)
			}
		}
		span := entry.Span{
			Prefix: rapid.SampledFrom([]string{"", "k", "k/", "m"}).Draw(rt, "prefix"),
			After:  rapid.SampledFrom(append(stateKeys, "", "k/")).Draw(rt, "after"),
			Keys:   rapid.IntRange(1, 5).Draw(rt, "most"), Bytes: 1 << 20,
		}
		got, err := s.l.List(plugin, span)
		s.must(err)
		want := s.m.keys(plugin, entry.Range{Prefix: span.Prefix, After: span.After})
		if more := len(want) > span.Keys; got.More != more {
			rt.Fatalf("there are more than %d keys: %v, should be %v", span.Keys, got.More, more)
		}
		want = want[:min(span.Keys, len(want))]
		if len(got.Items) != len(want) || got.Digest.Keys != len(want) {
			rt.Fatalf("%v lists %v, should list %v", span, got, want)
		}
		for i, it := range got.Items {
			if it.Key != want[i] || string(it.Value) != s.m.state[plugin+it.Key].text || it.Version == 0 {
				rt.Fatalf("%v lists %v, should list %v", span, got, want)
			}
		}
	}
}

func (s *steps) compareEvents(rt *rapid.T) {
	var got []modelEvent
	last := uint64(0)
	for i, ev := range s.l.Events(0, 1000) {
		body, err := s.l.Body(ev.Seq)
		if void := i < len(s.m.events) && s.m.timers.void(&s.m.events[i]); void != (err == entry.ErrVoid) {
			rt.Fatalf("event %d is void: %v, its body: %v", ev.Seq, void, err)
		} else if void { // the ledger does not give its body
			t := s.m.events[i].Body.(message.Timer)
			body.Timer, err = &t, nil
		}
		s.must(err)
		e := modelEvent{Attempts: ev.Attempts, Due: ev.Due}
		if t := body.Timer; t != nil {
			e.Body = *t
		} else if u := body.Upstream; u != nil {
			if u.Received.IsZero() {
				rt.Fatalf("event %d was received at no time", ev.Seq)
			}
			u.Received = time.Time{}
			e.Body = *u
		} else {
			e.Body = *body.Outcome
		}
		if i < len(s.m.events) { // ids and seqs are the ledger's to choose, once
			m := &s.m.events[i]
			m.seq = ev.Seq
			m.again(or(m.id(), e.id()), m.Attempts)
		}
		if ev.Seq <= last {
			rt.Fatalf("seq %d follows %d", ev.Seq, last)
		}
		last = ev.Seq
		got = append(got, e)
	}
	s.same(rt, "events", s.m.events, got)
}

func (s *steps) compareDead(rt *rapid.T) {
	letters, err := s.l.Dead("", 1000)
	s.must(err)
	if len(letters) != len(s.m.dead) {
		rt.Fatalf("%d dead letters, should be %d", len(letters), len(s.m.dead))
	}
	for _, m := range s.m.dead {
		got, err := s.l.DeadLetter(m.id())
		s.must(err)
		want := entry.DeadLetter{ID: m.id(), Reason: m.reason, Attempts: m.Attempts, Plugin: m.plugin, Died: got.Died, Received: got.Received}
		switch b := m.Body.(type) {
		case message.Upstream:
			want.Kind, want.Session, want.Category, want.From, want.MessageID, want.Raw = "upstream", b.Session, b.Category, b.From, b.MessageID, b.Raw
		case message.Outcome:
			want.Kind, want.Session, want.MessageID = "outcome", b.Session, b.MessageID
			want.Status, want.Code, want.Gone, want.From = b.Status.String(), b.Code, b.Gone, or(b.To.Token, b.To.FID)
		case message.Timer:
			want.Kind, want.Session, want.Key, want.From, want.Raw = "timer", b.Session, b.Key, b.Device, b.Data
		}
		s.same(rt, "dead letter", want, got)
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (s *steps) same(rt *rapid.T, what string, want, got any) {
	ignore := cmp.FilterPath(func(p cmp.Path) bool {
		return p.Last().String() == ".seq" || p.Last().String() == ".gone" || p.Last().String() == ".lease" || p.Last().String() == ".timer"
	}, cmp.Ignore())
	times := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
	raw := cmp.FilterValues(func(a, b json.RawMessage) bool { return len(a) > 0 && len(b) > 0 },
		cmp.Comparer(func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }))
	if diff := cmp.Diff(want, got, ignore, times, raw, cmpopts.EquateEmpty(), cmp.AllowUnexported(modelEvent{}, modelDown{})); diff != "" {
		rt.Fatalf("%s (-should be +are):\n%.4000s", what, diff)
	}
}

// judged says whether an operation that may be refused for several reasons was told one of them.
func judged(err error, why []error) error {
	if len(why) == 0 && err == nil || slices.ContainsFunc(why, func(w error) bool { return errors.Is(err, w) }) {
		return nil
	}
	return fmt.Errorf("was told %v, should be one of %v", err, why)
}
