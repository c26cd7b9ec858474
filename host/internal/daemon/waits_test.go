package daemon

import (
	"slices"
	"testing"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/status"
	"balhost/sdk/message"
)

// Who asks why a downstream has not gone hears of room only where there is a connection: else
// what is missing, and for a session by CCS why.
func TestDownstreamWaitsForWhatIsMissing(t *testing.T) {
	ready, lost := status.Connection{State: ccs.Ready}, status.Connection{State: ccs.Waiting}
	for _, test := range []struct {
		session status.Session
		want    string
		try     []string
	}{
		{status.Session{}, "room on a connection of the session main", []string{"balhost status"}}, // it has just gone from the config
		{status.Session{Transport: message.FCMv1}, "room on a connection of the session main", []string{"balhost status"}},
		{status.Session{Transport: message.CCS, LastError: "of long ago", Connections: []status.Connection{lost, ready}}, "room on a connection of the session main", []string{"balhost status"}},
		{status.Session{Transport: message.CCS, Connections: []status.Connection{lost}}, "a connection of the session main, which has none now", []string{"balhost status", "balhost reload"}},
		{status.Session{Transport: message.CCS, LastError: "not-authorized"}, "a connection of the session main, which has none now: not-authorized", []string{"balhost status", "balhost reload"}},
		{status.Session{Transport: message.Gateway}, "its device: the session main has a gateway alone, so it goes when the device is connected to that", []string{"balhost status"}},
	} {
		if w := waitsFor(test.session, "main"); w.Detail != test.want || !slices.Equal(w.Try, test.try) {
			t.Errorf("%+v: %q %q, want %q %q", test.session, w.Detail, w.Try, test.want, test.try)
		}
	}
}

// What was handed to a session without an access token has not gone out, and that is said.
func TestDownstreamWaitsForAToken(t *testing.T) {
	why := []string{`session "phones": there is no access token: invalid_grant`}
	for want, s := range map[string]status.Session{
		"":     {Unready: why, FCMv1: &status.FCMv1{Token: true}},
		why[0]: {Unready: why, FCMv1: &status.FCMv1{}},
	} {
		if got := tokenless(s); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
	if got := tokenless(status.Session{Unready: why}); got != "" {
		t.Errorf("a session that needs no token: %q", got)
	}
}

// A handler's time is said before it is up, too.
func TestEventWaitsForItsHandler(t *testing.T) {
	for want, s := range map[string]dispatch.Standing{
		"a handler of shop 1.0 has it":                          {For: dispatch.Handler, Version: "1.0"}, // in a debugger
		"a handler of shop has it, whose handler_timeout is 2s": {For: dispatch.Handler, Limit: 2 * time.Second},
		"a handler of shop has it, which has gone on longer than its handler_timeout of 2s: its lane waits, and the context of the handler has ended": {For: dispatch.Hung, Limit: 2 * time.Second},
	} {
		if w := handlerWaits(s, "shop", "E1"); w.Detail != want || (len(w.Try) > 0) != (s.For == dispatch.Hung) {
			t.Errorf("%q %q, want %q", w.Detail, w.Try, want)
		}
	}
}
