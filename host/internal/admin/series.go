package admin

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
)

// Series are the figures of the last minutes, for charts. Each list of points has as many
// as Times has, the oldest first. A point that is not known is null.
type Series struct {
	StepSeconds int             `json:"step_seconds"`
	Times       []int64         `json:"times"` // Unix seconds; each point is of the step that ended then
	Plugins     []PluginSeries  `json:"plugins"`
	Sessions    []SessionSeries `json:"sessions"`
	Ledger      LedgerSeries    `json:"ledger"`
}

// PluginSeries are a plugin's. Rates are by the second.
type PluginSeries struct {
	Name        string `json:"name"`
	Handled     Points `json:"handled"`
	Retried     Points `json:"retried"`
	Died        Points `json:"died"`
	Pending     Points `json:"pending"`
	InFlight    Points `json:"in_flight"`
	HandlingP50 Points `json:"handling_p50_ms"` // as in the status: over the last 5 to 10 minutes
	HandlingP99 Points `json:"handling_p99_ms"`
}

// SessionSeries are a session's. Rates are by the second.
type SessionSeries struct {
	Name     string `json:"name"`
	Up       Points `json:"up"`       // upstreams stored and acked
	Down     Points `json:"down"`     // downstreams sent
	Answered Points `json:"answered"` // of these, taken or refused
	InFlight Points `json:"in_flight"`
	Waiting  Points `json:"waiting"`
}

// LedgerSeries are those of all messages. Rates are by the second.
type LedgerSeries struct {
	Accepted    Points `json:"accepted"`
	Handled     Points `json:"handled"`
	Sent        Points `json:"sent"`
	Events      Points `json:"events"`      // pending
	Downstreams Points `json:"downstreams"` // pending
	Dead        Points `json:"dead"`
}

// Points are figures at the times of a series. NaN is one that is not known.
type Points []float64

// MarshalJSON writes them with two digits behind the point.
func (p Points) MarshalJSON() ([]byte, error) {
	out := []byte{'['}
	for i, v := range p {
		if i > 0 {
			out = append(out, ',')
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			out = append(out, "null"...)
		} else {
			out = strconv.AppendFloat(out, math.Round(v*100)/100, 'f', -1, 64)
		}
	}
	return append(out, ']'), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Points) UnmarshalJSON(b []byte) error {
	var all []*float64
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&all); err != nil {
		return err
	}
	*p = make(Points, len(all))
	for i, v := range all {
		if (*p)[i] = math.NaN(); v != nil {
			(*p)[i] = *v
		}
	}
	return nil
}

func (a api) series(w http.ResponseWriter, _ *http.Request) {
	s := a.Series()
	s.Times, s.Plugins, s.Sessions = notNull(s.Times), notNull(s.Plugins), notNull(s.Sessions)
	w.Header().Set("Content-Type", "application/json")
	writeWithin(w, requestLimit)
	_ = json.NewEncoder(w).Encode(s)
}
