package outbox

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

// ours is the end of a route that says nothing of what was in flight on it.
var ours = flow.End{Fault: flow.Ours, Code: "CONNECTION_LOST", Why: "no ack in time"}

// attach makes a route for a device that has a token and an FID of the same text.
func attach(b *Outbox, device string) int { return attachHinting(b, make(hints, 1), device) }

// hints has one when TakeAt may find more.
type hints chan struct{}

func (h hints) hint() {
	select {
	case h <- struct{}{}:
	default:
	}
}

// drain forgets a hint.
func (h hints) drain() {
	select {
	case <-h:
	default:
	}
}

func attachHinting(b *Outbox, h hints, device string) int {
	return b.Attach("main", h.hint, message.Token(device), message.FID(device))
}

// takeAt takes from a route and returns the seqs.
func takeAt(b *Outbox, route, n int) []uint64 {
	synctest.Wait()
	seqs := []uint64{}
	for _, g := range b.TakeAt("main", route, n) {
		seqs = append(seqs, g.Seq)
	}
	return seqs
}

// C3: a device that is connected gets its downstreams by its route, and the transport
// gets none of them. After Detach they are the transport's again.
func TestRouteOfADevice(t *testing.T) { // fcm-v1-and-gateway.md C3
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, -1)
		l.accept("tokB", 0, -1)
		l.acceptTo(message.FID("tokA"), 0, -1)
		l.acceptTo(message.Topic("tokA"), 0, -1)
		synctest.Wait()
		hints := make(hints, 1)
		a := attachHinting(b, hints, "tokA")
		hints.drain()
		l.accept("tokA", 0, -1)
		synctest.Wait()
		select {
		case <-hints:
		default:
			t.Error("P0: no hint after an accept")
		}
		if s := b.Stats("main"); s.Routes != 1 || s.Ready != 5 || s.Pending != 5 {
			t.Errorf("%+v", s)
		}
		expect(t, "the others by the transport", take(b, 10), 2, 4)
		expect(t, "token and FID by the route, oldest first", takeAt(b, a, 2), 1, 3)
		expect(t, "and the rest", takeAt(b, a, 2), 5)
		if s := b.Stats("main"); s.Ready != 0 || s.Taken != 5 {
			t.Errorf("%+v", s)
		}
		b.Answered("main", 1, acked)
		if e := l.end(t, 1); e.Status != message.Acked || e.Attempts != 1 {
			t.Errorf("outcome %+v", e)
		}
		b.Return("main", []uint64{3, 5}, ours)
		b.Detach("main", a)
		expect(t, "a route that was detached", takeAt(b, a, 10))
		expect(t, "the transport has them again", take(b, 10), 3, 5)
		b.Detach("main", a) // twice
		b.Return("main", []uint64{2, 3, 4, 5}, cut)
		expect(t, "all is as without routes", take(b, 10), 2, 3, 4, 5)
	})
}

// One attempt has one way: what is in flight stays where it is.
func TestOneWayForEachAttempt(t *testing.T) { // fcm-v1-and-gateway.md C3
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		for range 3 {
			l.accept("tokA", 0, -1)
		}
		expect(t, "by the transport", take(b, 2), 1, 2)
		a := attach(b, "tokA")
		expect(t, "what is in flight stays", takeAt(b, a, 10), 3)
		b.Answered("main", 1, unavailable)
		b.Return("main", []uint64{2}, cut)
		expect(t, "what came back goes by the route, whatever its Due", takeAt(b, a, 10), 1, 2)
		expect(t, "not by the transport", take(b, 10))
		c := attach(b, "tokA")
		expect(t, "the newer route has nothing: all is in flight on the older", takeAt(b, c, 10))
		b.Return("main", []uint64{1, 3}, ours)
		expect(t, "the older route lost its targets", takeAt(b, a, 10))
		b.Detach("main", a)
		expect(t, "the newer has what came back", takeAt(b, c, 10), 1, 3)
		b.Detach("main", c)
		b.Return("main", []uint64{2}, ours)
		expect(t, "after the last", take(b, 10), 2)
	})
}

// The transport's rests, due times, halts and trials don't hold a route up, and a route
// changes nothing of them.
func TestRouteKnowsNothingOfTheTransport(t *testing.T) {
	tests := map[string]struct {
		trouble func(b *Outbox) // 1 to tokA is in flight by the transport
		after   func(*testing.T, *Outbox)
	}{
		"due later": {func(b *Outbox) { b.Answered("main", 1, unavailable) }, func(t *testing.T, b *Outbox) {
			if s := b.Stats("main"); s.Later != 1 || s.Next.IsZero() {
				t.Errorf("it does not wait until it is due: %+v", s)
			}
		}},
		"the target rests": {func(b *Outbox) { b.Answered("main", 1, tooFast) }, func(t *testing.T, b *Outbox) {
			if s := b.Stats("main"); s.Slowed != 1 || s.Later != 2 {
				t.Errorf("the rest is over: %+v", s)
			}
		}},
		"the sender rests": {func(b *Outbox) { b.Answered("main", 1, flow.Answer{Verdict: flow.Rest}) }, func(t *testing.T, b *Outbox) {
			if s := b.Stats("main"); s.Resting != 1 {
				t.Errorf("the rest is over: %+v", s)
			}
		}},
		"the account is refused": {func(b *Outbox) { b.Answered("main", 1, denied) }, func(t *testing.T, b *Outbox) {
			if s := b.Stats("main"); s.Halted != 1 {
				t.Errorf("the halt is over: %+v", s)
			}
		}},
		"it is a suspect": {func(b *Outbox) { b.Return("main", []uint64{1}, garbled) }, func(t *testing.T, b *Outbox) {
			expect(t, "others are first", take(b, 10), 2)
			b.Answered("main", 2, acked)
			expect(t, "the suspect goes alone", take(b, 10), 1)
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
				l.accept("tokA", 0, -1)
				expect(t, "by the transport", take(b, 10), 1)
				test.trouble(b)
				a := attach(b, "tokA")
				if s := b.Stats("main"); s.Later != 0 || s.Ready != 1 || !s.Next.IsZero() {
					t.Errorf("it waits for nothing but its route: %+v", s)
				}
				expect(t, "by the route", takeAt(b, a, 10), 1)
				attempts, suspicion := b.items[1].Attempts, b.items[1].suspicion
				b.Return("main", []uint64{1}, ours)
				expect(t, "and again", takeAt(b, a, 10), 1)
				b.Return("main", []uint64{1}, garbled) // no end of a route makes a suspect
				if it := b.items[1]; it.Attempts != attempts || it.suspicion != suspicion {
					t.Errorf("it has %d attempts, had %d; suspicion %+v", it.Attempts, attempts, it.suspicion)
				}
				l.accept("tokA", 0, -1)
				expect(t, "by the route", takeAt(b, a, 10), 1, 2)
				b.Return("main", []uint64{1, 2}, ours)
				b.Detach("main", a)
				test.after(t, b)
			})
		})
	}
}

// An ack by a route says nothing of the account that the peer refused, or of a target
// that it wants slower.
func TestAckByARouteEndsNoHalt(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, -1)
		l.accept("tokB", 0, -1)
		expect(t, "both", take(b, 10), 1, 2)
		b.Answered("main", 1, denied)
		b.Answered("main", 2, denied)
		time.Sleep(time.Minute)
		a := attach(b, "tokA")
		expect(t, "by the route", takeAt(b, a, 10), 1)
		b.Answered("main", 1, acked)
		l.end(t, 1)
		if c := attach(b, "tokB"); !b.Has("main", c, "d-2") {
			t.Error("d-2 is not pending")
		}
		l.end(t, 2)
		if s := b.Stats("main"); s.Halted != 1 {
			t.Errorf("the halt is over: %+v", s)
		}
	})
}

// Of a group only the head is in flight, by one of the two ways.
func TestGroupOverBothWays(t *testing.T) { // P5
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		for _, device := range []string{"tokA", "tokB", "tokA", "tokA"} {
			l.accept(device, 7, -1)
		}
		synctest.Wait()
		a := attach(b, "tokA")
		expect(t, "the head", takeAt(b, a, 10), 1)
		expect(t, "its next waits", take(b, 10))
		b.Answered("main", 1, acked)
		expect(t, "the next is another device's", takeAt(b, a, 10))
		expect(t, "by the transport", take(b, 10), 2)
		b.Answered("main", 2, unavailable)
		expect(t, "it is due later, and holds its group", takeAt(b, a, 10))
		time.Sleep(3 * time.Second)
		expect(t, "by the transport", take(b, 10), 2)
		b.Answered("main", 2, acked)
		expect(t, "by the route again", takeAt(b, a, 10), 3)
		b.Return("main", []uint64{3}, ours)
		b.Detach("main", a)
		expect(t, "and by the transport", take(b, 10), 3)
	})
}

// C3: received settles those whose ack was lost, whoever brought them.
func TestWhatADeviceHas(t *testing.T) { // P4; fcm-v1-and-gateway.md C3
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		for range 5 {
			l.accept("tokA", 9, -1)
		}
		l.accept("tokB", 0, -1)
		expect(t, "by the transport", take(b, 10), 1, 6)
		a := attach(b, "tokA")
		has := func(what, id string, want bool) {
			t.Helper()
			if _, pending := b.Pending("main", a, id); pending != want {
				t.Errorf("%s: pending is %v", what, pending)
			}
			if got := b.Has("main", a, id); got != want {
				t.Errorf("%s: %v", what, got)
			}
		}
		has("another device's", "d-6", false)
		has("unknown", "d-99", false)
		has("in flight by the transport", "d-1", true)
		b.Answered("main", 1, unavailable) // too late
		if e := l.end(t, 1); e.Status != message.Acked || e.Attempts != 1 {
			t.Errorf("outcome %+v", e)
		}
		has("ended", "d-1", false)
		expect(t, "the next", takeAt(b, a, 10), 2)
		has("in flight by the route", "d-2", true)
		has("waiting", "d-3", true)
		has("behind the head", "d-5", true)
		l.accept("tokA", 9, -1)
		synctest.Wait()
		has("new", "d-7", true)
		expect(t, "the one that is left", takeAt(b, a, 10), 4)
		l.mu.Lock()
		l.hold = true
		l.mu.Unlock()
		b.Answered("main", 4, acked)
		has("its end is on its way to the disk", "d-4", false)
		l.release()
		for seq := uint64(1); seq <= 7; seq++ {
			if seq != 6 {
				l.end(t, seq)
			}
		}
		b.Detach("main", a)
		has("detached", "d-6", false)
	})
}

// A downstream that nobody takes waits until its TTL: in a session without a transport,
// while its device is away; and with a device that takes nothing.
func TestRouteAndTTL(t *testing.T) { // P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, time.Minute)
		l.accept("tokB", 0, time.Minute)
		l.accept("tokC", 0, time.Minute)
		synctest.Wait()
		attach(b, "tokB")
		c := attach(b, "tokC")
		expect(t, "in flight", takeAt(b, c, 10), 3)
		time.Sleep(2 * time.Minute)
		for _, seq := range []uint64{1, 2} {
			if e := l.end(t, seq); e.Status != message.Expired {
				t.Errorf("outcome %+v", e)
			}
		}
		if len(l.outcomes()) != 2 {
			t.Errorf("%+v: one in flight can't expire", l.outcomes())
		}
		b.Return("main", []uint64{3}, ours)
		synctest.Wait()
		if e := l.end(t, 3); e.Status != message.Expired || e.Attempts != 1 {
			t.Errorf("outcome %+v", e)
		}
	})
}

// What a route can't carry goes by the transport though its device is attached. A Fail
// ends it.
func TestRouteDeclines(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, -1)
		l.accept("tokA", 0, -1)
		synctest.Wait()
		a := attach(b, "tokA")
		expect(t, "by the route", takeAt(b, a, 10), 1, 2)
		b.Answered("main", 1, flow.Answer{Verdict: flow.Resend})
		b.Answered("main", 2, flow.Answer{Verdict: flow.Fail, Code: "TOO_BIG"})
		expect(t, "not again", takeAt(b, a, 10))
		expect(t, "by the transport", take(b, 10), 1)
		b.Answered("main", 1, acked)
		if e := l.end(t, 2); e.Status != message.Failed || e.Code != "TOO_BIG" {
			t.Errorf("outcome %+v", e)
		}
	})
}

// unread is a ledger that can't read bodies now.
type unread struct {
	*ledger
	err atomic.Pointer[error] // nil: it can
}

func (u *unread) Take(seq uint64) (message.Checked, error) {
	if err := u.err.Load(); err != nil {
		return message.Checked{}, *err
	}
	return u.ledger.Take(seq)
}

// P10: one that can't be read now is not asked for again and again, and goes by its route
// when it can.
func TestRouteOfWhatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, hums := &unread{ledger: newLedger()}, errors.New("the disk hums")
		l.err.Store(&hums)
		b := New(Options{Ledger: l})
		stop := run(b)
		l.accept("tokA", 0, -1)
		synctest.Wait()
		hints := make(hints, 1)
		a := attachHinting(b, hints, "tokA")
		hints.drain()
		expect(t, "nothing", takeAt(b, a, 10))
		select {
		case <-hints:
			t.Error("the taker is sent round")
		default:
		}
		l.err.Store(nil)
		<-hints
		expect(t, "later", takeAt(b, a, 10), 1)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Very much is pending, and 10,000 devices come and go: an Attach looks at its device's
// alone. Senders without a route have no index, and what is pending there takes no memory more.
func TestRoutesAreCheap(t *testing.T) { // P10
	if size := unsafe.Sizeof(item{}); size > 224 {
		t.Errorf("a pending downstream has %d bytes", size)
	}
	l := newLedger()
	b := New(Options{Ledger: l, Senders: func() entry.Senders { return entry.Senders{{ID: "main", Gateway: true}, {ID: "other"}} }})
	const devices, each = 10_000, 5
	now := time.Now()
	for seq := uint64(1); seq <= devices*each; seq++ {
		to := message.Token(fmt.Sprint("tok", seq%devices))
		b.add(entry.Downstream{Seq: seq, Session: "main", Target: entry.TargetHash("main", to)}, now)
	}
	b.add(entry.Downstream{Seq: 1 << 40, Session: "other"}, now)
	if q := b.queues["main"]; len(q.boxes) != devices {
		t.Fatalf("%d devices have a mailbox before any is connected: the first would wait for all", len(q.boxes))
	}
	routes := make([]int, devices)
	for i := range routes {
		routes[i] = attach(b, fmt.Sprint("tok", i))
	}
	q := b.queues["main"]
	if len(q.ready.items) != 0 || len(q.boxes) != devices || b.queues["other"].boxes != nil {
		t.Errorf("%d are the transport's, %d devices have a mailbox", len(q.ready.items), len(q.boxes))
	}
	steps := 0
	for _, box := range q.boxes {
		steps = max(steps, len(box.items))
	}
	if steps != each {
		t.Errorf("an attach looks at %d downstreams", steps)
	}
	for _, r := range routes {
		b.Detach("main", r)
	}
	if len(q.ready.items) != devices*each || len(q.at) != 0 || len(q.routes) != 0 {
		t.Errorf("%d are the transport's; %d targets and %d routes are left", len(q.ready.items), len(q.at), len(q.routes))
	}
}

// Items that have ended leave their mailbox, however long it is.
func TestMailboxShrinks(t *testing.T) { // P10
	m := mailboxes{}
	var all []*item
	for range 1000 {
		it := &item{}
		all = append(all, it)
		m.add(it)
	}
	for i, it := range all {
		it.state = ended
		m.forget(it)
		left := 0
		for range m.of(0) {
			left++
		}
		if left != len(all)-i-1 {
			t.Fatalf("%d are left after %d", left, i+1)
		}
		if box := m[0]; box != nil && len(box.items) > 2*left+9 {
			t.Fatalf("%d are kept for %d", len(box.items), left)
		}
	}
	if len(m) != 0 {
		t.Error("an empty mailbox is kept")
	}
}
