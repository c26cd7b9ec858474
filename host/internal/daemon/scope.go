package daemon

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// scope keeps a line's metrics until it is opened, because its predecessor's have
// the same names. Then it registers them. It can unregister them later.
type scope struct {
	to prometheus.Registerer

	mu  sync.Mutex // guards own
	own []prometheus.Collector
}

func (s *scope) Register(c prometheus.Collector) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own = append(s.own, c)
	return nil
}

func (s *scope) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		s.Register(c) //nolint:errcheck // it only keeps them
	}
}

func (s *scope) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to.MustRegister(s.own...) // two sessions of one name would panic: config refuses that
}

func (s *scope) Unregister(c prometheus.Collector) bool { return s.to.Unregister(c) }

func (s *scope) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.own {
		s.to.Unregister(c)
	}
	s.own = nil
}
