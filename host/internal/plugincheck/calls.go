package plugincheck

import (
	"fmt"

	"balhost/sdk/wire"
)

// idsKept bounds the ids of calls that a session keeps.
const idsKept = 1 << 20

// answer answers a call, with mu held, unless its delivery is held.
func (s *session) answer(c *wire.Call) {
	if c.GetId() == 0 {
		s.flaws.add("limits", "a call has the id 0")
		return
	}
	if _, again := s.ids[c.GetId()]; again {
		s.flaws.add("limits", "two calls of a session have the id %d: their replies can't be told apart", c.GetId())
	} else if len(s.ids) < idsKept {
		s.ids[c.GetId()] = struct{}{}
	}
	d := s.out[c.GetDelivery()]
	switch c.GetOp().(type) {
	case *wire.Call_Get, *wire.Call_List:
		if c.GetDelivery() == 0 {
			s.calls++
			s.loose += min(len(s.out), 1)
		} else if d != nil {
			d.asked++
		}
	default:
		s.calls++
	}
	if d != nil && d.hold {
		d.held = append(d.held, c)
		return
	}
	s.send(&wire.HostFrame{Reply: []*wire.Reply{s.reply(c, d)}})
}

// release answers what was held of a delivery.
func (s *session) release(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.hold = false
	for _, c := range d.held {
		s.send(&wire.HostFrame{Reply: []*wire.Reply{s.reply(c, nil)}})
	}
	d.held = nil
}

// reply is a call's answer, with mu held. d is the delivery whose handler asks; nil: none.
func (s *session) reply(c *wire.Call, d *delivery) *wire.Reply {
	switch op := c.GetOp().(type) {
	case *wire.Call_Get:
		r := s.book.get(c.GetId(), op.Get)
		d.note(r)
		if d != nil && r.GetCode() == wire.Reply_OK {
			d.got = append(d.got, &wire.Read{Key: op.Get, Version: r.GetVersion()})
		}
		return r
	case *wire.Call_List:
		r := s.book.list(c.GetId(), op.List)
		d.note(r)
		if d != nil && r.GetCode() == wire.Reply_OK {
			d.listed = append(d.listed, op.List.Range(r.GetList()))
		}
		return r
	case *wire.Call_Send:
		return s.update(c, &wire.Changes{Send: []*wire.Downstream{op.Send}})
	case *wire.Call_Update:
		return s.update(c, op.Update)
	case *wire.Call_Cancel:
		return wire.NewReply(c.GetId(), nil) // all has gone out
	}
	s.flaws.add("limits", "the call %d asks for nothing that the host knows", c.GetId())
	return wire.NewReply(c.GetId(), fmt.Errorf("%w: this host does not know the call", wire.ErrInvalid))
}

// note keeps why a call of the handler was refused. d may be nil.
func (d *delivery) note(r *wire.Reply) {
	if d != nil && r.GetCode() == wire.Reply_INVALID {
		d.refused = r.GetError()
	}
}

// update commits outside of an event.
func (s *session) update(c *wire.Call, changes *wire.Changes) *wire.Reply {
	if err := s.book.refusal(changes); err != nil {
		s.flaws.add("changes", "a call can never work, so the host answers INVALID: %v", err)
		return wire.NewReply(c.GetId(), fmt.Errorf("%w: %w", wire.ErrInvalid, err))
	}
	if s.book.changed(changes) != "" {
		return wire.NewReply(c.GetId(), wire.ErrConflict)
	}
	s.book.commit(changes)
	return wire.NewReply(c.GetId(), nil)
}
