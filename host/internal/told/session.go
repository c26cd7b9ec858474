package told

import (
	"cmp"
	"fmt"
	"time"

	"balhost/host/internal/status"
)

// SessionFacts is what a session by FCM's HTTP v1, or with a gateway, has in place of
// connections to CCS.
func SessionFacts(s status.Session, now time.Time) []string {
	var p lines
	if s.FCMv1 != nil {
		p.factsFCMv1(s, now)
	}
	if g := s.Gateway; g != nil {
		p.add("gateway at %s: %s connected, %d of %d connections; up: %d stored, %d known already, %d refused, %s; down: %d sent, %d acked, %d in flight",
			g.Address, Count(g.Sockets, "device", "devices"), g.Connections, g.MaxConnections,
			g.Stored, g.Duplicates, g.Refused, Count(int(g.Receipts), "receipt", "receipts"), g.Downstreams, g.Acked, g.InFlight)
	}
	return p
}

// SessionTroubles are the problems of a session.
func SessionTroubles(s status.Session, now time.Time) []string {
	var p lines
	if s.FCMv1 != nil {
		p.fcmv1(s, now)
	}
	if s.Gateway != nil {
		p.gateway(*s.Gateway, now)
	}
	p.session(s, now)
	return p
}

func (p *lines) factsFCMv1(s status.Session, now time.Time) {
	f := s.FCMv1
	token := "no access token"
	if f.Token {
		token = "access token for " + Short(f.TokenUntil.Sub(now))
	}
	rate := fmt.Sprintf("%.0f messages/s at most", f.MostRate)
	if f.Rate < f.MostRate {
		rate = fmt.Sprintf("%.0f messages/s at most now, rising to %.0f", f.Rate, f.MostRate)
	}
	up := "; nothing comes up through it"
	if s.Gateway != nil {
		up = ""
	}
	p.add("%s, as %s: %s, %s, %s%s",
		s.Transport, cmp.Or(f.Account, "the platform's own account"), token, rate, Count(f.Connections, "connection", "connections"), up)
}

// fcmv1 has the problems that only such a session has.
func (p *lines) fcmv1(s status.Session, now time.Time) {
	f := s.FCMv1
	if left := s.RestingUntil.Sub(now); left > 0 && f.State == "resting" {
		p.add("no request for %s: the project's quota at FCM is used up; it goes on by itself, slower", Short(left))
	} else if left > 0 {
		p.add("no request for %s: FCM is not reached, or is in trouble; it is tried again by itself, and balhost reload tries it at once", Short(left))
	}
	if f.Ambiguous > 0 {
		p.add("%s no answer: FCM may have delivered what they sent, and it is sent again", Count(int(f.Ambiguous), "request got", "requests got"))
	}
	if f.Odd > 0 {
		p.add("%s of an unknown form; they count as taken", Count(int(f.Odd), "answer was", "answers were"))
	}
}

// waiting says how many downstreams wait for a time, and why.
func waiting(s status.Session) string {
	again, early := s.Later-s.Early, Count(s.Early, "downstream waits for its time", "downstreams wait for their time")
	switch {
	case s.Early == 0:
		return Count(again, "downstream waits to be sent again", "downstreams wait to be sent again")
	case again == 0:
		return early
	}
	return fmt.Sprintf("%s, and %d to be sent again", early, again)
}

// session has the problems that any session may have.
func (p *lines) session(s status.Session, now time.Time) {
	if !s.HaltedUntil.IsZero() {
		p.add("%s refuses the account: no downstream goes out for %s", status.Server(s.Transport), Short(s.HaltedUntil.Sub(now)))
	}
	if !s.PushedAt.IsZero() {
		p.add("another client logs in as %s and ends the host's connections: %d times in a row, the last time %s ago; stop it, then run balhost reload", s.SenderID, s.Pushed, Ago(now, s.PushedAt))
	}
	if s.Later > 0 && !s.NextTry.IsZero() {
		p.add("%s, the first in %s", waiting(s), Short(s.NextTry.Sub(now)))
	}
	if s.TooLarge > 0 {
		p.add("%d stanzas were longer than max_stanza and skipped", s.TooLarge)
	}
	for _, t := range s.Troubles[:min(len(s.Troubles), mostTroubles)] {
		p.add("%s; balhost messages --session %s --kind downstream%s", Sends(t, now), cmp.Or(s.Name, s.SenderID), finds(t))
	}
	told := false
	for _, c := range s.Connections {
		if c.Unackable > 0 {
			p.add("connection %d: %d upstreams can't be acked and hold slots of CCS's window", c.Number, c.Unackable)
		}
		if !c.NextTry.IsZero() && !told { // the first connection that waits
			told = true
			p.add("connection %d: tried again at %s, in %s; balhost reload tries it at once", c.Number, Clock(c.NextTry), Short(c.NextTry.Sub(now)))
		}
		if c.State != "waiting" && c.Address != "" && c.Address != s.Address {
			p.add("connection %d: %s", c.Number, c.Address)
		}
		if c.Refused != "" {
			p.add("connection %d: upstreams are not stored now (%s); CCS keeps them", c.Number, c.Refused)
		}
	}
	if s.LastError != "" && !s.LastErrorAt.IsZero() {
		p.add("the last trouble, %s ago: %s", Ago(now, s.LastErrorAt), s.LastError)
	}
}
