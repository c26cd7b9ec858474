package ccs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"balhost/host/internal/xmpp"
)

// Open logs in beside old, the session that s is to succeed: if CCS does not let s in,
// old goes on. old is nil if it has another transport. No message passes before Run, which takes the connection over; old must
// have ended by then (P3, P5). A session that is opened and not run is closed with
// Close. Two sessions of one sender share old's max_connections: if old has that many,
// it gives one up for the time being.
func (s *Session) Open(ctx context.Context, old *Session) error {
	if old != nil && old.o.SenderID == s.o.SenderID {
		if err := old.place(ctx, func() { old.lent++ }, Draining, Ready); err != nil {
			return fmt.Errorf("wait for a place among max_connections: %w", context.Cause(ctx))
		}
		s.debt = old.redeem
	}
	err := s.open(ctx)
	if errors.As(err, new(*xmpp.StreamError)) { // for CCS the place that old gave up may not be free yet
		select {
		case <-time.After(s.o.Backoff.Min):
			err = s.open(ctx)
		case <-ctx.Done():
		}
	}
	if err != nil {
		s.Close()
	}
	return err
}

// open makes the first connection.
func (s *Session) open(ctx context.Context) (err error) {
	if err := s.o.Connects.Wait(ctx); err != nil {
		return fmt.Errorf("wait for connect_rate: %w", err)
	}
	c := s.newConn(&s.admission.slots[0])
	if c.made, err = c.connect(ctx); err != nil {
		s.forget(c, err)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = c
	return nil
}

// Close ends what Open has opened, if Run has not taken it over.
func (s *Session) Close() {
	if c := s.opened(&s.admission.slots[0]); c != nil {
		c.made.Close() // CCS will send again what it sent on it
		s.forget(c, nil)
	}
	if s.debt != nil {
		s.debt()
		s.debt = nil
	}
}

// opened takes the connection that Open has made for the slot; nil: there is none.
func (s *Session) opened(sl *slot) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.first
	if c == nil || c.slot != sl {
		return nil
	}
	s.first = nil
	return c
}

// redeem takes a lent place back.
func (s *Session) redeem() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent--
	s.admission.wake()
}
