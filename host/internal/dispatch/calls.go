package dispatch

import (
	"context"
	"errors"
	"fmt"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// call answers one call of a plugin. A call that writes is answered after its commit (P2),
// on the ledger's callback goroutine.
func (d *Dispatcher) call(in *Instance, c *wire.Call) {
	answer := func(r *wire.Reply) { in.process.Send(&wire.HostFrame{Reply: []*wire.Reply{r}}) }
	switch op := c.GetOp().(type) {
	case *wire.Call_Get, *wire.Call_List:
		if c.GetDelivery() == 0 || !in.watched.has(looked(c)) || !d.box.put(func(d *Dispatcher) { d.lookInTurn(in, c) }) {
			d.look(in, c)
		}
	case *wire.Call_Send:
		send, err := d.downstream(in, op.Send)
		d.update(in, c, entry.Changes{Sends: []entry.Send{send}}, err, answer)
	case *wire.Call_Update:
		changes, err := d.changes(in, op.Update)
		d.update(in, c, changes, err, answer)
	case *wire.Call_Cancel:
		d.cancel(in, c, answer)
	default:
		answer(wire.NewReply(c.GetId(), fmt.Errorf("%w: this host does not know the call", wire.ErrInvalid)))
	}
}

// maxWaiting is how many bytes of changes outside of events one process may have waiting for
// their commits. A process that has more is not read, because other plugins' results and
// CCS's acks must not wait behind it.
const maxWaiting = 4 << 20

// weigh returns about how many bytes changes take while they wait.
func weigh(c entry.Changes) int64 {
	n := 4096
	for _, s := range c.Sends {
		m, o := &s.Message, &s.Message.Options
		n += 512 + len(m.Data) + len(m.Notification) + len(m.Context) + len(o.Android) + len(o.APNS) + len(o.Webpush)
	}
	for _, w := range c.Writes {
		n += 128 + len(w.Key) + len(w.Value)
	}
	for _, s := range c.Schedules {
		n += 256 + len(s.Key) + len(s.Data) + len(s.Device)
	}
	return int64(n + 128*(len(c.Reads)+len(c.Cancels)) + 512*len(c.Ranges))
}

// look answers with what the plugin's state holds now.
func (d *Dispatcher) look(in *Instance, c *wire.Call) {
	answer := d.get
	if c.GetList() != nil {
		answer = d.list
	}
	in.process.Send(&wire.HostFrame{Reply: []*wire.Reply{answer(in, c)}})
}

func (d *Dispatcher) get(in *Instance, c *wire.Call) *wire.Reply {
	reply := wire.NewReply(c.GetId(), wire.CheckKey(c.GetGet()))
	if reply.Code == wire.Reply_OK {
		value, version, err := d.o.Ledger.Get(in.Name, c.GetGet())
		reply = wire.NewReply(c.GetId(), translate(err))
		reply.Value, reply.Version = value, version
	}
	return reply
}

// update commits changes outside an event. It waits while the process has maxWaiting
// bytes waiting.
func (d *Dispatcher) update(in *Instance, c *wire.Call, changes entry.Changes, err error, answer func(*wire.Reply)) {
	for i := range changes.Schedules {
		if s := &changes.Schedules[i]; s.Lane == (entry.Lane{}) {
			s.Lane = entry.Lane{Kind: entry.Timer, Hash: entry.Hash(s.Key)}
		} else if err == nil && s.Device != "" && s.Session == "" {
			err = noSession(s.Key, d.o.Senders())
		}
	}
	for _, send := range changes.Sends {
		if err == nil && send.Message.Session == "" {
			err = fmt.Errorf("%w: the downstream names no session, and there are several: %q", wire.ErrInvalid, d.o.Senders().Names())
		}
	}
	if err != nil {
		answer(wire.NewReply(c.GetId(), err))
		return
	}
	weight := min(weigh(changes), maxWaiting)
	if err := in.waiting.Acquire(context.Background(), weight); err != nil { // never happens, because every commit ends
		answer(wire.NewReply(c.GetId(), fmt.Errorf("%w: %w", wire.ErrUnavailable, err)))
		return
	}
	if c.GetUpdate() == nil {
		d.o.Ledger.Update(in.Name, changes, func(err error) {
			in.waiting.Release(weight)
			answer(wire.NewReply(c.GetId(), translate(err)))
		})
		return
	}
	u := &outside{call: c.GetId(), number: c.GetTransaction(), changes: changes, weight: weight, answer: answer}
	if !d.box.put(func(d *Dispatcher) { d.updateInTurn(in, u) }) {
		in.waiting.Release(weight)
		answer(wire.NewReply(c.GetId(), translate(entry.ErrClosed)))
	}
}

// cancel cancels one downstream outside an event. It waits as update does.
func (d *Dispatcher) cancel(in *Instance, c *wire.Call, answer func(*wire.Reply)) {
	if err := message.CheckID(c.GetCancel()); err != nil {
		answer(wire.NewReply(c.GetId(), fmt.Errorf("%w: %w", wire.ErrInvalid, err)))
		return
	}
	which := d.o.Senders().Cancels(c.GetCancel())
	weight := weigh(entry.Changes{Cancels: which})
	if err := in.waiting.Acquire(context.Background(), weight); err != nil { // never happens, because every commit ends
		answer(wire.NewReply(c.GetId(), fmt.Errorf("%w: %w", wire.ErrUnavailable, err)))
		return
	}
	d.o.Ledger.Cancel(in.Name, which, func(n int, err error) {
		in.waiting.Release(weight)
		r := wire.NewReply(c.GetId(), translate(err))
		r.Canceled = n > 0
		answer(r)
	})
}

// translate turns the ledger's errors into those of the wire.
func translate(err error) error {
	switch {
	case errors.Is(err, entry.ErrConflict):
		return wire.ErrConflict
	case errors.Is(err, entry.ErrExists), errors.Is(err, entry.ErrTooLarge): // it will never be accepted as it is
		return fmt.Errorf("%w: %w", wire.ErrInvalid, err)
	case err != nil:
		return fmt.Errorf("%w: %w", wire.ErrUnavailable, err)
	}
	return nil
}
