package gateway

import (
	"sync"
	"time"
)

// mostKnown is how many bindings are kept in memory.
const mostKnown = 100_000

// bindingMemory has whose devices are, so that a device which comes again needs no look at
// the disk.
//
// Invariant: what it has was on disk, and nothing that is on disk since says otherwise. So
// changes come from the commits' callbacks, in their order. Who has only read uses
// rememberRead.
type bindingMemory struct {
	mu      sync.Mutex // guards what follows
	known   map[string]use
	forgets uint64 // so many calls of forget there were
}

// use says which user a from is bound to, and when that was last written down.
type use struct {
	owner
	at time.Time
}

// knows reports whether memory has that from is who's, and that its use is written down.
func (m *bindingMemory) knows(from string, who owner, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.known[from]
	return ok && known.owner == who && now.Sub(known.at) < noteUse
}

func (m *bindingMemory) remember(from string, u use) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(from, u)
}

// forgotten is what rememberRead wants to know: take it before reading.
func (m *bindingMemory) forgotten() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.forgets
}

// rememberRead remembers what was read, unless something was forgotten since. Somebody may
// have taken the device away meanwhile.
func (m *bindingMemory) rememberRead(since uint64, from string, u use) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.forgets == since {
		m.keep(from, u)
	}
}

// keep is called with mu.
func (m *bindingMemory) keep(from string, u use) {
	if _, known := m.known[from]; !known && len(m.known) >= mostKnown {
		for some := range m.known { // any: it is read from the state again
			delete(m.known, some)
			break
		}
	}
	m.known[from] = u
}

func (m *bindingMemory) forget(from string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgets++
	delete(m.known, from)
}
