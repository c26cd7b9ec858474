package gateway

import "sync"

// unproven counts the bytes of bodies whose signature is checked only when all of them is
// there. Anybody can send such a body. So they have a room of their own: what strangers
// hold there takes nothing from devices that are known.
type unproven struct {
	all, each int // the most bytes: of all addresses, and of one

	mu   sync.Mutex // guards what follows
	held int
	by   map[string]int // address
}

// unprovenLimit is what status says of a body that found no room.
const unprovenLimit = "bytes of bodies whose signature is not checked yet"

// The rooms of devices that sign their requests.
const (
	maxUnproven  = 16 << 20
	eachUnproven = 2 * 256 << 10 // two bodies of the largest size
)

// of is the part of one peer. One that stands for many devices may fill all of it.
func (u *unproven) of(p peer) *share {
	if p.free {
		return &share{u, p.key, u.all}
	}
	return &share{u, p.key, u.each}
}

// share is the room of one address.
type share struct {
	of   *unproven
	key  string
	most int
}

// take implements [capacity].
func (s *share) take(n int) bool {
	u := s.of
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held+n > u.all || u.by[s.key]+n > s.most {
		return false
	}
	if u.by == nil {
		u.by = map[string]int{}
	}
	u.held += n
	u.by[s.key] += n
	return true
}

// give implements [capacity].
func (s *share) give(n int) {
	u := s.of
	u.mu.Lock()
	defer u.mu.Unlock()
	u.held -= n
	if u.by[s.key] -= n; u.by[s.key] == 0 {
		delete(u.by, s.key)
	}
}
