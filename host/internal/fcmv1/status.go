package fcmv1

import (
	"fmt"
	"time"
)

// State is how a session does, in a word. All but Ready and Resting mean that it can't
// do its work, and Status.Unready says why.
type State string

// The states, the worst first.
const (
	NoToken    State = "no token"    // FCM can't be asked without one
	Refused    State = "refused"     // FCM does not serve the account
	NotReached State = "not reached" // requests don't get through to FCM, or FCM is in trouble
	Resting    State = "resting"     // the project's quota is used up: it goes on by itself
	Ready      State = "ready"
)

// Status is a session at one moment. Counters count since the start.
type Status struct {
	Name, SenderID, Address string
	State                   State

	Downstreams    uint64 // attempts that were sent
	Acked, Refused uint64 // of these, by FCM
	Ambiguous      uint64 // of these, without an answer: FCM may have taken them, and they go again
	Odd            uint64 // taken with an answer of an unknown form

	Account        string // who sends; "" with ADC
	AccountRefused bool   // FCM does not serve it
	InFlight       int
	Window         int       // how many may be in flight
	Connections    int       // open now
	Dialled        uint64    // connections that were begun
	Rate, MostRate float64   // messages a second that may go now, and at most
	TokenUntil     time.Time // zero: there is no access token
	RestingUntil   time.Time // for the project's quota, or because nothing gets through
	LastError      string
	LastErrorAt    time.Time
	Unready        []string
	Warnings       []string
}

// Status is the session's state now.
func (s *Session) Status() Status {
	now := time.Now()
	until, tokenErr := s.bearer.state()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Name: s.o.Name, SenderID: s.o.SenderID, Address: s.url.Host,
		Downstreams: s.counts.sent.Load(), Acked: s.counts.acked.Load(), Refused: s.counts.refused.Load(),
		Ambiguous: s.counts.ambiguous.Load(), Odd: s.counts.odd.Load(),
		InFlight: s.inFlight, Window: s.window.connections * s.window.streams, Connections: int(s.links.open.Load()), Dialled: s.links.dialled.Load(),
		Rate: s.pace.rate(now), MostRate: s.pace.full, TokenUntil: until, LastError: s.err, LastErrorAt: s.errAt,
		Warnings: s.alarms.warnings(now),
	}
	if s.account.key.Private != nil {
		st.Account = s.account.key.ClientEmail
	}
	if rest := later(s.pace.resting, s.health.until); rest.After(now) {
		st.RestingUntil = rest
	}
	if tokenErr != nil && until.After(now) {
		st.Warnings = append(st.Warnings, "the next access token can't be fetched: "+text(tokenErr.Error())+s.keyPlace())
	}
	if st.AccountRefused = s.account.wrong != ""; st.AccountRefused {
		st.Unready = append(st.Unready, "FCM does not serve this account: "+s.account.wrong+s.keyPlace())
	}
	if s.health.careful {
		st.Unready = append(st.Unready, "requests don't get through: "+s.health.why)
	}
	switch {
	case !until.After(now):
		st.State = NoToken
		why := "it is being fetched"
		if tokenErr != nil {
			why = tokenErr.Error() + s.keyPlace()
		}
		st.Unready = append(st.Unready, "there is no access token: "+why)
	case st.AccountRefused:
		st.State = Refused
	case s.health.careful:
		st.State = NotReached
	case s.pace.resting.After(now):
		st.State = Resting
		st.Warnings = append(st.Warnings, fmt.Sprintf("the project's quota at FCM is used up: no request for %s; %s", s.pace.resting.Sub(now).Round(time.Second), quotaAdvice))
	default:
		st.State = Ready
	}
	if s.account.file != "" {
		st.Warnings = append(st.Warnings, fmt.Sprintf("the key file %s has changed and can't be used, so the old key stays: %s", s.o.CredentialsFile, s.account.file))
	}
	return st
}

// keyPlace says which file a person would change; "" if none.
func (s *Session) keyPlace() string {
	if s.o.CredentialsFile == "" {
		return ""
	}
	return " (the key file is " + s.o.CredentialsFile + ")"
}
