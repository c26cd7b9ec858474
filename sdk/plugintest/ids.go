package plugintest

import (
	"crypto/rand"
	"sync"

	"github.com/oklog/ulid/v2"
)

// ids gives events their ids. Each is greater than those before it, as a host's are, whoever
// asks and whatever the clock does.
var ids = idSource{entropy: ulid.Monotonic(rand.Reader, 0)}

type idSource struct {
	mu      sync.Mutex // guards what follows
	last    uint64     // the time of the last one
	entropy *ulid.MonotonicEntropy
}

func (s *idSource) next() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last, ulid.Now())
	return ulid.MustNew(s.last, s.entropy).String() // it fails after 2^79 in one millisecond
}
