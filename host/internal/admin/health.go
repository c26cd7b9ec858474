package admin

import (
	"net/http"
	"sync"
	"time"
)

// healthTime is for how long strangers get the same answer about the host's health: to find
// one asks all parts of the host.
const healthTime = time.Second

// health is what strangers were told last.
type health struct {
	mu          sync.Mutex // guards what follows, and has strangers wait for one answer
	live, ready heard
}

type heard struct {
	at time.Time
	ok bool
}

// of is what was told last, or else what ask says.
func (h *health) of(last *heard, ask func() bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last.at.IsZero() || time.Since(last.at) >= healthTime {
		last.ok = ask()
		last.at = time.Now()
	}
	return last.ok
}

// Why is told to those who may read.
const askWhy = "send a token of the role read to see why"

func (a api) livez(w http.ResponseWriter, r *http.Request) {
	if !a.may(r, Read) {
		a.briefly(w, a.health.of(&a.health.live, func() bool { return a.Live() == nil }), Liveness{Live: true}, failure{Error: askWhy})
		return
	}
	if err := a.Live(); err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	answer(w, Liveness{Live: true})
}

// Liveness is what /livez answers with 200.
type Liveness struct {
	Live bool `json:"live"`
}

// Readiness is what /readyz answers, with 200 when ready and 503 when not.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"` // for callers who may read
	// Warnings are problems that do not make the host unready.
	Warnings []string `json:"warnings,omitempty"`
}

func (a api) readyz(w http.ResponseWriter, r *http.Request) {
	if !a.may(r, Read) {
		ready := func() bool { reasons, _ := a.Ready(); return len(reasons) == 0 }
		a.briefly(w, a.health.of(&a.health.ready, ready), Readiness{Ready: true}, Readiness{Reasons: []string{askWhy}})
		return
	}
	reasons, warnings := a.Ready()
	w.Header().Set("Content-Type", "application/json")
	if len(reasons) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	write(w, Readiness{Ready: len(reasons) == 0, Reasons: reasons, Warnings: warnings})
}

// briefly answers a stranger.
func (a api) briefly(w http.ResponseWriter, ok bool, yes, no any) {
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		yes = no
	}
	write(w, yes)
}
