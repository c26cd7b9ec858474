package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// steps are what TestModel does. Each asks for one operation or several; what
// the model makes of them is decided when their callbacks come, which is the
// order of the commits.
type steps struct {
	rt     *rapid.T
	t      *testing.T
	l      *Ledger
	m      *model
	gate   gatekeeper
	cached bool // what is pending is in memory; else all is deep

	held    bool                   // the committer is: what is asked for becomes one batch, or a few
	exports map[string]modelExport // dead letters as they were last, by id
	asked   int
	answers chan func() error
}

func (s *steps) open(dir string) {
	s.answers = make(chan func() error, 10_000)
	s.m.restarts()
	s.l = open(s.t, dir, s.gate.options, func(o *Options) {
		o.Now = s.m.clock.now
		o.DedupWindow, o.Retention = time.Hour, 2*time.Hour
	})
	s.gate.l = s.l
	s.gate.fill(s.t, ulid.Make().String())
	s.m.counts.Accepted++
	s.m.counts.Handled++
	if !s.cached {
		s.l.sent.limit, s.l.events.limit = 1, 1
	}
}

func (s *steps) must(err error) {
	if err != nil {
		s.rt.Fatal(err)
	}
}

// do asks for an operation. judge compares its answer with what the model says at that moment.
func (s *steps) do(ask func(done func(error)), judge func(err error) error) {
	s.asked++
	ask(func(err error) { s.answers <- func() error { return judge(err) } })
}

// collect takes the answers to all that was asked.
func (s *steps) collect() {
	for ; s.asked > 0; s.asked-- {
		select {
		case judge := <-s.answers:
			s.must(judge())
		case <-time.After(time.Minute):
			s.rt.Fatal("no callback within a minute")
		}
	}
}

// batch asks for several things that become one batch.
func (s *steps) batch(rt *rapid.T) {
	s.gate.shut()
	s.held = true
	for range rapid.IntRange(2, 12).Draw(rt, "n") {
		rapid.SampledFrom([]func(*rapid.T){
			s.accept, s.settle, s.settle, s.stale, s.replay, s.deleteDead, s.update, s.finish, s.finish, s.finish, s.take, s.cancel, s.postpone, s.squeeze,
		}).Draw(rt, "step")(rt)
	}
	s.held = false
	s.gate.open()
}

// accept submits several at once, with repetitions among them.
func (s *steps) accept(rt *rapid.T) {
	for range rapid.IntRange(1, 8).Draw(rt, "n") {
		from, id := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "from"), rapid.SampledFrom([]string{"1", "2", "3", "4", "5"}).Draw(rt, "id")
		size := rapid.SampledFrom([]int{0, 1, 300, 3000}).Draw(rt, "size")
		u := func() *message.Upstream {
			u := upstream("tok-"+from, id, fmt.Sprintf(`{"of":%q,"fill":%q}`, from+id, strings.Repeat(from, size)))
			u.Category = "com.example." + from
			return u
		}
		s.do(func(done func(error)) { s.l.Accept(entry.Inbound{Upstream: u()}, done) }, func(err error) error {
			s.m.accept(*u())
			return err
		})
	}
}

// send draws a downstream: of an id there are two, and they share nothing but that.
func (s *steps) send(rt *rapid.T) entry.Send {
	replace := rapid.SampledFrom([]string{"", "", "score", "place"}).Draw(rt, "replace")
	if replace != "" {
		return s.replacing(rt, replace)
	}
	n, variant := rapid.IntRange(0, 30).Draw(rt, "id"), rapid.SampledFrom([]string{"one", "one", "one", "other"}).Draw(rt, "variant")
	what := fmt.Sprintf("%s-%d", variant, n)
	return entry.Send{Tell: true, Message: message.Checked{
		To: []message.Target{message.Token("tok-" + what), message.FID("tok-" + what)}[n%2], MessageID: fmt.Sprint("d-", n), Session: "main", Group: []string{"", "room", "hall"}[n%3],
		Data: json.RawMessage(fmt.Sprintf(`{"data":%q}`, what)), Context: json.RawMessage(fmt.Sprintf(`{"context":%q}`, strings.Repeat(what, n))),
		Options:   message.Options{CollapseKey: what, Android: json.RawMessage(fmt.Sprintf(`{"android":%q}`, what))},
		NotBefore: []time.Time{{}, time.UnixMilli(1_700_000_000_000).Add(time.Duration(n) * 10 * time.Minute).UTC()}[n/2%2],
	}}
}

// stateKeys are the keys of the plugins' state, of which some begin with others.
var stateKeys = []string{"k", "k/1", "k/2", "l"}

// replacing draws a downstream to one of two devices that takes the place of another.
func (s *steps) replacing(rt *rapid.T, replace string) entry.Send {
	n := rapid.IntRange(0, 60).Draw(rt, "id")
	m := message.Checked{To: []message.Target{message.Token("tok"), message.FID("tok")}[n%2], MessageID: fmt.Sprint(replace, "-", n), Session: "main", Replace: replace}
	if n%3 == 0 {
		m.NotBefore = time.UnixMilli(1_700_000_000_000).Add(time.Duration(n) * 10 * time.Minute).UTC()
	}
	return entry.Send{Tell: true, Message: m}
}

// cancels draws downstreams to cancel, also such as there are not.
func (s *steps) cancels(rt *rapid.T) (all []entry.Cancel) {
	for range rapid.IntRange(0, 3).Draw(rt, "cancels") {
		id := fmt.Sprint(rapid.SampledFrom([]string{"d", "score", "place"}).Draw(rt, "kind"), "-", rapid.IntRange(0, 30).Draw(rt, "id"))
		if d := s.down(rt); d != nil && rapid.Bool().Draw(rt, "pending") {
			id = d.Message.MessageID
		}
		all = append(all, entry.Cancel{Session: "main", MessageID: id}, entry.Cancel{Session: "other", MessageID: id})
	}
	return all
}

func (s *steps) cancel(rt *rapid.T) {
	plugin, which := rapid.SampledFrom([]string{"p", "q", ""}).Draw(rt, "plugin"), s.cancels(rt)
	told := 0
	s.do(func(done func(error)) {
		s.l.Cancel(plugin, slices.Clone(which), func(n int, err error) { told = n; done(err) })
	}, func(err error) error {
		n := 0
		for _, c := range which {
			if c.Session == "main" && s.m.cancel(plugin, c.MessageID, "CANCELED") {
				n++
			}
		}
		if err == nil && n != told {
			err = fmt.Errorf("%d are canceled, told were %d", n, told)
		}
		return err
	})
}

// take hands out a downstream whose time has come, before what waits for its commit.
func (s *steps) take(rt *rapid.T) {
	d := s.down(rt)
	if d == nil || d.Message.NotBefore.After(s.m.clock.now()) {
		return
	}
	m, err := s.l.Take(d.seq)
	s.must(err)
	s.same(rt, "taken", d.Message, m)
	d.gone = true
}

// changes draws what a handler did, and what it has read.
func (s *steps) changes(rt *rapid.T, plugin string) (c entry.Changes, read seen) {
	for range rapid.SampledFrom([]int{0, 1, 2, 8}).Draw(rt, "sends") {
		c.Sends = append(c.Sends, s.send(rt))
	}
	for range rapid.IntRange(0, 2).Draw(rt, "writes") {
		w := entry.Write{Key: rapid.SampledFrom(stateKeys).Draw(rt, "key")}
		if rapid.Bool().Draw(rt, "put") {
			w.Value = json.RawMessage(fmt.Sprint(rapid.IntRange(0, 9).Draw(rt, "value")))
		}
		c.Writes = append(c.Writes, w)
	}
	for range rapid.IntRange(0, 2).Draw(rt, "reads") {
		key := rapid.SampledFrom(stateKeys).Draw(rt, "key")
		_, version, err := s.l.Get(plugin, key)
		s.must(err)
		mine := s.m.state[plugin+key].version
		if rapid.IntRange(0, 4).Draw(rt, "stale") == 0 {
			version += 1 << 20
			mine = -1
		}
		c.Reads = append(c.Reads, entry.Read{Key: key, Version: version})
		read.versions = append(read.versions, mine)
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(rt, "ranges") {
		r, was := s.listed(rt, plugin)
		c.Ranges, read.ranges = append(c.Ranges, r), append(read.ranges, was)
	}
	c.Cancels = s.cancels(rt)
	c.Schedules = s.schedules(rt)
	return c, read
}

// listed draws a range that a handler has listed, up to some key or to its end.
func (s *steps) listed(rt *rapid.T, plugin string) (r entry.Range, was string) {
	span := entry.Span{
		Prefix: rapid.SampledFrom([]string{"", "k", "k/", "l", "m"}).Draw(rt, "prefix"),
		After:  rapid.SampledFrom([]string{"", "", "k", "k/1"}).Draw(rt, "after"),
		Keys:   rapid.IntRange(1, 5).Draw(rt, "most"), Bytes: rapid.SampledFrom([]int{1, 40, 1 << 20}).Draw(rt, "bytes"),
	}
	got, err := s.l.List(plugin, span)
	s.must(err)
	r = entry.Range{Prefix: span.Prefix, After: span.After, Digest: got.Digest}
	if got.More {
		r.Last = got.Items[len(got.Items)-1].Key
	}
	was = s.m.list(plugin, r)
	if rapid.IntRange(0, 4).Draw(rt, "stale range") == 0 {
		return entry.Range{Prefix: r.Prefix, After: r.After, Last: r.Last, Digest: entry.Digest{Keys: r.Digest.Keys, Newest: r.Digest.Newest + 1}}, "another"
	}
	return r, was
}

// pick draws a pending event; nil when there is none.
func (s *steps) pick(rt *rapid.T) *modelEvent {
	if len(s.m.events) == 0 {
		return nil
	}
	return &s.m.events[rapid.IntRange(0, len(s.m.events)-1).Draw(rt, "event")]
}

func (s *steps) settle(rt *rapid.T) {
	ev := s.pick(rt)
	if ev == nil {
		return
	}
	s.l.Lease(ev.seq, 3)
	ev.lease = 3
	plugin := rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "plugin")
	set := entry.Settlement{
		Seq: ev.seq, Lease: 3, Plugin: plugin, Reason: "because of " + plugin,
		Verdict: rapid.SampledFrom([]entry.Verdict{entry.Done, entry.Done, entry.Retry, entry.Dead, entry.Void, entry.Again}).Draw(rt, "verdict"),
	}
	var read seen
	switch set.Verdict {
	case entry.Done:
		set.Changes, read = s.changes(rt, plugin)
	default: // what it has read counts, and nothing else
		set.Changes, read = s.changes(rt, plugin)
		set.Changes.Sends, set.Changes.Writes = nil, nil
		set.Due = s.m.clock.now().Add(time.Minute)
	}
	s.submit(set, read)
}

func (s *steps) submit(set entry.Settlement, read seen) {
	mine := own(set.Changes)
	s.do(func(done func(error)) { s.l.Settle(set, done) }, func(err error) error {
		i := s.m.find(set.Seq)
		if i < 0 || s.m.events[i].lease != set.Lease {
			return judged(err, []error{entry.ErrLease})
		}
		if s.m.timers.void(&s.m.events[i]) != (set.Verdict == entry.Void) {
			return judged(err, []error{entry.ErrLease})
		}
		if set.Verdict == entry.Void {
			s.m.events = slices.Delete(s.m.events, i, i+1)
			return err
		}
		ev := &s.m.events[i]
		if set.Verdict == entry.Again {
			s.m.timers.end(ev)
			again := modelEvent{Body: ev.Body} // no timer: it is loose
			again.again(ev.id(), 0)
			s.m.events = append(slices.Delete(s.m.events, i, i+1), again)
			return err
		}
		if why := s.m.refuses(set.Plugin, mine, read); len(why) > 0 {
			return judged(err, why)
		}
		switch set.Verdict {
		case entry.Done:
			s.m.counts.Handled++
			s.m.timers.end(ev)
			s.m.events = slices.Delete(s.m.events, i, i+1)
			s.m.commit(set.Plugin, mine)
		case entry.Retry:
			ev.again(ev.id(), ev.Attempts+1)
			ev.Due, ev.lease = set.Due, 0
		case entry.Dead:
			s.m.counts.Died++
			s.m.timers.end(ev)
			ev.Attempts++
			s.m.dead = append(s.m.dead, modelDead{*ev, set.Plugin, set.Reason})
			s.m.events = slices.Delete(s.m.events, i, i+1)
		}
		return err
	})
}

// stale settles with a lease that is not in force.
func (s *steps) stale(rt *rapid.T) {
	ev := s.pick(rt)
	if ev == nil {
		return
	}
	s.l.Lease(ev.seq, 9)
	ev.lease = 9
	c, read := s.changes(rt, "p")
	s.submit(entry.Settlement{Seq: ev.seq, Lease: 8, Verdict: entry.Done, Plugin: "p", Changes: c}, read)
}

// some draws dead letters, in any order, and their ids as the operations have them.
func (s *steps) some(rt *rapid.T) (ids []string, op *deadOp) {
	op = &deadOp{}
	letters := slices.Clone(s.m.dead)
	if s.held { // one that dies in this very batch, too
		for _, ev := range s.m.events {
			letters = append(letters, modelDead{modelEvent: ev})
		}
	}
	if len(letters) == 0 {
		return nil, op
	}
	slices.SortFunc(letters, func(a, b modelDead) int { return int(a.seq) - int(b.seq) })
	from := rapid.IntRange(0, len(letters)-1).Draw(rt, "from")
	for _, d := range letters[from:rapid.IntRange(from+1, len(letters)).Draw(rt, "to")] {
		ids = append(ids, d.id())
		id, err := ulid.ParseStrict(d.id())
		s.must(err)
		op.ids = append(op.ids, id)
	}
	op.bytes = 1 << 10
	return ids, op
}

// parted are those of these that are dead letters now, if the operation found the others gone.
func (s *steps) parted(ids []string, op *deadOp) (there []string) {
	var gone []string
	for _, id := range ids {
		if slices.ContainsFunc(s.m.dead, func(d modelDead) bool { return d.id() == id }) {
			there = append(there, id)
		} else {
			gone = append(gone, id)
		}
	}
	if !slices.Equal(gone, op.gone) {
		s.must(fmt.Errorf("gone are %v, told are %v", gone, op.gone))
	}
	return there
}

func (s *steps) replay(rt *rapid.T) {
	ids, op := s.some(rt)
	if len(ids) == 0 {
		return
	}
	s.do(func(done func(error)) { s.l.put(&replay{op}, done) }, func(err error) error {
		if err != nil {
			return err
		}
		ids := s.parted(ids, op)
		for _, id := range ids {
			i := slices.IndexFunc(s.m.dead, func(d modelDead) bool { return d.id() == id })
			ev := modelEvent{Body: s.m.dead[i].Body} // no timer: it is loose
			ev.again(id, 0)
			s.m.events = append(s.m.events, ev)
		}
		s.m.bury(ids)
		return err
	})
}

func (s *steps) deleteDead(rt *rapid.T) {
	ids, op := s.some(rt)
	if len(ids) == 0 {
		return
	}
	s.do(func(done func(error)) { s.l.put(&deleteDead{op}, done) }, func(err error) error {
		if err != nil {
			return err
		}
		s.m.bury(s.parted(ids, op))
		return err
	})
}

// modelExport is a dead letter that a file has.
type modelExport struct {
	letter entry.Exported
	was    modelDead
}

// importDead exports all dead letters, and imports some of those that were ever exported.
func (s *steps) importDead(rt *rapid.T) {
	s.collect()
	if s.exports == nil {
		s.exports = map[string]modelExport{}
	}
	letters, _, err := s.l.Export(entry.DeadFilter{}, "", 1000, math.MaxInt)
	s.must(err)
	for _, x := range filed(s.t, letters) {
		i := slices.IndexFunc(s.m.dead, func(d modelDead) bool { return d.id() == x.ID })
		s.exports[x.ID] = modelExport{x, s.m.dead[i]}
	}
	var order entry.Import
	var want entry.Imported
	spoilt := rapid.IntRange(0, 3).Draw(rt, "spoil") == 0
	order.SkipWrong = rapid.Bool().Draw(rt, "skip")
	var made []modelDead
	for _, id := range slices.Sorted(maps.Keys(s.exports)) {
		if !rapid.Bool().Draw(rt, "take") {
			continue
		}
		x := s.exports[id].letter
		here := slices.ContainsFunc(s.m.dead, func(d modelDead) bool { return d.id() == id }) ||
			slices.ContainsFunc(s.m.events, func(ev modelEvent) bool { return ev.id() == id })
		switch {
		case spoilt:
			x.MessageID, spoilt = x.MessageID+"?", false
			want.Wrong = append(want.Wrong, entry.WrongLetter{At: len(order.Letters)})
		case here:
			want.Same++
		default:
			made = append(made, s.exports[id].was)
		}
		order.Letters = append(order.Letters, x)
	}
	if len(want.Wrong) == 0 || order.SkipWrong {
		want.Done = len(made)
		s.m.dead = append(s.m.dead, made...)
	}
	got, err := s.l.Import(order)
	s.must(err)
	for i := range got.Wrong {
		got.Wrong[i].Reason = ""
	}
	s.same(rt, "import", want, got)
}

func (s *steps) update(rt *rapid.T) {
	plugin := rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "plugin")
	c, read := s.changes(rt, plugin)
	mine := own(c)
	s.do(func(done func(error)) { s.l.Update(plugin, c, done) }, func(err error) error {
		why := s.m.refuses(plugin, mine, read)
		if len(why) == 0 {
			s.m.commit(plugin, mine)
		}
		return judged(err, why)
	})
}

// down draws a pending downstream, one of the oldest; nil when there is none.
func (s *steps) down(rt *rapid.T) *modelDown {
	if len(s.m.downs) == 0 {
		return nil
	}
	return &s.m.downs[rapid.IntRange(0, min(8, len(s.m.downs)-1)).Draw(rt, "down")]
}

func (s *steps) finish(rt *rapid.T) {
	picked := s.down(rt)
	if picked == nil {
		return
	}
	d := *picked
	end := entry.End{
		Seq: d.seq, Status: rapid.SampledFrom([]message.OutcomeStatus{message.Acked, message.Failed, message.Expired}).Draw(rt, "status"),
		Code: "CODE", Description: "of " + d.Message.MessageID, NewToken: "new-" + d.Message.To.Token, Attempts: 2,
		Gone: rapid.Bool().Draw(rt, "gone"),
	}
	s.do(func(done func(error)) { s.l.Finish(end, done) }, func(err error) error {
		i := s.m.findDown(end.Seq)
		if i < 0 {
			return judged(err, []error{entry.ErrUnknown})
		}
		s.m.end(i, end)
		return err
	})
}

func (s *steps) postpone(rt *rapid.T) {
	picked := s.down(rt)
	if picked == nil {
		return
	}
	d := *picked
	attempts, due := d.Attempts+1, s.m.clock.now().Add(time.Second)
	s.do(func(done func(error)) {
		s.l.Postpone(entry.Postponement{Seq: d.seq, Due: due, Attempts: attempts, Tried: entry.Attempt{Code: "BUSY"}}, done)
	}, func(err error) error {
		i := s.m.findDown(d.seq)
		if i < 0 {
			return judged(err, []error{entry.ErrUnknown})
		}
		s.m.downs[i].Attempts, s.m.downs[i].Due, s.m.downs[i].gone = attempts, due, true
		return err
	})
}

// pass lets time pass and purges.
func (s *steps) pass(rt *rapid.T) {
	s.m.clock.lives(time.Duration(rapid.IntRange(1, 90).Draw(rt, "minutes")) * time.Minute)
	s.fire()
	s.must(s.l.purge(s.t.Context()))
	for id, m := range s.m.ids {
		if !m.ended.IsZero() && m.ended.Before(s.m.clock.now().Add(-2*time.Hour)) {
			delete(s.m.ids, id)
		}
	}
}

func (s *steps) squeeze(*rapid.T) {
	for _, kind := range []byte{kindEvent, kindDownstream} {
		s.do(func(done func(error)) { s.l.put(&squeeze{kind: kind, before: 1 << 60}, done) }, func(err error) error { return err })
	}
}

// restore goes on with what is restored of a backup.
func (s *steps) restore(*rapid.T) {
	var file bytes.Buffer
	_, err := s.l.Backup(s.t.Context(), &file, 0, "test")
	s.must(err)
	s.must(s.l.Close())
	dir := s.t.TempDir()
	_, err = Restore(s.t.Context(), Options{Dir: dir, Statfs: plenty, Now: s.m.clock.now}, &file, nil)
	s.must(err)
	s.open(dir)
}

func (s *steps) reopen(*rapid.T) {
	dir := s.l.o.Dir
	s.must(s.l.Close())
	s.open(dir)
}
