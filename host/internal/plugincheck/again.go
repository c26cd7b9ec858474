package plugincheck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"balhost/sdk/wire"
)

const (
	mendIDs      = "§4, message ids: the event's id, -, and the number of the send in this handler, the same at each attempt; else a message goes out twice"
	mendConflict = "§4, reads: when something has changed, the event comes again as the same attempt, and everything is read anew; keep no values from one run to the next"
)

// ids delivers one event twice, as after a crash of the host that lost the first result.
func (c *check) ids(_ context.Context, l *life) finding {
	c.know(l)
	if c.seen.sends == nil {
		return none("no handler has sent a downstream; with --data that is answered it could be seen")
	}
	first, second := &delivery{event: c.seen.sends, dry: true}, &delivery{event: attempt(c.seen.sends, 2), dry: true}
	for _, d := range []*delivery{first, second} {
		if !l.session.finish(c.o.Patience, d) {
			return fails(mendEnd, "the event, delivered again, has not ended within %v", c.o.Patience)
		}
	}
	f := compareIDs(eventID(c.seen.sends), first.result, second.result)
	if f.verdict != OK || c.seen.sends.GetUpstream() == nil {
		return f
	}
	return c.compareTwin(l, f, first.result)
}

// compareTwin delivers the event's twin: another device has sent the same with the same
// message_id. Devices choose these by themselves.
func (c *check) compareTwin(l *life, f finding, first *wire.Result) finding {
	u := c.seen.sends.GetUpstream()
	data := u.GetData()
	if u.GetDataEnd() > 0 {
		data = u.GetRaw()[u.GetDataStart():u.GetDataEnd()]
	}
	twin := &delivery{event: c.upstream(l, u.GetDevice()+"-twin", u.GetMessageId(), data), dry: true}
	if !l.session.finish(c.o.Patience, twin) {
		return fails(mendEnd, "an event of another device has not ended within %v", c.o.Patience)
	}
	for _, id := range sentIDs(twin.result) {
		if id != "" && slices.Contains(sentIDs(first), id) {
			return fails(mendIDs, "the downstreams for events of two devices, whose message_id was %q both times, have the same id %q: the second does not go out", u.GetMessageId(), id)
		}
	}
	return f
}

// compareIDs compares the downstreams of two runs for one event. A plugin may choose ids of
// its own; they must be the same each time.
func compareIDs(event string, first, second *wire.Result) finding {
	a, b := sentIDs(first), sentIDs(second)
	if len(a) == 0 || len(b) == 0 {
		return none("delivered again, the event ended with %s, and then with %s", says(first), says(second))
	}
	usual := true
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fails(mendIDs, "the same downstream of the event %s had the id %q, and then %q", event, a[i], b[i])
		}
		usual = usual && a[i] == fmt.Sprintf("%s-%d", event, i+1)
	}
	if !usual {
		return ok("ids of the plugin's own instead of EVENT-1, the same both times: %s", strings.Join(a, ", "))
	}
	return ok("%s both times", strings.Replace(a[0], event, "EVENT", 1))
}

func sentIDs(r *wire.Result) (ids []string) {
	for _, d := range r.GetChanges().GetSend() {
		ids = append(ids, d.GetMessageId())
	}
	return ids
}

// conflict lets what a handler has read change before its result comes, and delivers the
// event again.
func (c *check) conflict(_ context.Context, l *life) finding {
	c.know(l)
	if c.seen.reads == nil && c.seen.loose {
		return warns("§5: a get or list of a handler names its delivery, and its result lists what it has read; 0 is for reads outside of handlers", "gets and lists while a handler ran had the delivery 0")
	}
	if c.seen.reads == nil {
		return none("no handler has read the state; with --data for which one does it could be seen")
	}
	lost := &delivery{event: c.seen.reads, spoil: true}
	if !l.session.finish(c.o.Patience, lost) {
		return fails(mendEnd, "it has not ended within %v", c.o.Patience)
	}
	if !lost.conflict {
		return none("this time the handler has read nothing that its result lists: %s", says(lost.result))
	}
	again := &delivery{event: c.seen.reads}
	if !l.session.finish(c.o.Patience, again) {
		return fails(mendConflict, "delivered again after a conflict, it has not ended within %v", c.o.Patience)
	}
	switch {
	case again.conflict && wrongVersion(again) != "":
		return fails("§4, reads: list each key with the version that its reply had", "after a conflict there is one again: %s", wrongVersion(again))
	case again.conflict:
		return fails(mendConflict, "after a conflict its result again has the versions from before: this goes on for ever")
	case again.result.GetCode() != lost.result.GetCode():
		return warns(mendConflict, "the first run ended with %s, the one after the conflict with %s", says(lost.result), says(again.result))
	}
	return ok("run again after a conflict: %s", says(again.result))
}

// wrongVersion says which key a result lists with a version that its handler was not told.
func wrongVersion(d *delivery) string {
	for _, listed := range d.result.GetChanges().GetRead() {
		for _, got := range d.got {
			if got.GetKey() == listed.GetKey() && got.GetVersion() != listed.GetVersion() {
				return fmt.Sprintf("it has read %.64q with version %d, and lists it with version %d", got.GetKey(), got.GetVersion(), listed.GetVersion())
			}
		}
	}
	return ""
}

// know sees to it that there are samples, also when the rows of the kinds are left out.
func (c *check) know(l *life) {
	if c.seen.any != nil {
		return
	}
	for _, k := range kinds4(l.manifest) {
		if k.has {
			c.tryKind(l, k)
		}
	}
}

// attempt is the event at another attempt.
func attempt(d *wire.Delivery, n uint32) *wire.Delivery {
	return &wire.Delivery{Event: d.Event, TimeoutMs: d.TimeoutMs, Attempt: n}
}

func eventID(d *wire.Delivery) string {
	switch e := d.GetEvent().(type) {
	case *wire.Delivery_Upstream:
		return e.Upstream.GetId()
	case *wire.Delivery_Outcome:
		return e.Outcome.GetId()
	case *wire.Delivery_Receipt:
		return e.Receipt.GetId()
	case *wire.Delivery_Timer:
		return e.Timer.GetId()
	}
	return ""
}

// event delivers an event of a kind that is not made yet.
func (c *check) strangeEvent(_ context.Context, l *life) finding {
	const mend = "§4: if no field of oneof event that the plugin knows is set, answer RETRY with an error that says so"
	d := &delivery{event: c.event(&wire.Delivery{}), unknown: unknownFields()}
	if !l.session.finish(c.o.Patience, d) {
		return fails(mend, "an event of an unknown kind has not ended within %v", c.o.Patience)
	}
	switch r := d.result; {
	case r.GetCode() != wire.Result_RETRY:
		return fails(mend, "an event of an unknown kind ended with %s: it is lost, or comes for ever", says(r))
	case r.GetError() == "":
		return warns(mend, "an event of an unknown kind ended with RETRY, without an error")
	default:
		return ok("an event of an unknown kind: %s", says(r))
	}
}

// fields starts a process and gives it events whose messages all have unknown fields.
func fields(c *check, ctx context.Context) finding {
	const mend = "§6: unknown fields are ignored; messages of a newer host have some"
	if _, err := c.process(ctx); err != nil {
		return unknown("the plugin does not start: %v", err)
	}
	c.know(c.main)
	l, err := c.start(ctx, start{config: c.o.Plugin.Config, note: func(string, finding) {}, unknown: unknownFields()})
	if err != nil {
		return fails(mend, "with unknown fields in the messages of the start, it does not start: %v", err)
	}
	c.spare = append(c.spare, l)
	l.session.put(outgoing{frame: &wire.HostFrame{LogLevel: "info"}, unknown: unknownFields()})
	if c.seen.any == nil {
		return c.survived(ok("in Describe, Configure and frames"), l)
	}
	event := proto.CloneOf(c.seen.any)
	if u := event.GetUpstream(); u != nil {
		u.ProtoReflect().SetUnknown(unknownFields())
	}
	d := &delivery{event: event, unknown: unknownFields()}
	if !l.session.finish(c.o.Patience, d) {
		if why := l.dead(); why != nil {
			return fails(mend, "at unknown fields of an event the process ended: %v", why)
		}
		return fails(mend, "an event with unknown fields has not ended within %v", c.o.Patience)
	}
	return c.survived(ok("in Describe, Configure, frames and events"), l)
}
