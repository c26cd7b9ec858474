package outbox

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/flow"
	"balhost/sdk/message"

	"pgregory.net/rapid"
)

// model is what must hold while a transport with two connections and the routes of some
// devices take, answer and return at random. It knows of each downstream what the tests
// of single cases can't: where it may be at this moment.
type model struct {
	*rapid.T
	l *ledger
	b *Outbox

	all    map[uint64]*sentOne
	conns  map[int][]uint64 // in flight, by connection
	routes []*device        // also those whose targets a newer one took
}

// sentOne is one downstream of a model.
type sentOne struct {
	to       message.Target
	group    uint64
	expires  bool
	offRoute bool // a route has declined it
	after    time.Time
	out      bool // it has gone out once
	canceled bool
}

// device is one route of a model.
type device struct {
	number int
	name   string
	lost   bool // a newer one took its targets
	holds  []uint64
}

func (d *device) owns(to message.Target) bool {
	return !d.lost && (to.Token == d.name || to.FID == d.name)
}

// ended are those with an outcome on disk.
func (m *model) ended() map[uint64]bool {
	ended := map[uint64]bool{}
	for _, e := range m.l.outcomes() {
		if ended[e.Seq] {
			m.Fatalf("P4: %d has two outcomes", e.Seq)
		}
		ended[e.Seq] = true
	}
	return ended
}

// busy are those in flight, each with who has it.
func (m *model) busy() map[uint64]string {
	busy := map[uint64]string{}
	note := func(who string, seqs []uint64) {
		for _, seq := range seqs {
			if other := busy[seq]; other != "" {
				m.Fatalf("%d is with %s and %s", seq, other, who)
			}
			busy[seq] = who
		}
	}
	for conn, seqs := range m.conns {
		note(fmt.Sprint("connection ", conn), seqs)
	}
	for _, d := range m.routes {
		note(fmt.Sprint("route ", d.number), d.holds)
	}
	return busy
}

// route is the one by which a downstream goes; nil: the transport.
func (m *model) route(seq uint64) *device {
	for _, d := range m.routes {
		if d.owns(m.all[seq].to) && !m.all[seq].offRoute {
			return d
		}
	}
	return nil
}

// head reports whether all before a downstream in its group have ended.
func (m *model) head(seq uint64, ended map[uint64]bool) bool {
	for other, s := range m.all {
		if s.group != 0 && s.group == m.all[seq].group && other < seq && !ended[other] {
			return false
		}
	}
	return true
}

// took checks what somebody took, before it is noted.
func (m *model) took(who string, by *device, got []uint64) {
	ended, busy := m.ended(), m.busy()
	if !slices.IsSorted(got) {
		m.Fatalf("P3: %s took %v: not the oldest first", who, got)
	}
	for _, seq := range got {
		switch {
		case busy[seq] != "":
			m.Fatalf("%s took %d, which is with %s", who, seq, busy[seq])
		case ended[seq]:
			m.Fatalf("%s took %d, which has ended", who, seq)
		case !m.head(seq, ended):
			m.Fatalf("P5: %s took %d before others of its group have ended", who, seq)
		case m.all[seq].canceled:
			m.Fatalf("%s took %d, which is canceled", who, seq)
		case m.all[seq].after.After(time.Now()):
			m.Fatalf("%s took %d before its time", who, seq)
		case m.route(seq) != by:
			m.Fatalf("%s took %d, which goes by %+v", who, seq, m.route(seq))
		}
		m.all[seq].out = true
	}
}

// ending reports whether the outcome of a downstream is on its way to the disk.
func (m *model) ending(seq uint64) bool {
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	it := m.b.items[seq]
	return it != nil && it.state == ending
}

// due are all that a route must get now, oldest first.
func (m *model) due(d *device) []uint64 {
	ended, busy := m.ended(), m.busy()
	due := []uint64{}
	for _, seq := range slices.Sorted(maps.Keys(m.all)) {
		if m.route(seq) == d && !ended[seq] && !m.ending(seq) && busy[seq] == "" && m.head(seq, ended) && !m.all[seq].canceled && !m.all[seq].after.After(time.Now()) {
			due = append(due, seq)
		}
	}
	return due
}

func (m *model) accept() {
	s := &sentOne{group: uint64(rapid.IntRange(0, 4).Draw(m.T, "group"))}
	name := rapid.SampledFrom([]string{"tokA", "tokB", "tokC"}).Draw(m.T, "device")
	s.to = rapid.SampledFrom([]message.Target{message.Token(name), message.FID(name), message.Topic(name)}).Draw(m.T, "to")
	ttl := time.Duration(-1)
	if s.expires = rapid.IntRange(0, 3).Draw(m.T, "expires") == 0; s.expires {
		ttl = time.Duration(rapid.IntRange(0, 100).Draw(m.T, "ttl")) * time.Second
	}
	wait := time.Duration(max(0, rapid.IntRange(-20, 50).Draw(m.T, "not before"))) * time.Second
	s.after = time.Now().Add(wait)
	m.all[m.l.acceptIn(wait, s.to, s.group, ttl)] = s
}

func (m *model) attach() {
	d := &device{name: rapid.SampledFrom([]string{"tokA", "tokB"}).Draw(m.T, "device")}
	for _, old := range m.routes {
		old.lost = old.lost || old.name == d.name
	}
	d.number = attach(m.b, d.name)
	m.routes = append(m.routes, d)
}

// any is one of the routes.
func (m *model) any() *device {
	if len(m.routes) == 0 {
		m.Skip("no device is connected")
	}
	return rapid.SampledFrom(m.routes).Draw(m.T, "route")
}

// detach ends a route as the gateway does: before or after it gives back what it holds.
func (m *model) detach() {
	d := m.any()
	first := rapid.Bool().Draw(m.T, "detach first")
	if first {
		m.b.Detach("main", d.number)
	}
	m.routes = slices.DeleteFunc(m.routes, func(other *device) bool { return other == d })
	m.b.Return("main", d.holds, ours)
	if !first {
		m.b.Detach("main", d.number)
	}
}

func (m *model) takeAt() {
	d := m.any()
	want := m.due(d)
	n := rapid.IntRange(1, 5).Draw(m.T, "n")
	got := takeAt(m.b, d.number, n)
	m.took(fmt.Sprint("route ", d.number), d, got)
	if want = want[:min(n, len(want))]; !slices.Equal(got, want) {
		m.Fatalf("route %d took %v, and %v may go", d.number, got, want)
	}
	d.holds = append(d.holds, got...)
}

func (m *model) answerAt() {
	d := m.any()
	if len(d.holds) == 0 {
		m.Skip("nothing is in flight")
	}
	i := rapid.IntRange(0, len(d.holds)-1).Draw(m.T, "which")
	seq := d.holds[i]
	d.holds = slices.Delete(d.holds, i, i+1)
	switch rapid.IntRange(0, 7).Draw(m.T, "answer") {
	case 0:
		m.all[seq].offRoute = true
		m.b.Answered("main", seq, flow.Answer{Verdict: flow.Resend})
	case 1:
		m.b.Return("main", []uint64{seq}, ours)
	default:
		m.b.Answered("main", seq, acked)
	}
}

func (m *model) has() {
	d := m.any()
	seq := uint64(rapid.IntRange(1, max(1, len(m.all))).Draw(m.T, "seq"))
	had := m.b.Has("main", d.number, fmt.Sprint("d-", seq))
	if s := m.all[seq]; had && (s == nil || !d.owns(s.to)) {
		m.Fatalf("route %d had %d, which is not its device's", d.number, seq)
	}
	if !had {
		return
	}
	for conn := range m.conns { // it has ended, though somebody may still answer
		m.conns[conn] = slices.DeleteFunc(m.conns[conn], func(other uint64) bool { return other == seq })
	}
	for _, d := range m.routes {
		d.holds = slices.DeleteFunc(d.holds, func(other uint64) bool { return other == seq })
	}
	if rapid.Bool().Draw(m.T, "answered too") {
		m.b.Answered("main", seq, rapid.SampledFrom([]flow.Answer{acked, unavailable, unregistered}).Draw(m.T, "answer"))
	}
}

func (m *model) take() {
	conn := rapid.IntRange(1, 2).Draw(m.T, "conn")
	got := takeOn(m.b, conn, rapid.IntRange(1, 5).Draw(m.T, "n"))
	m.took(fmt.Sprint("connection ", conn), nil, got)
	m.conns[conn] = append(m.conns[conn], got...)
}

func (m *model) answer() {
	conn := rapid.IntRange(1, 2).Draw(m.T, "conn")
	out := m.conns[conn]
	if len(out) == 0 {
		m.Skip("nothing is in flight")
	}
	end := rapid.SampledFrom([]flow.End{{}, cut, garbled, policy}).Draw(m.T, "end")
	if end.Why != "" {
		m.conns[conn] = nil
		m.b.Return("main", out, end)
		return
	}
	i := rapid.IntRange(0, len(out)-1).Draw(m.T, "which")
	m.conns[conn] = slices.Delete(slices.Clone(out), i, i+1)
	m.b.Answered("main", out[i], rapid.SampledFrom([]flow.Answer{acked, acked, unavailable, tooFast, draining, unregistered, denied}).Draw(m.T, "answer"))
}

func (m *model) wait() {
	time.Sleep(time.Duration(rapid.IntRange(1, 60_000).Draw(m.T, "ms")) * time.Millisecond)
}

// cancel cancels any of them; one that has gone out stays.
func (m *model) cancel() {
	seq := uint64(rapid.IntRange(1, max(1, len(m.all))).Draw(m.T, "seq"))
	s := m.all[seq]
	if !m.l.cancel(seq) {
		return
	}
	if s.out {
		m.Fatalf("%d is canceled, and has gone out", seq)
	}
	s.canceled = true
}

func (m *model) disk() {
	m.l.mu.Lock()
	was := m.l.hold
	m.l.hold = true
	m.l.mu.Unlock()
	if was {
		m.l.release()
	}
}

// settle lets all takers go on asking and acking until nothing is pending.
func (m *model) settle() {
	m.l.release()
	for conn, out := range m.conns {
		m.b.Return("main", out, cut)
		m.conns[conn] = nil
	}
	for _, d := range m.routes {
		m.b.Return("main", d.holds, ours)
		d.holds = nil
	}
	for range 1000 {
		for conn := range 3 {
			for _, seq := range takeOn(m.b, conn, 100) {
				m.b.Answered("main", seq, acked)
			}
		}
		for _, d := range m.routes {
			for _, seq := range takeAt(m.b, d.number, 100) {
				m.b.Answered("main", seq, acked)
			}
		}
		if s := m.b.Stats(); s.Pending == 0 {
			break
		}
		time.Sleep(10 * time.Second)
	}
	ended := m.ended()
	for seq := range m.all {
		if !ended[seq] {
			m.Errorf("P4: %d has no outcome: %+v", seq, *m.b.items[seq])
		}
	}
	s, q := m.b.Stats(), m.b.queue("main")
	if s.Pending+s.Ready+s.Later+s.Early+s.Taken+s.Groups != 0 || len(q.expiring.items) != 0 || len(q.boxes) != 0 || len(q.held) != 0 {
		m.Errorf("left behind: %+v, %d expiring, %d mailboxes, held %v", s, len(q.expiring.items), len(q.boxes), q.held)
	}
	for _, e := range m.l.outcomes() {
		if e.Status == message.Canceled && m.all[e.Seq].out {
			m.Errorf("%d is canceled, and has gone out", e.Seq)
		}
		if e.Status == message.Expired && !m.all[e.Seq].expires {
			m.Errorf("%d expired without a TTL", e.Seq)
		}
	}
}

// A transport and several routes take, answer, return, attach and detach at random. No
// downstream is with two of them at a time; groups keep their order over both ways; a
// route gets at once all that waits for its device, and the transport none of it; each
// ends once; none goes before its NotBefore, or is both canceled and taken; and nothing waits for ever while somebody asks.
func TestModelOfRoutes(t *testing.T) { // P3, P4, P5; fcm-v1-and-gateway.md C3
	synctest.Test(t, func(t *testing.T) {
		noDeadline := struct{ rapid.TB }{t} // a bubble has none to ask for
		rapid.Check(noDeadline, func(t *rapid.T) {
			l := newLedger()
			b := New(Options{Ledger: l})
			stop := run(b)
			defer stop() //nolint:errcheck // it never fails
			m := &model{T: t, l: l, b: b, all: map[uint64]*sentOne{}, conns: map[int][]uint64{}}
			// After each, Run has come to rest: it ends what was given back too late.
			do := func(act func()) func(*rapid.T) {
				return func(t *rapid.T) { m.T = t; act(); synctest.Wait() }
			}
			t.Repeat(map[string]func(*rapid.T){
				"accept": do(m.accept), "more": do(m.accept), "attach": do(m.attach), "detach": do(m.detach),
				"take at": do(m.takeAt), "answer at": do(m.answerAt), "take": do(m.take), "answer": do(m.answer),
				"has": do(m.has), "cancel": do(m.cancel), "wait": do(m.wait), "disk": do(m.disk),
			})
			m.T = t
			m.settle()
		})
	})
}
