package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/plain"

	"github.com/oklog/ulid/v2"
)

// maxMatches is how many messages an id may mean that are listed.
const maxMatches = 20

// life says what became of one message. An event's id and a downstream's are looked up;
// for what else a person may give, all messages are searched, a part at a time.
func (h *host) life(ctx context.Context, q admin.LifeQuery) (admin.Life, error) {
	now := time.Now()
	life := admin.Life{Now: now, Retained: h.config().Ledger.Retention.Seconds()}
	if q.After == "" {
		found, err := h.exact(q.ID, q.Device)
		if err != nil {
			return life, err
		}
		if len(found) == 1 {
			return h.tellLife(ctx, &found[0], q, life)
		} else if len(found) > 1 {
			return h.several(found, q, life), nil
		}
	}
	from, err := parseCursor(q.After)
	if err != nil {
		return life, admin.Refusal{Err: err}
	}
	s, err := h.search(ctx, admin.MessageQuery{ID: q.ID, Device: q.Device, Limit: maxMatches}, now)
	if err != nil {
		return life, err
	}
	if begin, ok := beginOf(q.ID); ok {
		s.Since = begin.Add(-time.Minute) // what it means has ended later
	}
	found, next, _, err := h.find(ctx, s, from)
	if err != nil {
		return life, err
	}
	if next != nil {
		life.Next = next.String()
	}
	switch {
	case len(found) == 1 && next == nil && q.After == "":
		return h.tellLife(ctx, &found[0], q, life)
	case len(found) == 0 && next == nil && q.After == "":
		return life, h.nobody(q)
	}
	return h.several(found, q, life), nil
}

// nobody is the error for an id that means no message.
func (h *host) nobody(q admin.LifeQuery) error {
	whose := ""
	if q.Device != "" {
		whose = " of this device"
	}
	return entry.NoSuch("no message%s is called %q: none is pending, none is a dead letter, and none has ended in the last %s, which is how long the ledger keeps what has ended (ledger { retention = … } in config.hcl makes it longer)",
		whose, plain.Line(q.ID, 64), h.config().Ledger.Retention)
}

func (h *host) several(found []entry.Trace, q admin.LifeQuery, life admin.Life) admin.Life {
	for i := range found {
		life.Matches = append(life.Matches, h.row(&found[i], q.Full, q.Device))
	}
	return life
}

// beginOf is when the first event came whose id begins so.
func beginOf(id string) (at time.Time, ok bool) {
	const digits = 10 // of a ULID's time
	if len(id) < digits || len(id) > ulid.EncodedSize {
		return at, false
	}
	first, err := ulid.Parse(strings.ToUpper(id[:digits]) + strings.Repeat("0", ulid.EncodedSize-digits))
	if at = ulid.Time(first.Time()); err != nil || at.After(time.Now().Add(time.Hour)) {
		return at, false
	}
	return at, true
}

// exact finds what is called id, by looking it up: an event, or downstreams of sessions.
func (h *host) exact(id, device string) (found []entry.Trace, err error) {
	if _, err := ulid.ParseStrict(id); err == nil {
		t, err := h.event(strings.ToUpper(id))
		if err == nil {
			found = append(found, t)
		} else if !errors.Is(err, entry.ErrUnknown) {
			return nil, err
		}
	}
	for _, s := range h.labels() {
		t, err := h.downstream(s.ID, id)
		if err == nil {
			found = append(found, t)
		} else if !errors.Is(err, entry.ErrUnknown) {
			return nil, err
		}
	}
	if device != "" {
		hashes := devices(h.labels(), device)
		found = slices.DeleteFunc(found, func(t entry.Trace) bool { return !slices.Contains(hashes, t.Hash) })
	}
	return found, nil
}

// event finds an event by its whole id.
func (h *host) event(id string) (entry.Trace, error) {
	t, err := h.ledger.PendingEvent(id)
	if errors.Is(err, entry.ErrUnknown) {
		t, err = h.ledger.DeadTrace(id)
	}
	if errors.Is(err, entry.ErrUnknown) {
		begin, _ := beginOf(id)
		t, err = h.ended(begin.Add(-time.Minute), func(t *entry.Trace) bool { return t.Kind != 0 && t.ID == id })
	}
	return t, err
}

// downstream finds a downstream by its session and id.
func (h *host) downstream(session, id string) (entry.Trace, error) {
	seq, err := h.ledger.SentSeq(session, id)
	if err != nil {
		return entry.Trace{}, err
	}
	t, err := h.pendingSent(seq)
	if !errors.Is(err, entry.ErrUnknown) {
		return t, err
	}
	since, err := h.ledger.Given(seq)
	if err != nil {
		return t, err
	}
	return h.ended(since, func(t *entry.Trace) bool { return t.Kind == 0 && t.Seq == seq })
}

func (h *host) pendingSent(seq uint64) (entry.Trace, error) {
	t, err := h.ledger.PendingTrace(true, seq)
	if err == nil {
		h.sent(&t)
	}
	return t, err
}

// ended is the first one that has ended since then and is meant; entry.ErrUnknown if it
// is not there, or not found in the time that a search may take.
func (h *host) ended(since time.Time, meant func(*entry.Trace) bool) (t entry.Trace, err error) {
	found := false
	_, err = h.ledger.EndedSince(since, func(next *entry.Trace) bool {
		if found = meant(next); found {
			t = next.Own()
		}
		return !found
	})
	if err == nil && !found {
		err = entry.ErrUnknown
	}
	return t, err
}

// tellLife tells all of one message.
func (h *host) tellLife(ctx context.Context, t *entry.Trace, q admin.LifeQuery, life admin.Life) (admin.Life, error) {
	adds, err := h.adds(ctx)
	if err != nil {
		return life, err
	}
	f := &family{host: h, query: q, root: t, members: map[string]*entry.Trace{}, adds: adds}
	if err := f.gather(); err != nil {
		return life, err
	}
	told, err := f.tell(ctx, t)
	if err != nil {
		return life, err
	}
	told.Now, told.Retained, told.Upto, told.Missing, told.Cut = life.Now, life.Retained, f.upto, f.missing, f.cut
	told.Cause, err = h.cause(t, q)
	return told, err
}

// cause is the message whose handler made this one, or of which it tells.
func (h *host) cause(t *entry.Trace, q admin.LifeQuery) (*admin.Row, error) {
	var cause entry.Trace
	var err error
	switch {
	case t.Cause != "":
		cause, err = h.event(t.Cause)
	case t.Kind == entry.Outcome, t.Kind == entry.Receipt:
		cause, err = h.downstream(t.Session, t.MessageID)
	default:
		return nil, nil
	}
	if errors.Is(err, entry.ErrUnknown) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	row := h.row(&cause, q.Full, q.Device)
	return &row, nil
}

// maxFamily is how many messages a life tells of.
const maxFamily = 200

// family is a message with all that came of it.
type family struct {
	host    *host
	query   admin.LifeQuery
	root    *entry.Trace
	members map[string]*entry.Trace // by key; not the root
	adds    func(*entry.Trace)      // see host.adds
	order   []*entry.Trace          // in the order in which they were found
	upto    time.Time
	cut     bool // a search for what is pending or dead has not gone through all
	missing int
}

// memberKey names a message: ids of downstreams are unique in a session only.
func memberKey(t *entry.Trace) string {
	switch {
	case t.Kind == 0:
		return t.Session + "\x00" + t.ID
	case t.ID == "": // a timer that is no event yet
		return t.Plugin + "\x00" + t.MessageID + "\x00"
	}
	return t.ID
}

// parentKey names the message from which this one came; "": nobody knows one.
func parentKey(t *entry.Trace) string {
	if t.Kind == entry.Outcome || t.Kind == entry.Receipt {
		return t.Session + "\x00" + t.MessageID
	}
	return t.Cause
}

func (f *family) has(key string) bool {
	return key != "" && (key == memberKey(f.root) || f.members[key] != nil)
}

func (f *family) add(t entry.Trace) {
	key := memberKey(&t)
	if key == memberKey(f.root) || f.members[key] != nil || len(f.members) >= maxFamily {
		return
	}
	f.members[key] = &t
	f.order = append(f.order, &t)
}

// gather finds what came of the root: what has ended, in the order of the ends, so that a
// cause comes first, and then what is pending or dead.
func (f *family) gather() error {
	since := f.root.Ended
	if since.IsZero() || f.root.State == entry.StateDead {
		since = f.root.Began
	}
	if f.whole() {
		return nil
	}
	began := time.Now()
	upto, err := f.host.ledger.EndedSince(since.Add(-time.Second), func(t *entry.Trace) bool {
		if !f.has(parentKey(t)) {
			return true
		}
		f.add(t.Own())
		return !f.whole()
	})
	if err != nil {
		return err
	}
	if upto.Before(began) {
		f.upto = upto
	}
	return f.gatherPending()
}

// whole reports whether nothing can come any more: all that was made is there and has
// ended, and so have the outcomes.
func (f *family) whole() bool {
	all := append([]*entry.Trace{f.root}, f.order...)
	for _, t := range all {
		made, told := 0, false
		for _, other := range f.order {
			if parentKey(other) == memberKey(t) {
				told = told || other.Kind == entry.Outcome
				made++
			}
		}
		switch {
		case t.State.Pending(), t.State == entry.StateDead, t.Open, t.Kind == 0 && t.Told && !told, t.Kind != 0 && made < t.Made:
			return false
		}
	}
	return true
}

func (f *family) gatherPending() error {
	for i := -1; i < len(f.order); i++ {
		t := f.root
		if i >= 0 {
			t = f.order[i]
		}
		if err := f.gatherMade(t); err != nil {
			return err
		}
	}
	return f.gatherEvents()
}

// gatherMade finds the pending downstreams that an event's handler made.
func (f *family) gatherMade(t *entry.Trace) error {
	if t.Kind == 0 {
		return nil
	}
	missing := t.Made
	for seq := t.MadeFrom; t.Made > 0 && seq <= t.MadeTo && seq < t.MadeFrom+maxFamily; seq++ {
		switch made, err := f.host.pendingSent(seq); {
		case err == nil && made.Cause == t.ID:
			f.add(made)
		case err != nil && !errors.Is(err, entry.ErrUnknown):
			return err
		}
	}
	for _, other := range f.order {
		if other.Kind == 0 && other.Cause == t.ID {
			missing--
		}
	}
	f.missing += max(0, missing)
	return nil
}

// gatherEvents finds what is pending or dead and is told by what has ended, or was made by
// it: outcomes, receipts and timers. Each is one search for all.
func (f *family) gatherEvents() error {
	s := entry.Search{Most: maxFamily}
	ended := map[string]*entry.Trace{}
	timers := false
	for _, t := range append([]*entry.Trace{f.root}, f.order...) {
		if t.State.Pending() || t.Kind != 0 && !t.Open {
			continue
		}
		ended[memberKey(t)] = t
		timers = timers || t.Kind != 0
		if came := t.Began.Add(-time.Minute); s.Came.IsZero() || came.Before(s.Came) {
			s.Came = came
		}
	}
	if len(ended) == 0 {
		return nil
	}
	s.Asked = func(t *entry.Trace) bool { return ended[parentKey(t)] != nil }
	s.Kinds = []entry.Kind{entry.Outcome, entry.Receipt, entry.Timer}
	pending, err := f.host.ledger.Pending(false, s, 0)
	if err != nil {
		return err
	}
	dead, err := f.host.ledger.DeadTraces(s, "")
	if err != nil {
		return err
	}
	var waiting entry.Found
	if timers {
		if waiting, err = f.host.ledger.WaitingTimers(s); err != nil {
			return err
		}
		for i := range waiting.Traces {
			t := &waiting.Traces[i]
			t.Began = ended[parentKey(t)].Ended // one commit has set it, and ended its cause
		}
	}
	for _, came := range slices.Concat(pending.Traces, dead.Traces, waiting.Traces) {
		f.add(came)
	}
	f.cut = pending.More || dead.More || waiting.More
	return nil
}

// tell makes the life of a member, with those that came of it, in the order in which they
// began.
func (f *family) tell(ctx context.Context, t *entry.Trace) (life admin.Life, err error) {
	f.adds(t)
	life = admin.Life{Row: f.host.row(t, f.query.Full, f.query.Device), Steps: steps(t)}
	if t.State.Pending() {
		if life.Waits, err = f.host.waits(ctx, t); err != nil {
			return life, err
		}
	}
	key := memberKey(t)
	for _, other := range f.order {
		if parentKey(other) != key {
			continue
		}
		made, err := f.tell(ctx, other)
		if err != nil {
			return life, err
		}
		life.Made = append(life.Made, made)
	}
	slices.SortStableFunc(life.Made, func(a, b admin.Life) int { return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.ID, b.ID)) })
	return life, nil
}

// steps are what the ledger knows of a message's way, and when its plugin was forgotten.
func steps(t *entry.Trace) []admin.LifeStep {
	all := way(t)
	if t.Forgotten.IsZero() {
		return all
	}
	at := slices.IndexFunc(all, func(s admin.LifeStep) bool { return s.At.After(t.Forgotten) })
	if at < 0 {
		at = len(all)
	}
	return slices.Insert(all, at, admin.LifeStep{At: t.Forgotten, What: admin.StepForgotten, Detail: "its plugin was forgotten: nobody is told how it ends"})
}

// way is what the ledger knows of a message's way.
func way(t *entry.Trace) (all []admin.LifeStep) {
	first := admin.LifeStep{At: t.Began, What: admin.StepReceived}
	switch t.Kind {
	case 0:
		first.What = admin.StepAccepted
	case entry.Outcome, entry.Timer:
		if first.What = admin.StepMade; t.ID == "" {
			first.What = admin.StepSet
		}
	}
	all = append(all, first)
	tried := admin.StepAttempt
	if t.Kind == 0 {
		tried = admin.StepSent
	}
	number := 0
	for _, a := range t.Tries {
		if skipped := a.Number - number - 1; skipped > 0 && t.Kind != 0 {
			all = append(all, admin.LifeStep{What: admin.StepOmitted, Detail: fmt.Sprintf("%d attempts of which nothing is kept", skipped)})
		}
		number = a.Number
		all = append(all, attempt(tried, a))
	}
	if t.State.Pending() && len(t.Tries) == 0 && t.Attempts > 0 {
		all = append(all, admin.LifeStep{What: admin.StepOmitted, Detail: fmt.Sprintf("%d attempts of which nothing is kept", t.Attempts), Error: t.Error})
	}
	if t.State.Pending() && t.Last.Number > number+1 || t.Kind == 0 && !t.State.Pending() && t.Last.Number > number+1 {
		all = append(all, admin.LifeStep{What: admin.StepOmitted, Detail: fmt.Sprintf("it was sent %s without an answer, because its connections ended", times(t.Last.Number-number-1))})
	}
	if t.State.Pending() && !t.Last.Began.IsZero() {
		all = append(all, attempt(admin.StepSent, t.Last))
	}
	if t.State.Pending() {
		return all
	}
	end := admin.LifeStep{At: t.Ended, What: string(t.State), Attempt: t.Attempts, Code: t.Code, Error: t.Error}
	switch {
	case t.State == entry.StateDead:
	case t.Kind == 0 && !t.Last.Began.IsZero():
		all = append(all, admin.LifeStep{At: t.Last.Began, What: admin.StepSent, Transport: t.Last.Via, Attempt: t.Attempts})
		end.TookMS = millis(t.Last.Took)
	default:
		end.TookMS, end.Version = millis(t.Last.Took), t.Last.Version
	}
	return append(all, end)
}

func attempt(what string, a entry.Attempt) admin.LifeStep {
	return admin.LifeStep{
		At: a.Began, What: what, Attempt: a.Number, Version: a.Version, Transport: a.Via, TookMS: millis(a.Took), Code: a.Code, Error: a.Error,
	}
}
