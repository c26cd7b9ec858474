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

// Each trouble is told by itself, with how to find the messages that have it. What can act on
// a shell is in no command.
func TestEachTroubleIsTold(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	w := status.Work{Retried: 7, Died: 1, LastFailure: "order 9: payment refused", LastFailureAt: ago(time.Second), Troubles: []status.Trouble{
		{Reason: "order 9: payment refused", Again: 4, Ended: 1, Last: ago(time.Second)},
		{Reason: "$(reboot) `id`", Again: 1, Last: ago(time.Minute)},
		{Reason: "rejected: no such room", Ended: 2, Last: ago(time.Hour)},
	}}
	want := []string{
		`5 attempts failed, of which 1 left a dead letter, the last 1s ago: order 9: payment refused; balhost messages --plugin chat --text "payment refused"`,
		"1 attempt failed, the last 1m0s ago: $(reboot) `id`; balhost messages --plugin chat",
		`2 events became dead letters, the last 1h0m ago: rejected: no such room; balhost messages --plugin chat --text "rejected: no such room"`,
	}
	if got := Plugin("chat", w, status.Process{}, now); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s := status.Session{Name: "main", Troubles: []status.Trouble{
		{Code: "UNAVAILABLE", Reason: "later", Again: 3, Last: now}, {Code: "UNREGISTERED", Gone: true, Ended: 2, Last: now}, {Reason: "its time to live ran out", Ended: 1, Last: now},
	}}
	want = []string{
		`3 times downstreams were not taken, and they go again, the last 0s ago: UNAVAILABLE: later; balhost messages --session main --kind downstream --text "UNAVAILABLE"`,
		`2 downstreams failed because their targets are gone, the last 0s ago: UNREGISTERED; balhost messages --session main --kind downstream --text "UNREGISTERED"`,
		`1 downstream failed, the last 0s ago: its time to live ran out; balhost messages --session main --kind downstream --text "its time to live ran out"`,
	}
	if got := SessionTroubles(s, now); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
