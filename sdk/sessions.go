package sdk

import (
	"fmt"
	"slices"
	"sync/atomic"

	"balhost/sdk/message"
)

// sessions are the host's sessions, as it told them last.
type sessions struct {
	now atomic.Pointer[told] // never changed in place
}

type told struct {
	names      []string
	transports []string // of these names; shorter or empty from an old host, whose sessions are all CCS
	former     []string // names that the host told earlier: it takes those of a session that was renamed
}

// set keeps what the host tells. One goroutine at a time calls it.
func (s *sessions) set(names, transports []string) {
	now := &told{names: names, transports: transports}
	if before := s.now.Load(); before != nil {
		for _, name := range slices.Concat(before.former, before.names) {
			if !slices.Contains(names, name) && !slices.Contains(now.former, name) {
				now.former = append(now.former, name)
			}
		}
		now.former = now.former[max(0, len(now.former)-maxFormer):]
	}
	s.now.Store(now)
}

// maxFormer is how many former names are kept at most, the newest.
const maxFormer = 1000

func (s *sessions) names() []string {
	if now := s.now.Load(); now != nil {
		return slices.Clone(now.names)
	}
	return nil
}

// transport is that of a session, or with "" that of the only one, whose name it returns.
// It is not ok if the host has told of no such session.
func (s *sessions) transport(name string) (session string, t Transport, ok bool) {
	now := s.now.Load()
	if now == nil {
		return "", "", false
	}
	i := slices.Index(now.names, name)
	if name == "" && len(now.names) == 1 {
		i = 0
	}
	switch {
	case i < 0:
		return "", "", false
	case i < len(now.transports) && now.transports[i] != "":
		return now.names[i], Transport(now.transports[i]), true
	}
	return now.names[i], CCS, true
}

// fit says why the session that m names cannot carry m. event is the session of the
// event, "" outside of one.
func (s *sessions) fit(m message.Checked, event string) error {
	name, t, ok := s.transport(m.Session)
	if !ok {
		return s.known(m.Session, event)
	}
	if err := m.Fits(t); err != nil {
		return fmt.Errorf("session %q (%s) cannot carry it: %w", name, t, err)
	}
	return nil
}

// known says that the host has no session of this name. The host decides about the event's
// session, about names that a session had before, and about the empty one.
func (s *sessions) known(name, event string) error {
	now := s.now.Load()
	if name == "" || name == event || now == nil || len(now.names) == 0 ||
		slices.Contains(now.names, name) || slices.Contains(now.former, name) {
		return nil
	}
	return fmt.Errorf("session %q is not in config.hcl; there are %q", name, now.names)
}
