package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// Export gives dead letters that f selects, with an id greater than afterID, whole: up to
// max, and about most bytes of them. next is as DeadOf gives it.
func (l *Ledger) Export(f entry.DeadFilter, afterID string, max, most int) (letters []entry.Exported, next string, err error) {
	size := 0
	next, err = l.eachLetter(afterID, func(d *dead, event lent) bool {
		if brief := d.public(l.clock, false); f.Selects(&brief) {
			letters = append(letters, d.export(l.clock, event))
			size += len(event)
		}
		return len(letters) < max && size < most
	})
	return letters, next, err
}

// export is the letter as a file holds it; event is its envelope, without the format byte.
func (d *dead) export(c *clock, event []byte) entry.Exported {
	public := d.public(c, true)
	public.Raw = slices.Clone(public.Raw)
	return entry.Exported{DeadLetter: public, SenderID: public.Session, Event: append([]byte{format, set(d.unusable, 1)}, event...)}
}

// exportHead is what comes before the envelope in entry.Exported.Event: the format, and
// whether the letter is unusable.
const exportHead = 2

// Import makes exported letters dead letters again, in their order, with the ids, reasons,
// attempts and times that they had. A replay puts them behind all that died here before.
// A letter that the ledger has already is left as it is: a dead letter with the same
// event, or the event itself, if it waits again. One with another event under the same id
// is wrong, as is one that no export can have made. The error is entry.ErrFull or
// entry.ErrClosed; those that came before it are imported.
func (l *Ledger) Import(in entry.Import) (did entry.Imported, err error) {
	var good []*dead
	var events [][]byte
	for i, x := range in.Letters {
		d, same, err := l.importable(x)
		switch {
		case errors.Is(err, errWrong):
			did.Wrong = append(did.Wrong, entry.WrongLetter{At: i, Reason: err.Error()})
		case err != nil:
			return did, err
		case same:
			did.Same++
		default:
			good, events = append(good, d), append(events, x.Event[exportHead:])
		}
	}
	good, events, err = l.notPending(good, events)
	did.Same = len(in.Letters) - len(did.Wrong) - len(good)
	if err != nil || in.Check || len(did.Wrong) > 0 && !in.SkipWrong {
		return did, err
	}
	for len(good) > 0 {
		o, n := &importDead{}, 0
		for n < len(good) && n < batchLetters && (n == 0 || o.bytes+letterSize(good[n], events[n]) <= batchBytes) {
			o.bytes += letterSize(good[n], events[n])
			n++
		}
		o.letters, o.events, good, events = good[:n], events[:n], good[n:], events[n:]
		if err := l.wait(o); err != nil {
			return did, err
		}
		did.Done, did.Same = did.Done+o.did, did.Same+n-o.did
	}
	return did, nil
}

// errWrong is of a letter that can't be imported.
var errWrong = errors.New("it can't be imported")

type wrongLetter string

func (e wrongLetter) Error() string        { return string(e) }
func (e wrongLetter) Is(target error) bool { return target == errWrong }

// importable makes a dead letter of an exported one, or an errWrong. same: the ledger has it.
func (l *Ledger) importable(x entry.Exported) (d *dead, same bool, err error) {
	if d, err = l.read1(x); err != nil {
		return nil, false, err
	}
	var has lent
	err = l.read(appendDeadKey(nil, d.event.id), func(r *reader) error {
		_, has = readDeadWhole(r)
		has = has.own()
		return r.done()
	})
	switch {
	case errors.Is(err, errGone):
		return d, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("dead letter %s: %w", x.ID, err)
	case !bytes.Equal(has, x.Event[exportHead:]):
		return nil, false, wrongLetter(fmt.Sprintf("this host has another dead letter with the id %s", x.ID))
	}
	return d, true, nil
}

// read1 reads one exported letter and checks all that a ledger relies on.
func (l *Ledger) read1(x entry.Exported) (*dead, error) {
	if len(x.Event) < exportHead || x.Event[0] != format {
		return nil, wrongLetter("its event is missing, or is of another version of balhost")
	}
	r := reader{b: x.Event[exportHead:], format: x.Event[0]}
	d := &dead{
		unusable: x.Event[1] == 1, plugin: x.Plugin, reason: clip(x.Reason, maxNote), died: x.Died, attempts: uint32(x.Attempts),
		event: readEnvelope(&r),
	}
	switch {
	case r.done() != nil:
		return nil, wrongLetter("its event is damaged")
	case x.Attempts < 0 || x.Attempts > math.MaxInt32:
		return nil, wrongLetter(fmt.Sprintf("attempts: %d can't be", x.Attempts))
	case len(x.Plugin) > maxName:
		return nil, wrongLetter(fmt.Sprintf("plugin may have %d bytes", maxName))
	case len(x.Event) > maxBody+maxEnvelope:
		return nil, wrongLetter(fmt.Sprintf("its event of %d bytes is too large", len(x.Event)))
	case !d.event.fits():
		return nil, wrongLetter("its event has texts or numbers that no event has")
	}
	if field := differs(d.export(l.clock, x.Event[exportHead:]), x); field != "" {
		return nil, wrongLetter(fmt.Sprintf("%s is another one in its event: only reason, died, attempts and plugin may be changed in the file", field))
	}
	return d, nil
}

// maxEnvelope is what a stored event may have beside the body that a device sent.
const maxEnvelope = 8 << 10

// lastMoment is the end of the year 9999, in milliseconds since 1970. Ids can name later
// ones, but JSON has no text for them (RFC 3339), so no list with one could be told.
const lastMoment = 253_402_300_799_999

// fits reports whether an event that was read keeps the bounds of those that come in.
func (e *envelope) fits() bool {
	short := func(most int, texts ...string) bool {
		return !slices.ContainsFunc(texts, func(s string) bool { return len(s) > most })
	}
	if !short(maxName, e.plugin) || e.id.Time() > lastMoment {
		return false
	}
	switch m := e.body.(type) {
	case *message.Upstream:
		return m.Session != "" && short(maxCategory, m.Session, m.Category) && short(maxID, m.From, m.MessageID)
	case *message.Outcome:
		known := m.Status >= message.Acked && m.Status <= message.Canceled
		return known && short(maxName, m.Session, m.MessageID) && m.Attempts >= 0
	case *inboundReceipt:
		return m.Session != "" && short(maxCategory, m.Session, m.Category, m.Status) && short(maxID, m.ccsID, m.OriginalMessageID, m.Device)
	case *timer:
		lane := m.lane.Kind == entry.Upstream || m.lane.Kind == entry.Outcome || m.lane.Kind == entry.Timer
		return lane && short(maxName, m.Session, m.Key) && short(maxID, m.Device)
	}
	return false
}

// differs names a field for people that doesn't fit the event; "" if all do. The name of the
// session and what may be changed don't count.
func differs(event, x entry.Exported) string {
	var is entry.Exported // as the file has it: there a byte that is not UTF-8 is a U+FFFD
	if text, err := json.Marshal(event); err != nil || json.Unmarshal(text, &is) != nil {
		return "id"
	}
	raw := func(text json.RawMessage) (v any) {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		_ = d.Decode(&v) // both are JSON, or missing
		return v
	}
	for _, f := range []struct {
		name string
		same bool
	}{
		{"id", is.ID == x.ID}, {"kind", is.Kind == x.Kind}, {"sender_id", is.SenderID == x.SenderID},
		{"category", is.Category == x.Category}, {"from", is.From == x.From}, {"message_id", is.MessageID == x.MessageID},
		{"key", is.Key == x.Key}, {"status", is.Status == x.Status}, {"code", is.Code == x.Code}, {"gone", is.Gone == x.Gone}, {"unusable", is.Unusable == x.Unusable},
		{"raw", reflect.DeepEqual(raw(is.Raw), raw(x.Raw))}, {"raw_text", is.RawText == x.RawText}, {"raw_bytes", bytes.Equal(is.RawBytes, x.RawBytes)},
	} {
		if !f.same {
			return f.name
		}
	}
	return ""
}

// notPending leaves out the letters whose events wait here, because they were replayed.
func (l *Ledger) notPending(letters []*dead, events [][]byte) ([]*dead, [][]byte, error) {
	if len(letters) == 0 {
		return nil, nil, nil
	}
	wanted, waits := map[ulid.ULID]bool{}, map[ulid.ULID]bool{}
	for _, d := range letters {
		wanted[d.event.id] = true
	}
	err := l.each(&l.events, 0, math.MaxInt, func(it item) {
		if id := it.(*event).id; wanted[id] {
			waits[id] = true
		}
	})
	var left []*dead
	var with [][]byte
	for i, d := range letters {
		if !waits[d.event.id] {
			left, with = append(left, d), append(with, events[i])
		}
	}
	return left, with, err
}

// letterSize is an upper bound of a letter's record.
func letterSize(d *dead, event []byte) int {
	return len(event) + len(d.reason) + len(d.plugin) + 2*recordExtra
}

// importDead stores letters that came from a file; events are their envelopes.
type importDead struct {
	letters []*dead
	events  [][]byte
	bytes   int
	did     int // set by apply: those that were not here
}

func (o *importDead) weigh() (bytes, records int) { return o.bytes, len(o.letters) }

func (o *importDead) apply(b *batch) error {
	if b.full {
		return entry.ErrFull
	}
	o.did = 0
	for i, d := range o.letters {
		if b.isDead(d.event.id) {
			continue
		}
		here := *d
		here.seq, here.died = b.next(), b.now
		if !d.died.IsZero() {
			here.died = b.now.Add(d.died.Sub(b.real))
		}
		b.putDead(here, o.events[i])
		b.tally.counts.Died-- // not here
		o.did++
	}
	return nil
}

// isDead reports whether there is a dead letter with this id.
func (b *batch) isDead(id ulid.ULID) bool {
	from := b.mark()
	b.arena = appendDeadKey(b.arena, id)
	_, found := b.get(b.since(from))
	return found
}
