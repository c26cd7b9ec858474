package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// model is the ledger as the promises describe it, in plain Go.
type model struct {
	now    time.Time
	dedup  map[string]time.Time
	events []modelEvent
	dead   []modelEvent
	downs  []modelDown
	ids    map[string]modelID // message ids
	state  map[string]string
	counts entry.Counts
}

type modelEvent struct {
	Key      string // what it is
	ID       string
	Attempts int
	Due      time.Time
	seq      uint64
}

type modelDown struct {
	ID, Data string
	Attempts int
	seq      uint64
}

type modelID struct {
	owner, data string
	ended       time.Time // zero: pending
}

// TestModel does at random what the engines do, compares with a model after
// every step, and reopens now and then. // P0 P2 P4 P5 P6 P7 P8
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{now: time.UnixMilli(1_700_000_000_000), dedup: map[string]time.Time{}, ids: map[string]modelID{}, state: map[string]string{}}
		s := &steps{rt: rt, t: t, m: m}
		s.l = open(t, t.TempDir(), s.options)
		defer func() { s.l.Close() }() //nolint:errcheck // compared before
		rt.Repeat(map[string]func(*rapid.T){
			"accept": s.accept, "settle": s.settle, "stale": s.stale, "replay": s.replay, "delete": s.deleteDead,
			"update": s.update, "finish": s.finish, "postpone": s.postpone, "pass": s.pass, "squeeze": s.squeeze,
			"reopen": s.reopen, "": s.compare,
		})
	})
}

type steps struct {
	rt *rapid.T
	t  *testing.T
	l  *Ledger
	m  *model
}

func (s *steps) options(o *Options) {
	o.Now = func() time.Time { return s.m.now }
	o.DedupWindow, o.Retention = time.Hour, 2*time.Hour
}

func (s *steps) await(f func(done func(error))) error { return await(s.t, f) }

func (s *steps) must(err error) {
	if err != nil {
		s.rt.Fatal(err)
	}
}

// accept submits several at once, with repetitions among them.
func (s *steps) accept(rt *rapid.T) {
	n := rapid.IntRange(1, 8).Draw(rt, "n")
	results := make(chan error, n)
	for range n {
		from, id, data := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "from"), rapid.SampledFrom([]string{"1", "2", "3", "4", "5"}).Draw(rt, "id"),
			rapid.SampledFrom([]string{`{}`, `{"x":"y"}`}).Draw(rt, "data")
		s.l.Accept(entry.Inbound{Upstream: upstream(from, id, data)}, func(err error) { results <- err })
		key := from + id + data
		if at, ok := s.m.dedup[key]; ok && s.m.now.Sub(at) < time.Hour {
			continue
		}
		s.m.dedup[key] = s.m.now
		s.m.counts.Accepted++
		s.m.events = append(s.m.events, modelEvent{Key: key})
	}
	for range n {
		s.must(<-results)
	}
}

// changes draws what a handler did, and returns what should come of it.
func (s *steps) changes(rt *rapid.T, plugin string) (c entry.Changes, want error) {
	for i := range rapid.IntRange(0, 3).Draw(rt, "sends") {
		id, data := fmt.Sprint("d-", rapid.IntRange(0, 30).Draw(rt, "id")), rapid.SampledFrom([]string{`{}`, `{"x":"y"}`}).Draw(rt, "data")
		if used, ok := s.m.ids[id]; ok && (used.owner != plugin || used.data != data) {
			want = entry.ErrExists
		}
		for _, earlier := range c.Sends[:i] {
			if earlier.Message.MessageID == id && string(earlier.Message.Data.(json.RawMessage)) != data {
				want = entry.ErrExists
			}
		}
		c.Sends = append(c.Sends, send(id, data))
	}
	for range rapid.IntRange(0, 2).Draw(rt, "writes") {
		w := entry.Write{Key: rapid.SampledFrom([]string{"k", "l"}).Draw(rt, "key")}
		if rapid.Bool().Draw(rt, "put") {
			w.Value = json.RawMessage(fmt.Sprint(rapid.IntRange(0, 9).Draw(rt, "value")))
		}
		c.Writes = append(c.Writes, w)
	}
	for range rapid.IntRange(0, 2).Draw(rt, "reads") {
		key := rapid.SampledFrom([]string{"k", "l"}).Draw(rt, "key")
		_, version, err := s.l.Get(plugin, key)
		s.must(err)
		if rapid.IntRange(0, 4).Draw(rt, "stale") == 0 {
			version += 1 << 20
			want = entry.ErrConflict
		}
		c.Reads = append(c.Reads, entry.Read{Key: key, Version: version})
	}
	return c, want
}

func (s *steps) commit(plugin string, c entry.Changes) {
	for _, send := range c.Sends {
		id, data := send.Message.MessageID, string(send.Message.Data.(json.RawMessage))
		if _, known := s.m.ids[id]; !known {
			s.m.ids[id] = modelID{owner: plugin, data: data}
			s.m.downs = append(s.m.downs, modelDown{ID: id, Data: data})
			s.m.counts.Sent++
		}
	}
	for _, w := range c.Writes {
		if w.Value == nil {
			delete(s.m.state, plugin+w.Key)
		} else {
			s.m.state[plugin+w.Key] = string(w.Value)
		}
	}
}

func (s *steps) pick(rt *rapid.T) int {
	if len(s.m.events) == 0 {
		rt.Skip("no events")
	}
	return rapid.IntRange(0, len(s.m.events)-1).Draw(rt, "event")
}

func (s *steps) settle(rt *rapid.T) {
	i := s.pick(rt)
	ev := &s.m.events[i]
	s.l.Lease(ev.seq, 3)
	plugin := rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "plugin")
	set := entry.Settlement{
		Seq: ev.seq, Lease: 3, Plugin: plugin, Reason: "because",
		Verdict: rapid.SampledFrom([]entry.Verdict{entry.Done, entry.Done, entry.Retry, entry.Dead}).Draw(rt, "verdict"),
	}
	var want error
	switch set.Verdict {
	case entry.Done:
		set.Changes, want = s.changes(rt, plugin)
	case entry.Retry:
		set.Due = s.m.now.Add(time.Minute)
	}
	err := s.await(func(done func(error)) { s.l.Settle(set, done) })
	if want != nil {
		// With a stale read and a used id at once either may be named.
		if !errors.Is(err, entry.ErrConflict) && !errors.Is(err, entry.ErrExists) {
			rt.Fatalf("settle: %v, should be like %v", err, want)
		}
		return
	}
	s.must(err)
	switch set.Verdict {
	case entry.Done:
		s.m.counts.Handled++
		s.m.events = slices.Delete(s.m.events, i, i+1)
		s.commit(plugin, set.Changes)
	case entry.Retry:
		ev.Attempts++
		ev.Due = set.Due
	case entry.Dead:
		s.m.counts.Died++
		ev.Attempts++
		s.m.dead = append(s.m.dead, *ev)
		s.m.events = slices.Delete(s.m.events, i, i+1)
	}
}

// stale settles with a lease that is not in force.
func (s *steps) stale(rt *rapid.T) {
	ev := s.m.events[s.pick(rt)]
	s.l.Lease(ev.seq, 9)
	c, _ := s.changes(rt, "p")
	err := s.await(func(done func(error)) {
		s.l.Settle(entry.Settlement{Seq: ev.seq, Lease: 8, Verdict: entry.Done, Plugin: "p", Changes: c}, done)
	})
	if !errors.Is(err, entry.ErrLease) {
		rt.Fatalf("stale lease: %v", err)
	}
	s.l.Lease(ev.seq, 0)
}

// some draws dead letters, in any order.
func (s *steps) some(rt *rapid.T) (ids []string) {
	if len(s.m.dead) == 0 {
		rt.Skip("no dead letters")
	}
	perm := rapid.Permutation(s.m.dead).Draw(rt, "dead")
	for _, d := range perm[:rapid.IntRange(1, len(perm)).Draw(rt, "n")] {
		ids = append(ids, d.ID)
	}
	return ids
}

func (s *steps) replay(rt *rapid.T) {
	ids := s.some(rt)
	s.must(s.l.Replay(ids))
	slices.SortFunc(s.m.dead, func(a, b modelEvent) int { return int(a.seq) - int(b.seq) })
	for _, d := range s.m.dead { // in ledger order
		if slices.Contains(ids, d.ID) {
			s.m.events = append(s.m.events, modelEvent{Key: d.Key, ID: d.ID})
		}
	}
	s.bury(ids)
}

func (s *steps) deleteDead(rt *rapid.T) {
	ids := s.some(rt)
	s.must(s.l.DeleteDead(ids))
	s.bury(ids)
}

func (s *steps) bury(ids []string) {
	s.m.dead = slices.DeleteFunc(s.m.dead, func(d modelEvent) bool { return slices.Contains(ids, d.ID) })
}

func (s *steps) update(rt *rapid.T) {
	plugin := rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "plugin")
	c, want := s.changes(rt, plugin)
	err := s.await(func(done func(error)) { s.l.Update(plugin, c, done) })
	if want == nil {
		s.must(err)
		s.commit(plugin, c)
	} else if !errors.Is(err, entry.ErrConflict) && !errors.Is(err, entry.ErrExists) {
		rt.Fatalf("update: %v, should be like %v", err, want)
	}
}

func (s *steps) down(rt *rapid.T) int {
	if len(s.m.downs) == 0 {
		rt.Skip("no downstreams")
	}
	return rapid.IntRange(0, len(s.m.downs)-1).Draw(rt, "down")
}

func (s *steps) finish(rt *rapid.T) {
	i := s.down(rt)
	d := s.m.downs[i]
	end := entry.End{Seq: d.seq, Status: rapid.SampledFrom([]message.OutcomeStatus{message.Acked, message.Failed, message.Expired}).Draw(rt, "status")}
	s.must(s.await(func(done func(error)) { s.l.Finish(end, done) }))
	switch end.Status {
	case message.Acked:
		s.m.counts.Acked++
	case message.Failed:
		s.m.counts.Failed++
	case message.Expired:
		s.m.counts.Expired++
	}
	id := s.m.ids[d.ID]
	id.ended = s.m.now
	s.m.ids[d.ID] = id
	s.m.downs = slices.Delete(s.m.downs, i, i+1)
	s.m.events = append(s.m.events, modelEvent{Key: d.ID + " " + end.Status.String()})
	if err := s.await(func(done func(error)) { s.l.Finish(end, done) }); !errors.Is(err, entry.ErrUnknown) {
		rt.Fatalf("finished twice: %v", err)
	}
}

func (s *steps) postpone(rt *rapid.T) {
	d := &s.m.downs[s.down(rt)]
	d.Attempts++
	s.must(s.await(func(done func(error)) { s.l.Postpone(d.seq, s.m.now.Add(time.Second), d.Attempts, "BUSY", done) }))
}

// pass lets time pass and purges.
func (s *steps) pass(rt *rapid.T) {
	s.m.now = s.m.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(rt, "minutes")) * time.Minute)
	s.must(s.l.purge(s.t.Context()))
	for id, m := range s.m.ids {
		if !m.ended.IsZero() && m.ended.Before(s.m.now.Add(-2*time.Hour)) {
			delete(s.m.ids, id)
		}
	}
}

func (s *steps) squeeze(*rapid.T) { s.must(s.l.squeeze(s.t.Context(), 1<<60)) }

func (s *steps) reopen(*rapid.T) {
	s.must(s.l.Close())
	s.l = open(s.t, s.l.o.Dir, s.options)
}

// compare checks every promise that can be seen.
func (s *steps) compare(rt *rapid.T) {
	var got []modelEvent
	last := uint64(0)
	for i, ev := range s.l.Events(0, 1000) {
		body, err := s.l.Body(ev.Seq)
		s.must(err)
		e := modelEvent{Attempts: ev.Attempts, Due: ev.Due}
		if u := body.Upstream; u != nil {
			e.Key, e.ID = u.From+u.MessageID+string(u.Data), u.ID
		} else {
			e.Key, e.ID = body.Outcome.MessageID+" "+body.Outcome.Status.String(), body.Outcome.ID
		}
		if i < len(s.m.events) { // ids and seqs are the ledger's to choose, once
			m := &s.m.events[i]
			m.ID, m.seq = or(m.ID, e.ID), ev.Seq
		}
		if ev.Seq <= last {
			rt.Fatalf("seq %d follows %d", ev.Seq, last)
		}
		last = ev.Seq
		got = append(got, e)
	}
	s.same(rt, "events", s.m.events, got)
	var downs []modelDown
	for i, d := range s.l.Downstreams(0, 1000) {
		msg, err := s.l.Downstream(d.Seq)
		s.must(err)
		if i < len(s.m.downs) {
			s.m.downs[i].seq = d.Seq
		}
		downs = append(downs, modelDown{ID: d.MessageID, Data: string(msg.Data.(json.RawMessage)), Attempts: d.Attempts})
	}
	s.same(rt, "downstreams", s.m.downs, downs)
	letters, err := s.l.Dead("", 1000)
	s.must(err)
	if len(letters) != len(s.m.dead) {
		rt.Fatalf("%d dead letters, should be %d", len(letters), len(s.m.dead))
	}
	for _, d := range letters {
		if !slices.ContainsFunc(s.m.dead, func(e modelEvent) bool { return e.ID == d.ID && e.Attempts == d.Attempts }) {
			rt.Fatalf("dead letter %+v is not known", d)
		}
	}
	for _, key := range []string{"pk", "pl", "qk", "ql"} {
		v, version, err := s.l.Get(key[:1], key[1:])
		s.must(err)
		if string(v) != s.m.state[key] || (version == 0) != (s.m.state[key] == "") {
			rt.Fatalf("state %s is %q, should be %q", key, v, s.m.state[key])
		}
	}
	want := s.m.counts
	want.Events, want.Downstreams, want.Dead = len(s.m.events), len(s.m.downs), len(s.m.dead)
	c := s.l.Counts()
	c.Duplicates = 0
	s.same(rt, "counts", want, c)
	s.must(s.l.Verify(s.t.Context()))
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (s *steps) same(rt *rapid.T, what string, want, got any) {
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".seq" }, cmp.Ignore())
	times := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
	if diff := cmp.Diff(want, got, ignore, times, cmpopts.EquateEmpty(), cmp.AllowUnexported(modelEvent{}, modelDown{})); diff != "" {
		rt.Fatalf("%s (-should be +are):\n%s", what, diff)
	}
}
