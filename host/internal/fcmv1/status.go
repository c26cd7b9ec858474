package fcmv1

import (
	"fmt"
	"time"
)

// Status is a session at one moment. Counters count since the start.
type Status struct {
	Name, SenderID, Address string

	Downstreams    uint64 // attempts that were sent
	Acked, Refused uint64 // of these, by FCM
	Ambiguous      uint64 // of these, without an answer: FCM may have taken them, and they go again
	Odd            uint64 // taken with an answer of an unknown form

	Account        string // who sends; "" with ADC
	AccountRefused bool   // FCM does not serve it
	InFlight       int
	Window         int    // how many may be in flight
	Connections    int    // open now
	Dialled        uint64 // connections that were begun
	Rate           float64
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
		Rate: s.pace.rate(now), TokenUntil: until, LastError: s.err, LastErrorAt: s.errAt,
		Warnings: s.alarms.warnings(now),
	}
	if s.account.key.Private != nil {
		st.Account = s.account.key.ClientEmail
	}
	if rest := later(s.pace.resting, s.health.until); rest.After(now) {
		st.RestingUntil = rest
	}
	if !until.After(now) {
		st.Unready = append(st.Unready, "there is no access token: "+orElse(tokenErr, "it is being fetched"))
	} else if tokenErr != nil {
		st.Warnings = append(st.Warnings, "the next access token can't be fetched: "+text(tokenErr.Error()))
	}
	if st.AccountRefused = s.account.wrong != ""; st.AccountRefused {
		st.Unready = append(st.Unready, "FCM does not serve this account: "+s.account.wrong)
	}
	if s.health.careful {
		st.Unready = append(st.Unready, "requests don't get through: "+s.health.why)
	}
	if s.account.file != "" {
		st.Warnings = append(st.Warnings, fmt.Sprintf("the key file has changed and can't be used, so the old key stays: %s", s.account.file))
	}
	return st
}

func orElse(err error, text string) string {
	if err == nil {
		return text
	}
	return err.Error()
}
