package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"balhost/host/internal/plain"
	"balhost/host/internal/status"
	"balhost/host/internal/told"
)

// printSessions prints a row for each connection, and one for each session that has none.
// Below them are problems.
func printSessions(out io.Writer, sessions []status.Session, now time.Time) error {
	t := newTable(out, "SESSION", "ADDRESS", "CONN", "STATE", "FOR", "IN FLIGHT", "WAITING", "OLDEST", "UP", "ACK P99", "DOWN", "UNUSABLE")
	for _, s := range sessions {
		switch f := s.FCMv1; {
		case f != nil:
			up, ack := upByGateway(s)
			t.row(s.Name, s.Address, "", stateFCMv1(s), "", fmt.Sprintf("%d/%d", f.InFlight, f.Window), s.Waiting, ago(now, s.Oldest), up, ack, s.Downstreams, "-")
		case s.Gateway != nil && s.Address == s.Gateway.Address: // alone
			up, ack := upByGateway(s)
			t.row(s.Name, s.Address, "", stateGateway(s), "", s.Gateway.InFlight, s.Waiting, ago(now, s.Oldest), up, ack, s.Downstreams, "-")
		case s.Name == "":
			t.row(s.SenderID, s.Address, "", "not in the config", "", "", s.Waiting, ago(now, s.Oldest), s.Upstreams, "", s.Downstreams, s.Unusable)
		case len(s.Connections) == 0:
			t.row(s.Name, s.Address, "", "not connected", "", "", s.Waiting, ago(now, s.Oldest), s.Upstreams, "", s.Downstreams, s.Unusable)
		default:
			connectionRows(t, s, now)
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, s := range sessions {
		for _, line := range slices.Concat(told.SessionFacts(s, now), told.SessionTroubles(s, now)) {
			fmt.Fprintf(out, "  %s: %s\n", plain.Text(cmp.Or(s.Name, s.SenderID)), plain.Text(line))
		}
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
			t.row("", "", c.Number, state, since, inFlight, "", "", "", "", "", "")
			continue
		}
		t.row(s.Name, s.Address, c.Number, state, since, inFlight, s.Waiting, ago(now, s.Oldest), s.Upstreams, ackP99(s), s.Downstreams, s.Unusable)
	}
	if waiting > 0 {
		t.row("", "", "", fmt.Sprintf("%d more waiting", waiting), "", "", "", "", "", "", "", "")
	}
}

// stateFCMv1 is the state of a session by FCM's HTTP v1, in a word.
func stateFCMv1(s status.Session) string {
	if !s.HaltedUntil.IsZero() {
		return "halted"
	}
	return s.FCMv1.State
}

// ackP99 is how long its acks of upstreams take; a session that has acked none has no such time.
func ackP99(s status.Session) string {
	if s.AckP99 == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fms", s.AckP99)
}
