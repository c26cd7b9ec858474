package ccssim

import (
	"path"
	"strconv"
)

// Nack is a rule. Downstreams that match it get an error in place of an ack.
type Nack struct {
	Count       int     `json:"count"`        // for how many downstreams; 0 means 1, negative means all
	Code        string  `json:"code"`         // ccs-protocol.md §4.1; "" sends no answer
	Description string  `json:"description"`  // error_description
	Token       string  `json:"token"`        // matches only downstreams to this token; * and ? are as in path.Match; "" matches all
	StreamError string  `json:"stream_error"` // in place of the nack: the condition of a stream error, as CCS sends for bytes that it can't read
	Cut         CutMode `json:"cut"`          // in place of the nack: how to lose the connection
}

// Nack adds a rule. For each downstream, the first rule that matches counts.
func (s *Server) Nack(n Nack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.Count == 0 {
		n.Count = 1
	}
	s.rules = append(s.rules, n)
}

// ClearNacks removes all rules.
func (s *Server) ClearNacks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// rule is the rule for a target; false without one. It counts as used.
func (s *Server) rule(target string) (Nack, bool) {
	for i := range s.rules {
		r := &s.rules[i]
		if r.Count == 0 {
			continue
		}
		if ok, err := path.Match(r.Token, target); r.Token != "" && r.Token != target && (!ok || err != nil) {
			continue
		}
		if r.Count > 0 {
			r.Count--
		}
		return *r, true
	}
	return Nack{}, false
}

// ruleFor is the rule for a downstream, from the server's own limits or from
// s.rules. False means that the downstream is acked.
func (s *Server) ruleFor(m downstream, invalid error, over, draining bool) (Nack, bool) {
	switch {
	case over:
		return Nack{Code: "SERVICE_UNAVAILABLE", Description: "more than " + strconv.Itoa(s.opts.Pending) + " pending"}, true
	case draining:
		return Nack{Code: "CONNECTION_DRAINING", Description: "connection is draining"}, true
	case invalid != nil:
		return Nack{Code: "INVALID_JSON", Description: "InvalidJson: " + invalid.Error()}, true
	}
	return s.rule(m.target)
}
