package hosttest

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/gateway"
)

// slowInbox is a gateway's way to the ledger, which takes its time now and then: between
// two messages of one connection the disk fills up or gets room, and the device connects
// again. It keeps the order of the calls, as a ledger with a long mailbox does.
type slowInbox struct {
	gateway.Inbox
	h *Host
	w *world

	mu      sync.Mutex // guards what follows
	r       *rand.Rand
	waiting []slowly
	running bool
}

// slowly is one call of Accept that waits.
type slowly struct {
	in   entry.Inbound
	done func(error)
}

// Accept implements [gateway.Inbox].
func (s *slowInbox) Accept(in entry.Inbound, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, slowly{in, done})
	if !s.running {
		s.running = true
		go s.run() //house:go it ends when nothing waits
	}
}

// run hands on what waits.
func (s *slowInbox) run() {
	for {
		s.mu.Lock()
		if len(s.waiting) == 0 {
			s.running = false
			s.mu.Unlock()
			return
		}
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		pause := time.Duration(0)
		if chance(s.r, 15) && !s.w.calm.Load() {
			pause = upTo(s.r, time.Second)
		}
		s.mu.Unlock()
		sleep(s.h.gone, pause)
		full := make(chan bool, 1)
		s.Inbox.Accept(next.in, func(err error) {
			full <- errors.Is(err, entry.ErrFull)
			next.done(err)
		})
		s.rest(full)
	}
}

// rest waits, in half of all cases, when a message has found no room: there may be some
// for the next one.
func (s *slowInbox) rest(full <-chan bool) {
	s.mu.Lock()
	waits, pause := chance(s.r, 50), upTo(s.r, 4*time.Second)
	s.mu.Unlock()
	if waits && <-full && !s.w.calm.Load() {
		seen.add("gateway: waits after no room", 1)
		sleep(s.h.gone, pause)
	}
}
