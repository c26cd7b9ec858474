package dispatch

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/wire"
)

// maxDelay is the longest wait that a handler may ask for.
const maxDelay = 7 * 24 * time.Hour

// unfit is of a downstream that the host's config stands against. It may go out after
// a reload, and all else that is invalid never will.
type unfit struct{ error }

func (u unfit) Unwrap() error { return u.error }

// Frame takes one frame of the process. On the caller's goroutine, which reads the
// stream, it answers the calls and checks the results. Run gets the rest.
func (in *Instance) Frame(f *wire.PluginFrame) {
	d := in.d
	if n := len(f.GetCall()); n > wire.MaxCalls {
		in.process.Kill(fmt.Sprintf("sent %d calls in one frame, %d at most are possible", n, wire.MaxCalls))
		return
	}
	for _, call := range f.GetCall() {
		d.call(in, call)
	}
	ends := make([]ending, 0, len(f.GetDone())+len(f.GetResult()))
	for _, number := range f.GetDone() {
		ends = append(ends, ending{Settlement: entry.Settlement{Lease: number, Verdict: entry.Done}})
	}
	for _, r := range f.GetResult() {
		ends = append(ends, d.check(in, r))
	}
	extend, abandon, credit, drained := f.GetExtend(), f.GetAbandon(), int(f.GetCredit()), f.GetDrained()
	if len(ends) == 0 && len(extend) == 0 && len(abandon) == 0 && credit == 0 && !drained {
		return
	}
	d.box.put(func(d *Dispatcher) {
		if in.dead {
			return // what it held was taken back
		}
		if credit > 0 {
			in.credit = min(credit, in.MaxInFlight)
		}
		now := time.Now()
		for _, number := range extend {
			if out, ok := in.out[number]; ok {
				out.extended = now
			}
		}
		if len(abandon) > 0 {
			in.abandon(func(call uint64) bool { return slices.Contains(abandon, call) })
		}
		for i := range ends {
			d.end(in, &ends[i])
		}
		in.finished = in.finished || drained
		d.quiet(in)
	})
}

// check makes a result off the wire the end of its delivery. A result that can never
// be committed is a dead letter at once. One that can't be now is the handler's failure,
// and counts as an attempt; so does one without a code, which is a plugin's mistake.
func (d *Dispatcher) check(in *Instance, r *wire.Result) (e ending) {
	e.Lease = r.GetDelivery()
	reads := r.GetChanges().Reads() // an error commits nothing, but counts only if what it has read stands (P7)
	wants := reads
	switch reason := clip(r.GetError()); r.GetCode() {
	case wire.Result_DONE:
		e.Verdict, wants = entry.Done, r.GetChanges()
	case wire.Result_RETRY:
		e.Verdict, e.Reason = entry.Retry, reason
		e.after = time.Duration(min(r.GetDelayMs(), maxDelay.Milliseconds())) * time.Millisecond
	case wire.Result_REJECT:
		e.Verdict, e.Reason = entry.Dead, "rejected: "+reason
	case wire.Result_RELEASE:
		return e
	default:
		e.Verdict, e.uncoded = entry.Retry, true
		e.Reason = strings.TrimSuffix(fmt.Sprintf("a result with the code %s, which is neither DONE, RETRY, REJECT nor RELEASE: %s", r.GetCode(), reason), ": ")
	}
	var err error
	if e.Changes, err = d.changes(in, wants); err != nil {
		e.Verdict, e.Reason, e.after, e.failed = failure(err), err.Error(), 0, true
		if e.Changes, err = d.changes(in, reads); err != nil {
			e.Changes = entry.Changes{}
		}
	}
	return e
}

// failure is how an event ends whose handler wants what can't be committed.
func failure(err error) entry.Verdict {
	if errors.As(err, new(unfit)) || !errors.Is(err, wire.ErrInvalid) {
		return entry.Retry
	}
	return entry.Dead
}

// changes checks what a plugin wants committed.
func (d *Dispatcher) changes(in *Instance, c *wire.Changes) (entry.Changes, error) {
	var checked entry.Changes
	if err := c.Check(); err != nil {
		return checked, err
	}
	for _, m := range c.GetSend() {
		send, err := d.downstream(in, m)
		if err != nil {
			return checked, err
		}
		checked.Sends = append(checked.Sends, send)
	}
	for _, w := range c.GetWrite() {
		write := entry.Write{Key: w.GetKey()}
		if !w.GetRemove() {
			if !json.Valid(w.GetValue()) {
				return checked, fmt.Errorf("%w: the value of %.64q is not JSON: %.40q; marshal it, and set remove to remove the key", wire.ErrInvalid, w.GetKey(), w.GetValue())
			}
			write.Value = append([]byte{}, w.GetValue()...) // never nil, which deletes
		}
		checked.Writes = append(checked.Writes, write)
	}
	for _, s := range c.GetSchedule() {
		schedule, err := d.schedule(in, s)
		if err != nil {
			return checked, err
		}
		checked.Schedules = append(checked.Schedules, schedule)
	}
	for _, id := range c.GetCancel() {
		checked.Cancels = append(checked.Cancels, d.o.Senders().Cancels(id)...)
	}
	for _, r := range c.GetRead() {
		checked.Reads = append(checked.Reads, entry.Read{Key: r.GetKey(), Version: r.GetVersion()})
	}
	for _, r := range c.GetRange() {
		seen, _ := r.Seen() // checked above
		checked.Ranges = append(checked.Ranges, entry.Range{
			Prefix: r.GetPrefix(), After: r.GetAfter(), Last: r.GetLast(),
			Digest: entry.Digest{Keys: int(seen.Keys), Newest: seen.Newest},
		})
	}
	return checked, nil
}

// clip keeps what a plugin says short enough to be stored and shown.
func clip(text string) string {
	if len(text) > wire.MaxError {
		return strings.ToValidUTF8(text[:wire.MaxError], "") + "…"
	}
	return text
}

// downstream checks one downstream off the wire, and puts its session's sender
// id in place of its name. It may stay empty in a handler: addressed fills in the event's.
func (d *Dispatcher) downstream(in *Instance, m *wire.Downstream) (entry.Send, error) {
	checked, err := wire.DownstreamFromProto(m).Checked()
	if err != nil {
		return entry.Send{}, fmt.Errorf("%w: %w", wire.ErrInvalid, err)
	}
	if checked.MessageID == "" {
		return entry.Send{}, fmt.Errorf("%w: downstream without message_id: the SDK sets one, so that sending again is safe", wire.ErrInvalid)
	}
	senders := d.o.Senders()
	id, ok := senders.Meant(checked.Session)
	if !ok {
		return entry.Send{}, unfit{fmt.Errorf("%w: session %q is not in config.hcl; there are %q", wire.ErrInvalid, checked.Session, senders.Names())}
	}
	checked.Session = id
	if err := senders.Fits(id, checked); err != nil {
		return entry.Send{}, unfit{fmt.Errorf("%w: downstream %s: %w", wire.ErrInvalid, checked.MessageID, err)}
	}
	return entry.Send{Message: checked, Tell: in.Outcome, Trace: d.sentBy(m.GetTraceparent())}, nil
}
