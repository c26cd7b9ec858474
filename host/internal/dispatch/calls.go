package dispatch

import (
	"errors"
	"fmt"

	"balhost/host/internal/entry"
	"balhost/sdk/wire"
)

// call answers one call of a plugin. What is written is answered after it is on
// disk (P2), from the ledger's goroutine.
func (d *Dispatcher) call(p *Instance, c *wire.Call) {
	answer := func(r *wire.Reply) { p.Process.Send(&wire.HostFrame{Reply: []*wire.Reply{r}}) }
	switch op := c.GetOp().(type) {
	case *wire.Call_Get:
		reply := wire.NewReply(c.GetId(), checkKey(op.Get))
		if reply.Code == wire.Reply_OK {
			value, version, err := d.o.Ledger.Get(p.Name, op.Get)
			reply = wire.NewReply(c.GetId(), translate(err))
			reply.Value, reply.Version = value, version
		}
		answer(reply)
	case *wire.Call_Send:
		send, err := d.downstream(p, op.Send)
		d.update(p, c.GetId(), entry.Changes{Sends: []entry.Send{send}}, err, answer)
	case *wire.Call_Update:
		changes, err := d.changes(p, op.Update)
		d.update(p, c.GetId(), changes, err, answer)
	default:
		answer(wire.NewReply(c.GetId(), fmt.Errorf("%w: this host does not know the call", wire.ErrInvalid)))
	}
}

// update commits changes outside an event.
func (d *Dispatcher) update(p *Instance, id uint64, changes entry.Changes, err error, answer func(*wire.Reply)) {
	for _, send := range changes.Sends {
		if err == nil && send.Message.Session == "" {
			err = fmt.Errorf("%w: the downstream names no session, and there are several: %q", wire.ErrInvalid, d.o.Sessions())
		}
	}
	if err != nil {
		answer(wire.NewReply(id, err))
		return
	}
	d.o.Ledger.Update(p.Name, changes, func(err error) { answer(wire.NewReply(id, translate(err))) })
}

// translate gives the ledger's errors their names on the wire.
func translate(err error) error {
	switch {
	case errors.Is(err, entry.ErrConflict):
		return wire.ErrConflict
	case errors.Is(err, entry.ErrExists):
		return fmt.Errorf("%w: %w", wire.ErrInvalid, err)
	case err != nil:
		return fmt.Errorf("%w: %w", wire.ErrUnavailable, err)
	}
	return nil
}
