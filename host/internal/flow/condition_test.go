package flow

import (
	"fmt"
	"strings"
	"testing"
)

// The stream conditions of RFC 6120 §4.9.3 and those of RFC 3920 §4.7.3 beside
// them, by what follows. Every one is in the table, and nothing else.
func TestStreamFaults(t *testing.T) { // P10
	want := map[Fault]string{
		Link:    "connection-timeout invalid-id",
		Rival:   "conflict",
		Server:  "internal-server-error remote-connection-failed reset resource-constraint see-other-host system-shutdown undefined-condition",
		Account: "host-gone host-unknown not-authorized unsupported-feature unsupported-version",
		Policy:  "policy-violation",
		Bytes: "bad-format bad-namespace-prefix improper-addressing invalid-from invalid-namespace invalid-xml not-well-formed " +
			"restricted-xml unsupported-encoding unsupported-stanza-type xml-not-well-formed",
	}
	n := 0
	for fault, conditions := range want {
		for _, condition := range strings.Fields(conditions) {
			n++
			if got, ok := streamFaults[condition]; !ok || got != fault || StreamFault(condition) != fault {
				t.Errorf("%s is the fault of %v, want %v", condition, got, fault)
			}
		}
	}
	if n != 27 || len(streamFaults) != n {
		t.Errorf("%d conditions here and %d in the table, want 27: 25 of RFC 6120 and two of RFC 3920", n, len(streamFaults))
	}
	for _, condition := range []string{"", "something-new", "Policy-Violation"} {
		if got := StreamFault(condition); got != Server {
			t.Errorf("%q is the fault of %v: an unknown condition says nothing of us", condition, got)
		}
	}
	if got := fmt.Sprint(Link, Server, Account, Policy, Bytes, Rival, Ours); got != "link server account policy bytes rival ours" {
		t.Error(got)
	}
}

// The stanza conditions of RFC 6120 §8.3.3 and of RFC 3920 §9.3.3, with each type.
func TestJudgeStanza(t *testing.T) { // P10; ccs-protocol.md §4.2
	want := map[Verdict]string{
		Fail:  "bad-request feature-not-implemented gone item-not-found jid-malformed not-acceptable not-allowed redirect unexpected-request",
		Halt:  "forbidden not-authorized payment-required registration-required subscription-required",
		Retry: "conflict internal-server-error policy-violation recipient-unavailable remote-server-not-found remote-server-timeout resource-constraint service-unavailable",
	}
	n := 0
	for verdict, conditions := range want {
		for _, condition := range strings.Fields(conditions) {
			n++
			for _, kind := range []string{"modify", "cancel", "auth", "continue", "wait", ""} {
				want := verdict
				if kind == "wait" {
					want = Retry
				}
				if got := JudgeStanza(kind, condition).After(14, 15); got != want {
					t.Errorf("%s of type %q: %v, want %v", condition, kind, got, want)
				}
				if want == Retry {
					want = Fail
				}
				if got := JudgeStanza(kind, condition).After(15, 15); got != want {
					t.Errorf("%s of type %q at the last attempt: %v, want %v", condition, kind, got, want)
				}
			}
		}
	}
	if n != 22 || len(stanzaVerdicts) != n {
		t.Errorf("%d conditions here and %d in the table, want 22: with undefined-condition those of RFC 6120, and one of RFC 3920", n, len(stanzaVerdicts))
	}
	for _, condition := range []string{"undefined-condition", "", "something-new"} {
		for kind, want := range map[string]Verdict{"modify": Fail, "cancel": Fail, "auth": Halt, "wait": Retry, "continue": Retry, "": Retry} {
			if got := JudgeStanza(kind, condition).After(1, 15); got != want {
				t.Errorf("%q of type %q: %v, want %v", condition, kind, got, want)
			}
		}
	}
	if got := JudgeStanza("wait", "bad-request").After(1000, 0); got != Retry {
		t.Errorf("without a limit: %v", got)
	}
}

// A message is blamed by comparison alone, whatever the condition.
func TestJudgeLoss(t *testing.T) { // P3, P10
	for _, c := range []struct {
		name            string
		loss            Loss
		attempts, limit int
		want            Verdict
		blames          bool
	}{
		{"a link that is lost", Loss{Times: 1}, 1, 15, Resend, false},
		{"alone by chance", Loss{Times: 2, Only: true}, 1, 1, Resend, false},
		{"one of them was refused", Loss{End: End{Vague: true}, Times: 1}, 1, 15, Isolate, false},
		{"three in a row", Loss{Times: 3}, 1, 1, Isolate, false},
		{"the account, over and over", Loss{End: End{Fault: Account}, Times: 3}, 1, 1, Isolate, false},
		{"bytes", Loss{End: End{Fault: Bytes}, Times: 1}, 1, 1, Isolate, true},
		{"our own doing", Loss{End: End{Fault: Ours}, Times: 9}, 9, 9, Resend, false},
		{"our own doing, a suspect", Loss{End: End{Fault: Ours}, Times: 9, Suspect: true, Only: true, Ever: true, Compared: true}, 9, 9, Isolate, false},
		{"another client of the sender", Loss{End: End{Fault: Rival, Vague: true}, Times: 9, Only: true, Compared: true, Ever: true}, 9, 9, Resend, false},
		{"another client, a suspect", Loss{End: End{Fault: Rival}, Times: 9, Suspect: true, Only: true, Ever: true, Compared: true, Proofs: 9}, 9, 9, Isolate, false},
		{"bytes, alone by chance", Loss{End: End{Fault: Bytes}, Times: 2, Only: true, Compared: true, Ever: true}, 1, 1, Isolate, true},
		{"a policy", Loss{End: End{Fault: Policy, Useful: true}, Times: 1}, 1, 1, Isolate, true},
		{"a policy, at once", Loss{End: End{Fault: Policy}, Times: 1}, 1, 1, Isolate, false},
		{"bytes, others got through once", Loss{End: End{Fault: Bytes}, Times: 3, Suspect: true, Only: true, Ever: true, Proofs: 2}, 1, 15, Fail, true},
		{"a quota, others got through once", Loss{End: End{Fault: Policy}, Times: 9, Suspect: true, Only: true, Ever: true, Proofs: 7}, 1, 15, Hold, true},
		{"a link, others got through once", Loss{Times: 9, Suspect: true, Only: true, Ever: true, Proofs: 7}, 15, 15, Hold, true},
		{"sent alone", Loss{Times: 4, Suspect: true, Only: true, Compared: true, Ever: true}, 1, 15, Retry, true},
		{"sent alone, others since", Loss{Times: 4, Suspect: true, Compared: true, Ever: true}, 14, 15, Retry, true},
		{"once too often", Loss{Times: 18, Suspect: true, Compared: true, Ever: true}, 15, 15, Fail, true},
		{"no limit", Loss{Times: 18, Suspect: true, Only: true, Compared: true, Ever: true}, 15, 0, Retry, true},
		{"no other got through", Loss{Times: 18, Suspect: true, Only: true}, 15, 15, Hold, true},
		{"bytes, alone", Loss{End: End{Fault: Bytes}, Times: 2, Suspect: true, Only: true, Compared: true, Ever: true, Proofs: 1}, 1, 15, Retry, true},
		{"bytes, alone again", Loss{End: End{Fault: Bytes}, Times: 3, Suspect: true, Only: true, Compared: true, Ever: true, Proofs: 2}, 2, 0, Fail, true},
		{"bytes, but no other got through", Loss{End: End{Fault: Bytes}, Times: 30, Suspect: true, Only: true, Proofs: 1}, 30, 15, Hold, true},
		{"bytes, with others that came since", Loss{End: End{Fault: Bytes}, Times: 3, Suspect: true, Compared: true, Ever: true, Proofs: 2}, 1, 15, Retry, true},
		{"a quota, alone twice", Loss{End: End{Fault: Policy}, Times: 3, Suspect: true, Only: true}, 1, 15, Hold, false},
		{"a quota, and others get through", Loss{End: End{Fault: Policy}, Times: 3, Suspect: true, Only: true, Compared: true, Ever: true, Proofs: 2}, 2, 15, Retry, true},
		{"a limit that it is always over", Loss{End: End{Fault: Policy}, Times: 17, Suspect: true, Only: true, Compared: true, Ever: true, Proofs: 15}, 15, 15, Fail, true},
	} {
		if got := JudgeLoss(c.loss, c.attempts, c.limit); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if got := c.loss.Blames(); got != c.blames {
			t.Errorf("%s: put down to the message: %v", c.name, got)
		}
	}
}
