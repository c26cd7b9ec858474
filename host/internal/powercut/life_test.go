package powercut

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/keyfile"
	"balhost/host/internal/ledger"
	"balhost/sdk/message"
)

// life is one ledger on a watched disk, and the callers that work on it.
type life struct {
	series *series
	dir    string
	depth  int // how many cuts in a recovery or a stop came before it
	disk   *Disk
	ledger *ledger.Ledger
	book   *book
	key    *keyfile.Key // of the ledger; nil: it is not encrypted

	events atomic.Int64
	cutAt  atomic.Int64 // the event at which cut is called; 0: none
	cut    func(at string)
	over   chan struct{}
	work   sync.WaitGroup
}

// found is the folder that keeps what the cut left, unchanged.
func (v *life) found() string { return v.dir + ".found" }

// cutIn makes the life call cut at the nth event from now on.
func (v *life) cutIn(n int64, cut func(at string)) {
	v.cut = cut
	v.cutAt.Store(v.events.Load() + n)
}

// event is called by the Disk. It makes a sync slow, and cuts the power at one event.
func (v *life) event(what string) {
	switch n := rand.IntN(200); {
	case n == 0:
		time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
	case n < 60:
		time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
	}
	switch {
	case strings.HasPrefix(what, "after open") && strings.HasSuffix(what, ".sst"):
		v.series.tables.Add(1)
	case strings.HasPrefix(what, "after rename") && strings.HasSuffix(what, ".spare"):
		v.series.reused.Add(1)
	}
	if v.events.Add(1) == v.cutAt.Load() {
		v.cut(what)
	}
}

func plenty(string) (ledger.Space, error) { return ledger.Space{Bytes: 1 << 50, Inodes: 1 << 40}, nil }

// open watches the folder and opens the ledger in it.
func (v *life) open() (err error) {
	if v.disk, err = Watch(v.dir, v.series.names, v.series.rng().Uint64()); err != nil {
		return err
	}
	v.disk.Event = v.event
	v.over = make(chan struct{})
	v.ledger, err = ledger.Open(context.Background(), ledger.Options{
		Dir: v.dir, Key: v.key, Statfs: plenty, Retention: 2 * time.Second,
		Sizes:  v.series.sizes(),
		Poison: func(err error) { v.series.fail(v, fmt.Errorf("poisoned: %w", err)) },
	})
	return err
}

// sizes are small, so that segments are used again and layers become tables all the
// time. They differ at each start. The size of memtables stays the same: badger can't
// read the log of a larger memtable, and this would hide losses of a ledger that relies
// on it.
func (s *series) sizes() ledger.Sizes {
	rng := s.rng()
	of := func(sizes ...int) int { return sizes[rng.IntN(len(sizes))] << 10 }
	return ledger.Sizes{Segment: of(256, 512), Layer: of(16, 32, 128), MemTable: 512 << 10, Rotate: of(256, 1024, 4096)}
}

// close ends the life as a host that stops does.
func (v *life) close() error {
	err := v.ledger.Close()
	v.disk.Close()
	return err
}

// stop ends the callers.
func (v *life) stop() {
	close(v.over)
	v.work.Wait()
}

func (v *life) ended() bool {
	select {
	case <-v.over:
		return true
	default:
		return false
	}
}

// start lets all callers work until the life ends.
func (v *life) start() {
	for _, f := range []func(rng *rand.Rand){v.devices, v.devices, v.dispatch, v.outbox, v.update, v.update, v.janitor} {
		rng := v.series.rng()
		v.work.Go(func() { f(rng) })
	}
}

// devices send upstreams, and some of them twice.
func (v *life) devices(rng *rand.Rand) {
	slots := make(chan struct{}, 20)
	device := v.series.number.Add(1)
	for i := 0; !v.ended(); i++ {
		slots <- struct{}{}
		n := i
		if n > 0 && rng.IntN(8) == 0 {
			n -= rng.IntN(min(n, 50)) + 1
		}
		id := fmt.Sprintf("m%d-%d", device, n)
		in := inbound(id)
		if n%37 == 5 {
			in.Unusable = "it is not"
			v.book.upstream(id, func(n *upstreamNote) { n.willDie = true })
		} else {
			v.book.upstream(id, func(*upstreamNote) {})
		}
		v.ledger.Accept(in, func(err error) {
			if err == nil {
				v.book.upstream(id, func(n *upstreamNote) { n.stored = true })
				v.series.stored.Add(1)
			}
			<-slots
		})
	}
	for range cap(slots) { // all callbacks have come
		slots <- struct{}{}
	}
}

// dispatch settles events in every way.
func (v *life) dispatch(rng *rand.Rand) {
	credit := make(chan struct{}, 30)
	after := uint64(0)
	for !v.ended() {
		more := v.ledger.EventsChanged()
		for _, ev := range v.ledger.Events(after, 100) {
			after = ev.Seq
			body, err := v.ledger.Body(ev.Seq)
			if err != nil || v.ended() {
				continue // settled meanwhile
			}
			credit <- struct{}{}
			v.ledger.Lease(ev.Seq, 1)
			s := entry.Settlement{Seq: ev.Seq, Lease: 1, Plugin: plugin, Verdict: entry.Done}
			done := v.settleOutcome(&s, body)
			if u := body.Upstream; u != nil {
				v.book.saw(ev.Seq, u.ID)
				done = v.settleUpstream(rng, &s, u)
			}
			if s.Verdict == entry.Retry {
				after = 0
			}
			v.ledger.Settle(s, func(err error) {
				if err == nil {
					done()
				}
				<-credit
			})
		}
		select {
		case <-more:
		case <-time.After(10 * time.Millisecond):
			after = 0
		case <-v.over:
		}
	}
	for range cap(credit) {
		credit <- struct{}{}
	}
}

func (v *life) settleOutcome(s *entry.Settlement, body entry.Body) (done func()) {
	if body.Outcome == nil {
		return func() {}
	}
	id := body.Outcome.MessageID
	s.Changes.Writes = []entry.Write{{Key: "told/" + id, Value: json.RawMessage("1")}}
	v.book.send(id, func(n *sendNote) { n.willTell = true })
	return func() { v.book.send(id, func(n *sendNote) { n.told = true }) }
}

func (v *life) settleUpstream(rng *rand.Rand, s *entry.Settlement, u *message.Upstream) (done func()) {
	id := u.MessageID
	switch n := rng.IntN(20); {
	case n == 0:
		s.Verdict, s.Reason = entry.Dead, "unlucky"
		v.book.upstream(id, func(n *upstreamNote) { n.id, n.willDie = u.ID, true })
		return func() { v.book.upstream(id, func(n *upstreamNote) { n.died = true }) }
	case n < 4:
		s.Verdict = entry.Retry
		v.book.upstream(id, func(n *upstreamNote) { n.id = u.ID })
		return func() { v.book.upstream(id, func(n *upstreamNote) { n.retries++ }) }
	}
	s.Changes = entry.Changes{
		Sends: []entry.Send{downstream("d-" + id)},
		Writes: []entry.Write{
			{Key: "done/" + id, Value: json.RawMessage("1")}, {Key: "last", Value: json.RawMessage(`"` + id + `"`)},
		},
		Schedules: []entry.Schedule{ // what is handled has one timer, which is not due here
			{Key: id, At: time.Now().Add(2 * time.Hour), Data: json.RawMessage("1")}, {Key: "none", Cancel: true},
			{Key: id, At: time.Now().Add(time.Hour), Data: json.RawMessage("2"), Session: "main", Device: "tok"},
		},
	}
	v.book.upstream(id, func(n *upstreamNote) { n.id, n.willDone = u.ID, true })
	return func() { v.book.upstream(id, func(n *upstreamNote) { n.done = true }) }
}

// outbox ends downstreams, some of them after a while.
func (v *life) outbox(rng *rand.Rand) {
	credit := make(chan struct{}, 30)
	after := uint64(0)
	for !v.ended() {
		more := v.ledger.DownstreamsChanged()
		for _, d := range v.ledger.Downstreams(after, 100) {
			after = d.Seq
			if v.ended() {
				break
			}
			credit <- struct{}{}
			if rng.IntN(6) == 0 {
				v.ledger.Postpone(entry.Postponement{Seq: d.Seq, Due: time.Now(), Attempts: d.Attempts + 1, Tried: entry.Attempt{Code: "UNAVAILABLE"}}, func(error) { <-credit })
				continue
			}
			v.book.send(d.MessageID, func(n *sendNote) { n.willFinish = true })
			status := []message.OutcomeStatus{message.Acked, message.Failed, message.Expired}[rng.IntN(3)]
			v.ledger.Finish(entry.End{Seq: d.Seq, Status: status, Attempts: 1}, func(err error) {
				if err == nil {
					v.book.send(d.MessageID, func(n *sendNote) { n.finished = true })
				}
				<-credit
			})
		}
		select {
		case <-more:
		case <-time.After(10 * time.Millisecond):
			after = 0
		case <-v.over:
		}
	}
	for range cap(credit) {
		credit <- struct{}{}
	}
}

// update counts in the plugin's state, and sends a downstream with each count.
func (v *life) update(*rand.Rand) {
	key := fmt.Sprintf("count%d", v.series.number.Add(1))
	for i := 1; !v.ended(); i++ {
		_, version, err := v.ledger.Get(plugin, key)
		if err != nil {
			return
		}
		v.book.mu.Lock()
		v.book.updates[key] = updateNote{asked: i, set: i - 1}
		v.book.mu.Unlock()
		done := make(chan error, 1)
		v.ledger.Update(plugin, entry.Changes{
			Sends:  []entry.Send{downstream(fmt.Sprintf("u-%s-%d", key, i))},
			Writes: []entry.Write{{Key: key, Value: json.RawMessage(fmt.Sprint(i))}},
			Reads:  []entry.Read{{Key: key, Version: version}},
		}, func(err error) { done <- err })
		if err := <-done; err != nil {
			v.series.fail(v, fmt.Errorf("update %s to %d: %w", key, i, err))
			return
		}
		v.book.mu.Lock()
		v.book.updates[key] = updateNote{asked: i, set: i}
		v.book.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
}

// janitor replays some dead letters and deletes others.
func (v *life) janitor(rng *rand.Rand) {
	for !v.ended() {
		time.Sleep(5 * time.Millisecond)
		letters, err := v.ledger.Dead("", 50)
		if err != nil || len(letters) == 0 {
			continue
		}
		d := letters[rng.IntN(len(letters))]
		switch {
		case rng.IntN(4) == 0:
			v.book.upstream(d.MessageID, func(n *upstreamNote) { n.willDelete = true })
			if n, _, err := v.ledger.DeleteDead([]string{d.ID}); n == 1 && err == nil {
				v.book.upstream(d.MessageID, func(n *upstreamNote) { n.deleted = true })
			}
		case !d.Unusable:
			v.book.upstream(d.MessageID, func(n *upstreamNote) { n.id, n.willReplay, n.unknown = d.ID, true, true })
			if _, _, err := v.ledger.Replay([]string{d.ID}); err != nil {
				continue
			}
		}
	}
}
