package hosttest

import (
	"slices"
	"sync"

	"balhost/host/internal/ccs"
	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
)

// tap stands between a session and the outbox.
type tap struct {
	ccs.Outbox
	h *Host
	b *books
	*flight
}

// flight is what the connections of one host have taken and not given back.
type flight struct {
	mu    sync.Mutex        // guards taken
	taken map[uint64]string // message ids by seq
}

// Take checks what may go now (P2, P3, and P5 for groups).
func (t *tap) Take(session string, conn, n int) []entry.Outgoing {
	out := t.Outbox.Take(session, conn, n)
	if len(out) == 0 {
		return out
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
	return out
}

func (b *books) took(g entry.Outgoing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seqs[g.Message.MessageID] = g.Seq
}

// back checks that what was in flight did not end meanwhile (P4).
func (t *tap) back(seqs ...uint64) {
	all := t.h.Ledger.Downstreams(0, 1<<20)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, seq := range seqs {
		if !slices.ContainsFunc(all, func(d entry.Downstream) bool { return d.Seq == seq }) {
			t.b.wrong("P4: %s ended while it was in flight", t.taken[seq])
		}
		delete(t.taken, seq)
	}
}

func (t *tap) Answered(session string, seq uint64, a flow.Answer) {
	t.back(seq)
	t.Outbox.Answered(session, seq, a)
}

func (t *tap) Return(session string, seqs []uint64, end flow.End) (blamed bool) {
	t.back(seqs...)
	return t.Outbox.Return(session, seqs, end)
}
