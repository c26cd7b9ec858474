package hosttest

import (
	"slices"
	"sync"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/host/internal/gateway"
)

// tap stands between a session and the outbox.
type tap struct {
	ccs.Outbox
	h *Host
	b *books
	*flight
}

// flight is what the sessions of one host have taken and not given back, and what
// they may not take yet.
type flight struct {
	mu      sync.Mutex           // guards what follows
	taken   map[uint64]string    // message ids by seq
	claimed map[string]bool      // by message id: a device said that it has it, whoever has it in flight
	rests   map[string]time.Time // until when a session's peer wants nothing
	posts   map[string]*posts    // by message id: requests to FCM
}

func newFlight() *flight {
	return &flight{taken: map[uint64]string{}, claimed: map[string]bool{}, rests: map[string]time.Time{}, posts: map[string]*posts{}}
}

// Take checks what may go now (P2, P3, and P5 for groups).
func (t *tap) Take(session string, conn, n int) []entry.Outgoing {
	left := t.rested(session) // before: an answer may come meanwhile
	out := t.Outbox.Take(session, conn, n)
	if len(out) == 0 {
		return out
	}
	if left > 0 {
		t.b.wrong("%d go out for session %s, whose peer wants nothing for %s", len(out), session, left)
	}
	t.takes(out)
	return out
}

// takes checks what was taken.
func (t *tap) takes(out []entry.Outgoing) {
	if len(out) == 0 {
		return
	}
	all := t.h.Ledger.Downstreams(0, 1<<20)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range out {
		i := slices.IndexFunc(all, func(d entry.Downstream) bool { return d.Seq == g.Seq })
		if i < 0 {
			t.b.wrong("P2: %s goes out, and is not pending in the ledger", g.Message.MessageID)
			continue
		}
		for _, older := range all[:i] {
			if all[i].Group != 0 && older.Group == all[i].Group {
				t.b.wrong("P5: %s goes out before %s, which is older and of its group", g.Message.MessageID, older.MessageID)
			}
		}
		if _, twice := t.taken[g.Seq]; twice {
			t.b.wrong("P3: %s goes out while it is in flight", g.Message.MessageID)
		}
		t.taken[g.Seq] = g.Message.MessageID
		t.b.took(g)
	}
}

func (b *books) took(g entry.Outgoing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seqs[g.Message.MessageID] = g.Seq
	if d := b.downs[g.Message.MessageID]; d != nil { // else check says so
		b.goes(d)
	}
}

// back checks that what was in flight did not end meanwhile (P4). A ledger that is closed
// does not say what is pending.
func (t *tap) back(seqs ...uint64) {
	all := t.h.Ledger.Downstreams(0, 1<<20)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, seq := range seqs {
		if t.h.gone.Err() == nil && !t.claimed[t.taken[seq]] && !slices.ContainsFunc(all, func(d entry.Downstream) bool { return d.Seq == seq }) {
			t.b.wrong("P4: %s ended while it was in flight", t.taken[seq])
		}
		delete(t.taken, seq)
	}
}

func (t *tap) Answered(session string, seq uint64, a flow.Answer) {
	t.back(seq)
	if a.Verdict == flow.Rest {
		defer t.rest(session, time.Now().Add(a.RetryAfter)) // what is taken meanwhile crosses the answer
	}
	t.Outbox.Answered(session, seq, a)
}

// rested is how long the session's peer wants nothing yet.
func (t *tap) rested(session string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(t.rests[session])
}

func (t *tap) rest(session string, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until.After(t.rests[session]) {
		t.rests[session] = until
	}
}

func (t *tap) Return(session string, seqs []uint64, end flow.End) (blamed bool) {
	t.back(seqs...)
	return t.Outbox.Return(session, seqs, end)
}

// routes is a tap of a gateway: what goes to a device by its own route is in flight as
// what goes by the session's transport is, so that one attempt never goes both ways.
type routes struct {
	gateway.Outbox
	tap *tap
}

// TakeAt checks what may go now, as Take does; a peer's rest is the transport's own.
func (r *routes) TakeAt(session string, route, n int) []entry.Outgoing {
	out := r.Outbox.TakeAt(session, route, n)
	r.tap.takes(out)
	return out
}

// Has notes that the downstream may end while it is in flight.
func (r *routes) Has(session string, route int, mid string) bool {
	r.tap.mu.Lock()
	r.tap.claimed[mid] = true
	r.tap.mu.Unlock()
	return r.Outbox.Has(session, route, mid)
}

func (r *routes) Answered(session string, seq uint64, a flow.Answer) {
	r.tap.back(seq)
	r.Outbox.Answered(session, seq, a)
}

func (r *routes) Return(session string, seqs []uint64, end flow.End) (blamed bool) {
	r.tap.back(seqs...)
	return r.Outbox.Return(session, seqs, end)
}
