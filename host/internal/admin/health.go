package admin

import "net/http"

func (a api) livez(w http.ResponseWriter, _ *http.Request) {
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
	Reasons []string `json:"reasons,omitempty"`
	// Warnings are problems that do not make the host unready.
	Warnings []string `json:"warnings,omitempty"`
}

func (a api) readyz(w http.ResponseWriter, _ *http.Request) {
	reasons, warnings := a.Ready()
	w.Header().Set("Content-Type", "application/json")
	if len(reasons) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	write(w, Readiness{Ready: len(reasons) == 0, Reasons: reasons, Warnings: warnings})
}
