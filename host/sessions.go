package main

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"balhost/host/internal/plain"
	"balhost/host/internal/status"
)

// printSessions prints a row for each connection, and one for each session that has none.
// Below them are problems.
func printSessions(out io.Writer, sessions []status.Session, now time.Time) error {
	t := newTable(out, "SESSION", "ADDRESS", "CONN", "STATE", "FOR", "IN FLIGHT", "WAITING", "UP", "ACK P99", "DOWN", "UNUSABLE")
	for _, s := range sessions {
		switch f := s.FCMv1; {
		case f != nil:
			up, ack := upByGateway(s)
			t.row(s.Name, s.Address, "", stateFCMv1(s), "", fmt.Sprintf("%d/%d", f.InFlight, f.Window), s.Waiting, up, ack, s.Downstreams, "-")
		case s.Gateway != nil && s.Address == s.Gateway.Address: // alone
			up, ack := upByGateway(s)
			t.row(s.Name, s.Address, "", stateGateway(s), "", s.Gateway.InFlight, s.Waiting, up, ack, s.Downstreams, "-")
		case s.Name == "":
			t.row(s.SenderID, s.Address, "", "not in the config", "", "", s.Waiting, s.Upstreams, "", s.Downstreams, s.Unusable)
		case len(s.Connections) == 0:
			t.row(s.Name, s.Address, "", "not connected", "", "", s.Waiting, s.Upstreams, "", s.Downstreams, s.Unusable)
		default:
			connectionRows(t, s, now)
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, s := range sessions {
		p := func(format string, args ...any) {
			fmt.Fprintf(out, "  %s: %s\n", plain.Text(cmp.Or(s.Name, s.SenderID)), plain.Text(fmt.Sprintf(format, args...)))
		}
		if s.FCMv1 != nil {
			printFCMv1(p, s, now)
		}
		if s.Gateway != nil {
			printGateway(p, *s.Gateway, now)
		}
		printTrouble(p, s, now)
	}
	fmt.Fprintln(out)
	return nil
}

// connectionRows has a row for each connection to CCS.
func connectionRows(t table, s status.Session, now time.Time) {
	waiting := 0 // connections after the first that wait; they share one row
	for i, c := range s.Connections {
		if i > 0 && c.State == "waiting" {
			waiting++
			continue
		}
		state, since, inFlight := c.State, ago(now, c.Since), fmt.Sprintf("%d/%d", c.InFlight, c.Window)
		if i > 0 { // the first row has the session's own figures
			t.row("", "", c.Number, state, since, inFlight, "", "", "", "", "")
			continue
		}
		t.row(s.Name, s.Address, c.Number, state, since, inFlight, s.Waiting, s.Upstreams, fmt.Sprintf("%.1fms", s.AckP99), s.Downstreams, s.Unusable)
	}
	if waiting > 0 {
		t.row("", "", "", fmt.Sprintf("%d more waiting", waiting), "", "", "", "", "", "", "")
	}
}

// stateFCMv1 is the state of a session by FCM's HTTP v1, in a word.
func stateFCMv1(s status.Session) string {
	if !s.HaltedUntil.IsZero() {
		return "halted"
	}
	return s.FCMv1.State
}

// printFCMv1 prints what a session by FCM's HTTP v1 has in place of connections.
func printFCMv1(p func(string, ...any), s status.Session, now time.Time) {
	f := s.FCMv1
	token := "no access token"
	if f.Token {
		token = "access token for " + short(f.TokenUntil.Sub(now))
	}
	rate := fmt.Sprintf("%.0f messages/s at most", f.MostRate)
	if f.Rate < f.MostRate {
		rate = fmt.Sprintf("%.0f messages/s at most now, rising to %.0f", f.Rate, f.MostRate)
	}
	up := "; nothing comes up through it"
	if s.Gateway != nil {
		up = ""
	}
	p("%s, as %s: %s, %s, %s%s",
		s.Transport, cmp.Or(f.Account, "the platform's own account"), token, rate, count(f.Connections, "connection", "connections"), up)
	if left := s.RestingUntil.Sub(now); left > 0 && f.State == "resting" {
		p("no request for %s: the project's quota at FCM is used up; it goes on by itself, slower", short(left))
	} else if left > 0 {
		p("no request for %s: FCM is not reached, or is in trouble; it is tried again by itself, and balhost reload tries it at once", short(left))
	}
	if f.Ambiguous > 0 {
		p("%s no answer: FCM may have delivered what they sent, and it is sent again", count(int(f.Ambiguous), "request got", "requests got"))
	}
	if f.Odd > 0 {
		p("%s of an unknown form; they count as taken", count(int(f.Odd), "answer was", "answers were"))
	}
}

// waiting says how many downstreams wait for a time, and why.
func waiting(s status.Session) string {
	again, early := s.Later-s.Early, count(s.Early, "downstream waits for its time", "downstreams wait for their time")
	switch {
	case s.Early == 0:
		return count(again, "downstream waits to be sent again", "downstreams wait to be sent again")
	case again == 0:
		return early
	}
	return fmt.Sprintf("%s, and %d to be sent again", early, again)
}

// printTrouble prints the problems of a session.
func printTrouble(p func(string, ...any), s status.Session, now time.Time) {
	if !s.HaltedUntil.IsZero() {
		p("%s refuses the account: no downstream goes out for %s", status.Server(s.Transport), short(s.HaltedUntil.Sub(now)))
	}
	if !s.PushedAt.IsZero() {
		p("another client logs in as %s and ends the host's connections: %d times in a row, the last time %s ago; stop it, then run balhost reload", s.SenderID, s.Pushed, ago(now, s.PushedAt))
	}
	if s.Later > 0 && !s.NextTry.IsZero() {
		p("%s, the first in %s", waiting(s), short(s.NextTry.Sub(now)))
	}
	if s.TooLarge > 0 {
		p("%d stanzas were longer than max_stanza and skipped", s.TooLarge)
	}
	told := false
	for _, c := range s.Connections {
		if c.Unackable > 0 {
			p("connection %d: %d upstreams can't be acked and hold slots of CCS's window", c.Number, c.Unackable)
		}
		if !c.NextTry.IsZero() && !told { // the first connection that waits
			told = true
			p("connection %d: tried again at %s, in %s; balhost reload tries it at once", c.Number, c.NextTry.Local().Format(time.TimeOnly), short(c.NextTry.Sub(now)))
		}
		if c.State != "waiting" && c.Address != "" && c.Address != s.Address {
			p("connection %d: %s", c.Number, c.Address)
		}
		if c.Refused != "" {
			p("connection %d: upstreams are not stored now (%s); CCS keeps them", c.Number, c.Refused)
		}
	}
	if s.LastError != "" && !s.LastErrorAt.IsZero() {
		p("the last trouble, %s ago: %s", ago(now, s.LastErrorAt), s.LastError)
	}
}
