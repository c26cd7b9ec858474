package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/wire"
)

// encode makes the delivery of an event. A plugin knows sessions by their names.
func (d *Dispatcher) encode(b entry.Body, number uint64, attempt int, timeout time.Duration) *wire.Delivery {
	m := &wire.Delivery{Delivery: number, Attempt: uint32(attempt), TimeoutMs: uint32(timeout.Milliseconds())}
	switch {
	case b.Upstream != nil:
		u := wire.UpstreamToProto(b.Upstream)
		u.Session = d.o.Senders().Name(u.Session)
		m.Event = &wire.Delivery_Upstream{Upstream: u}
	case b.Outcome != nil:
		o := wire.OutcomeToProto(b.Outcome)
		o.Session = d.o.Senders().Name(o.Session)
		m.Event = &wire.Delivery_Outcome{Outcome: o}
	case b.Receipt != nil:
		r := wire.ReceiptToProto(b.Receipt)
		r.Session = d.o.Senders().Name(r.Session)
		m.Event = &wire.Delivery_Receipt{Receipt: r}
	}
	return m
}

// about says which event a body is, and of which device.
func about(b entry.Body) (id, device string) {
	switch {
	case b.Upstream != nil:
		return b.Upstream.ID, b.Upstream.From
	case b.Outcome != nil:
		return b.Outcome.ID, b.Outcome.To.Token
	case b.Receipt != nil:
		return b.Receipt.ID, b.Receipt.Device
	}
	return "", ""
}

// size is about what a body takes of the plugin's memory.
func size(b entry.Body) int {
	const envelope = 256
	switch {
	case b.Upstream != nil:
		return envelope + len(b.Upstream.Raw) + len(b.Upstream.Data)
	case b.Outcome != nil:
		return envelope + len(b.Outcome.Context)
	}
	return envelope
}

// result is the end of one delivery as the plugin reported it, checked.
type result struct {
	number  uint64
	code    wire.Result_Code
	after   time.Duration
	reason  string
	changes entry.Changes // of an error, a rejection: the reads that it came to be by
}

// Frame takes one frame of the process. It checks and answers on the caller's
// goroutine, which reads the session, and leaves the results for Run.
func (in *Instance) Frame(f *wire.PluginFrame) {
	d := in.d
	if n := len(f.GetCall()); n > maxCalls {
		in.process.Kill(fmt.Sprintf("sent %d calls in one frame, %d at most are possible", n, maxCalls))
		return
	}
	for _, call := range f.GetCall() {
		d.call(in, call)
	}
	results := make([]result, 0, len(f.GetDone())+len(f.GetResult()))
	for _, number := range f.GetDone() {
		results = append(results, result{number: number})
	}
	for _, r := range f.GetResult() {
		results = append(results, d.check(in, r))
	}
	extend, credit, drained := f.GetExtend(), int(f.GetCredit()), f.GetDrained()
	abandon := f.GetAbandon()
	if len(results) == 0 && len(extend) == 0 && len(abandon) == 0 && credit == 0 && !drained {
		return
	}
	d.box.put(func(d *Dispatcher) {
		if in.dead {
			return // it has exited: what it held was taken back
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
		for i := range results {
			d.result(in, &results[i])
		}
		in.finished = in.finished || drained
		d.quiet(in)
	})
}

// check makes a result off the wire one that can be committed. What can't be is
// the handler's failure, and counts as an attempt.
func (d *Dispatcher) check(in *Instance, r *wire.Result) result {
	checked := result{
		number: r.GetDelivery(), code: r.GetCode(),
		after: time.Duration(min(r.GetDelayMs(), maxDelay.Milliseconds())) * time.Millisecond, reason: clip(r.GetError()),
	}
	switch checked.code {
	case wire.Result_DONE:
		var err error
		if checked.changes, err = d.changes(in, r.GetChanges()); err != nil {
			checked.code, checked.reason, checked.after = wire.Result_RETRY, err.Error(), 0
		}
	case wire.Result_RETRY, wire.Result_REJECT: // it comes to nothing, but is checked as what would be committed (P7)
		var err error
		if checked.changes, err = d.changes(in, &wire.Changes{Read: r.GetChanges().GetRead()}); err != nil {
			checked.code, checked.reason, checked.after = wire.Result_RETRY, err.Error(), 0
		}
	case wire.Result_RELEASE:
	default:
		checked.reason = fmt.Sprintf("result with unknown code %d", checked.code)
		checked.code, checked.after = wire.Result_RETRY, 0
	}
	return checked
}

const (
	maxCalls = 256                // in one frame; the SDK cuts at 64
	maxDelay = 7 * 24 * time.Hour // that a handler may ask for
)

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
		if !w.GetDelete() {
			write.Value = append([]byte{}, w.GetValue()...) // never nil, which deletes
		}
		checked.Writes = append(checked.Writes, write)
	}
	for _, r := range c.GetRead() {
		checked.Reads = append(checked.Reads, entry.Read{Key: r.GetKey(), Version: r.GetVersion()})
	}
	return checked, nil
}

// clip keeps what a plugin says short enough to be stored and shown.
func clip(text string) string {
	const most = 4096
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// downstream checks one downstream off the wire, and puts its session's sender
// id in place of its name. It may stay empty in a handler: the event's is filled in.
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
		return entry.Send{}, fmt.Errorf("%w: session %q is not in config.hcl; there are %q", wire.ErrInvalid, checked.Session, senders.Names())
	}
	checked.Session = id
	return entry.Send{Message: checked, Tell: in.Outcome}, nil
}
