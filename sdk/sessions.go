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
}

func (s *sessions) set(names, transports []string) { s.now.Store(&told{names, transports}) }

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

// fit says why the session that m names cannot carry m. The host decides about a session
// that it has not told of: it knows former names, and the event's session.
func (s *sessions) fit(m message.Checked) error {
	name, t, ok := s.transport(m.Session)
	if !ok {
		return nil
	}
	if err := m.Fits(t); err != nil {
		return fmt.Errorf("session %q (%s) cannot carry it: %w", name, t, err)
	}
	return nil
}
