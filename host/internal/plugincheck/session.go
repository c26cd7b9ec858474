package plugincheck

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"balhost/sdk/wire"
)

// session is a host's end of one process's session: it gives out deliveries, answers
// calls, and commits results to its book. It notes in flaws what no row asks for.
type session struct {
	*stream
	book   *book
	flaws  *flaws
	extend time.Duration // Limits.extend_ms
	reader errgroup.Group

	mu       sync.Mutex    // guards what follows
	changed  chan struct{} // closed and replaced when something has changed
	out      map[uint64]*delivery
	number   uint64               // of the last delivery
	credit   uint32               // that the plugin has sent; 0: none
	pings    map[uint64]time.Time // without a pong
	ping     uint64               // the last
	slowest  time.Duration        // pong
	calls    int                  // outside of deliveries
	loose    int                  // of these, gets and lists while a handler ran
	ids      map[uint64]struct{}  // of calls
	gone     bool                 // the host has gone away: nothing counts any more
	failure  *wire.RunFailure     // the last of run
	draining bool                 // it was asked to end
	drained  bool
	ended    bool  // the stream
	why      error // io.EOF: in order
}

// delivery is one delivery and what came of it. Its first fields are its maker's; the
// others are guarded by the session's mu until it has ended.
type delivery struct {
	event   *wire.Delivery // with the event, its attempt and its time
	dry     bool           // commit nothing
	revoked bool           // it was cancelled
	spoil   bool           // let what it has read change before it ends
	hold    bool           // don't answer its gets and lists
	unknown []byte         // fields of the delivery that nobody knows
	known   bool           // its sample was DONE before
	row     string         // that tells of what can't be committed; "": changes

	began, over time.Time // over: zero until it has ended
	result      *wire.Result
	fate        string // why the result was not committed; "": it was, or nothing was to be
	conflict    bool   // because something has changed that it had read
	got         []*wire.Read
	listed      []*wire.Range
	asked       int          // gets and lists
	refused     string       // the text of a reply that was INVALID; "": none was
	held        []*wire.Call // that wait for release
	extended    []time.Time
}

func newSession(st *stream, b *book, f *flaws, extend time.Duration) *session {
	s := &session{
		stream: st, book: b, flaws: f, extend: extend,
		changed: make(chan struct{}), out: map[uint64]*delivery{}, pings: map[uint64]time.Time{}, ids: map[uint64]struct{}{},
	}
	s.reader.Go(s.read)
	return s
}

// read hears the plugin until the stream ends.
func (s *session) read() error {
	for {
		f, wrong, err := s.recv()
		if wrong != nil {
			s.flaws.add("unicode", "a frame is not protobuf of valid UTF-8: %v", wrong)
		}
		s.mu.Lock()
		switch {
		case err != nil:
			s.ended, s.why = true, err
		case !s.gone:
			s.hear(f)
		}
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			s.cut()
			_ = s.work.Wait() // the reader knows why the stream has ended
			return nil
		}
	}
}

// until waits until cond is true, which is called with mu held. It reports false when limit
// is over, or when the stream has ended before.
func (s *session) until(limit time.Duration, cond func() bool) bool {
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		s.mu.Lock()
		met, ended, changed := cond(), s.ended, s.changed
		s.mu.Unlock()
		if met || ended {
			return met
		}
		select {
		case <-changed:
		case <-late.C:
			return false
		}
	}
}

// hear takes a frame, with mu held, in the order that the contract has.
func (s *session) hear(f *wire.PluginFrame) {
	for id, at := range s.pings {
		if id <= f.GetPong() {
			s.slowest = max(s.slowest, time.Since(at))
			delete(s.pings, id)
		}
	}
	if f.RunFailure != nil {
		s.failure = f.RunFailure
	}
	if n := len(f.GetCall()); n > wire.MaxCalls {
		s.flaws.add("limits", "a frame has %d calls, at most %d are possible: the host kills the process", n, wire.MaxCalls)
	}
	if n := proto.Size(f); n > wire.MaxFrame {
		s.flaws.add("limits", "a frame has %d bytes, at most %d are possible: the host ends the session", n, wire.MaxFrame)
	}
	for _, call := range f.GetCall() {
		s.answer(call)
	}
	if f.GetCredit() > 0 {
		s.credit = f.GetCredit()
	}
	for _, number := range f.GetExtend() {
		if d := s.out[number]; d != nil {
			d.extended = append(d.extended, time.Now())
		}
	}
	for _, number := range f.GetDone() {
		s.end(&wire.Result{Delivery: number, Code: wire.Result_DONE})
	}
	for _, r := range f.GetResult() {
		s.end(r)
	}
	s.drained = s.drained || f.GetDrained()
}

// deliver gives out deliveries, in frames as a host's.
func (s *session) deliver(ds ...*delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range ds {
		s.number++
		s.out[s.number] = d
		d.began = time.Now()
		w := &wire.Delivery{Delivery: s.number, Attempt: d.event.Attempt, TimeoutMs: d.event.TimeoutMs, Event: d.event.Event}
		if d.unknown != nil {
			w.ProtoReflect().SetUnknown(d.unknown)
		}
		s.send(&wire.HostFrame{Deliver: []*wire.Delivery{w}})
	}
}

// end ends a delivery, with mu held.
func (s *session) end(r *wire.Result) {
	d := s.out[r.GetDelivery()]
	switch {
	case r.GetDelivery() == 0 || r.GetDelivery() > s.number:
		s.flaws.add("once", "a result is for the delivery %d, which there was not", r.GetDelivery())
		return
	case d == nil:
		s.flaws.add("once", "the delivery %d has ended twice; the second end is %s", r.GetDelivery(), says(r))
		return
	case s.drained:
		s.flaws.add("drain", "a result came after drained")
	}
	delete(s.out, r.GetDelivery())
	d.result, d.over = r, time.Now()
	if d.spoil {
		s.book.touch(r.GetChanges())
	}
	switch r.GetCode() {
	case wire.Result_DONE:
		d.fate = s.settle(d, r.GetChanges())
	case wire.Result_RETRY, wire.Result_REJECT:
		d.conflict = s.book.changed(r.GetChanges()) != ""
	case wire.Result_RELEASE:
		return
	default:
		s.flaws.add("codes", "a result has the code %s, which is neither DONE, RETRY, REJECT nor RELEASE (its error: %.80q)", r.GetCode(), r.GetError())
		return
	}
	s.compare(d, r)
}

// settle commits what a handler did, and says why not.
func (s *session) settle(d *delivery, c *wire.Changes) string {
	if err := s.book.refusal(c); err != nil {
		s.flaws.add(cmp.Or(d.row, "changes"), "a DONE can never be committed, so the host makes it a REJECT: %v", err)
		return err.Error()
	}
	if key := s.book.changed(c); key != "" || d.spoil && len(c.GetRead())+len(c.GetRange()) > 0 {
		d.conflict = true
		return fmt.Sprintf("what it has read has changed: %.64q", key)
	}
	if !d.dry {
		s.book.commit(c)
	}
	return ""
}

// compare looks whether a result lists all that its handler was told, with mu held. One
// that was cancelled may not have heard the last reply.
func (s *session) compare(d *delivery, r *wire.Result) {
	late := d.event.GetTimeoutMs() > 0 && d.over.Sub(d.began) >= time.Duration(d.event.GetTimeoutMs())*time.Millisecond
	if r.GetCode() != wire.Result_DONE && (s.draining || d.revoked || late) {
		return
	}
	for _, got := range d.got {
		s.compareRead(got, r)
	}
	for _, listed := range d.listed {
		if !slices.ContainsFunc(r.GetChanges().GetRange(), func(r *wire.Range) bool { return r.GetPrefix() == listed.GetPrefix() }) {
			s.flaws.add("reads", "a handler has listed the keys %.64q…, and its result, %s, has no range for that", listed.GetPrefix(), says(r))
		}
	}
}

// compareRead looks whether a result lists a read, with its version.
func (s *session) compareRead(got *wire.Read, r *wire.Result) {
	var others []uint64
	for _, listed := range r.GetChanges().GetRead() {
		if listed.GetKey() != got.GetKey() {
			continue
		}
		if listed.GetVersion() == got.GetVersion() {
			return
		}
		others = append(others, listed.GetVersion())
	}
	if len(others) > 0 {
		s.flaws.add("reads", "a handler has read %.64q with version %d, and its result, %s, lists it with version %d", got.GetKey(), got.GetVersion(), says(r), others[0])
		return
	}
	s.flaws.add("reads", "a handler has read %.64q with version %d, and its result, %s, does not list that", got.GetKey(), got.GetVersion(), says(r))
}

// says is a result for people.
func says(r *wire.Result) string {
	text := r.GetCode().String()
	if r.GetError() != "" {
		text += fmt.Sprintf(" (%.120s)", r.GetError())
	}
	c := r.GetChanges()
	for _, part := range []struct {
		n         int
		one, many string
	}{
		{len(c.GetSend()), "downstream", "downstreams"}, {len(c.GetWrite()), "key written", "keys written"},
		{len(c.GetSchedule()), "timer", "timers"}, {len(c.GetRead()), "key read", "keys read"},
	} {
		if part.n > 0 {
			text += ", " + plural(part.n, part.one, part.many)
		}
	}
	return text
}
