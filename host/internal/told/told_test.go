package told

import (
	"strings"
	"testing"
	"time"

	"balhost/host/internal/status"
)

func TestPluginSaysWhatToDo(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	token := strings.Repeat("t", 152)
	w := status.Work{
		Paused: true, Waiting: 2, NextTry: now.Add(time.Minute), LastTry: now.Add(time.Hour), Stuck: 1,
		StuckHandlers: []status.StuckHandler{{Event: "E1", Kind: "upstream", Device: token, Started: now.Add(-time.Hour)}},
		Lost:          []string{"a", "b"}, LostTo: []string{"other", "other"},
	}
	s := status.Process{PID: 7, SHA256: strings.Repeat("a", 64), Pinned: true, Refusal: &status.Refusal{SHA256: strings.Repeat("b", 64), Reason: "it is no plugin", At: now.Add(-time.Minute), Tried: true}}
	got := strings.Join(Plugin("chat", w, s, now), "\n")
	for _, want := range []string{
		"balhost resume chat", "balhost retry list --plugin chat", "balhost reload chat --force",
		"content aaaaaaaaaaaa serves; the new content bbbbbbbbbbbb was refused 1m0s ago: it is no plugin",
		`upstream E1 of device "tttttttttttttttt…" has been handled for 1h0m`, "categories a, b: other.",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
	crashed := status.Process{PID: 7, State: "running", Restarts: 2, LastCrash: &status.Crash{Reason: "exited with status 4; its last words: pool exhausted", At: now.Add(-42 * time.Second)}}
	if got := strings.Join(Plugin("chat", status.Work{}, crashed, now), "\n"); got != "it crashed 42s ago and was started again, 2 times since the host's start: exited with status 4; its last words: pool exhausted" {
		t.Errorf("of a crash it says %q", got)
	}
	if quiet := Plugin("chat", status.Work{}, crashed, now.Add(time.Hour)); quiet != nil {
		t.Errorf("an hour later it says %q", quiet)
	}
	if quiet := Plugin("chat", status.Work{}, status.Process{PID: 7, State: "running"}, now); quiet != nil {
		t.Errorf("nothing is wrong, and it says %q", quiet)
	}
}

func TestSessionSaysWhatToDo(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := status.Session{
		Name: "main", SenderID: "1", Transport: "fcm_v1", HaltedUntil: now.Add(time.Minute), PushedAt: now.Add(-time.Second), Pushed: 3,
		Gateway: &status.Gateway{Mute: "address in use", CertUntil: now.Add(-time.Hour)}, FCMv1: &status.FCMv1{State: "ready", Rate: 1, MostRate: 2},
	}
	got := strings.Join(SessionTroubles(s, now), "\n")
	for _, want := range []string{"FCM refuses the account", "stop it, then run balhost reload", "does not listen, and tries again: address in use", "its certificate has expired 1h0m ago"} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
	if facts := strings.Join(SessionFacts(s, now), "\n"); !strings.Contains(facts, "1 messages/s at most now, rising to 2") {
		t.Error(facts)
	}
	if quiet := SessionTroubles(status.Session{Name: "main"}, now); quiet != nil {
		t.Errorf("nothing is wrong, and it says %q", quiet)
	}
}
