package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"balhost/host/internal/config"
)

// line is what the fleet starts, ends and keeps by itself: the transport of a session
// (ccs or fcm_v1), or its gateway. So a change of one leaves the other as it is.
type line struct {
	session string // its name
	gateway bool
}

// wrong is an error of a line, with its session's name. A gateway's errors have it.
func (l line) wrong(err error) error {
	if l.gateway {
		return err
	}
	return fmt.Errorf("session %q: %w", l.session, err)
}

// lineOf is the line of a block that lines has made.
func lineOf(s config.Session) line { return line{s.Name, s.Gateway != nil} }

// lines are the lines of sessions, each as a block that has nothing else.
func lines(sessions []config.Session) (all []config.Session) {
	for _, s := range sessions {
		carrier, gateway := s, s
		carrier.Gateway, gateway.CCS, gateway.FCMv1 = nil, nil, nil
		if s.CCS != nil || s.FCMv1 != nil {
			all = append(all, carrier)
		}
		if s.Gateway != nil {
			all = append(all, gateway)
		}
	}
	return all
}

// listen makes the new gateways of c listen, while the old ones still serve. So an
// address that is taken costs nothing. A gateway that stays at its address listens when
// the old one has ended. If one can't listen, listen closes all new sessions and returns
// the reasons.
func (f *fleet) listen(ctx context.Context, c change) error {
	var all []error
	for _, at := range slices.SortedFunc(maps.Keys(c.made), func(a, b line) int { return strings.Compare(a.session, b.session) }) {
		m := c.made[at]
		tried, ok := m.session.(opener)
		if !ok || !at.gateway || f.holds(m.config.Gateway.Listen) {
			continue
		}
		if err := tried.Open(ctx, nil); err != nil {
			all = append(all, at.wrong(err))
		}
	}
	if len(all) > 0 {
		c.close()
	}
	return errors.Join(all...)
}

// holds reports whether a gateway that runs now is in the way of one at address.
func (f *fleet) holds(address string) bool {
	return slices.ContainsFunc(f.all(), func(m *member) bool {
		return m.config.Gateway != nil && config.Clash(m.config.Gateway.Listen, address)
	})
}
