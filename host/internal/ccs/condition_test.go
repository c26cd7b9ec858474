package ccs

import (
	"strings"
	"testing"

	"balhost/host/internal/flow"
)

// The stream conditions of RFC 6120 §4.9.3 and those of RFC 3920 §4.7.3 beside
// them, by what follows. Every one is in the table, and nothing else.
func TestStreamFaults(t *testing.T) { // P10
	want := map[flow.Fault]string{
		flow.Link:    "connection-timeout invalid-id",
		flow.Rival:   "conflict",
		flow.Server:  "internal-server-error remote-connection-failed reset resource-constraint see-other-host system-shutdown undefined-condition",
		flow.Account: "host-gone host-unknown not-authorized unsupported-feature unsupported-version",
		flow.Policy:  "policy-violation",
		flow.Bytes: "bad-format bad-namespace-prefix improper-addressing invalid-from invalid-namespace invalid-xml not-well-formed " +
			"restricted-xml unsupported-encoding unsupported-stanza-type xml-not-well-formed",
	}
	n := 0
	for fault, conditions := range want {
		for _, condition := range strings.Fields(conditions) {
			n++
			if got, ok := streamFaults[condition]; !ok || got != fault || streamFault(condition) != fault {
				t.Errorf("%s is the fault of %v, want %v", condition, got, fault)
			}
		}
	}
	if n != 27 || len(streamFaults) != n {
		t.Errorf("%d conditions here and %d in the table, want 27: 25 of RFC 6120 and two of RFC 3920", n, len(streamFaults))
	}
	for _, condition := range []string{"", "something-new", "Policy-Violation"} {
		if got := streamFault(condition); got != flow.Server {
			t.Errorf("%q is the fault of %v: an unknown condition says nothing of us", condition, got)
		}
	}
}

// The stanza conditions of RFC 6120 §8.3.3 and of RFC 3920 §9.3.3, with each type.
func TestJudgeStanza(t *testing.T) { // P10; ccs-protocol.md §4.2
	want := map[flow.Verdict]string{
		flow.Fail:  "bad-request feature-not-implemented gone item-not-found jid-malformed not-acceptable not-allowed redirect unexpected-request",
		flow.Halt:  "forbidden not-authorized payment-required registration-required subscription-required",
		flow.Retry: "conflict internal-server-error policy-violation recipient-unavailable remote-server-not-found remote-server-timeout resource-constraint service-unavailable",
	}
	n := 0
	for verdict, conditions := range want {
		for _, condition := range strings.Fields(conditions) {
			n++
			for _, kind := range []string{"modify", "cancel", "auth", "continue", "wait", ""} {
				want := verdict
				if kind == "wait" {
					want = flow.Retry
				}
				if got := judgeStanza(kind, condition).After(14, 15); got != want {
					t.Errorf("%s of type %q: %v, want %v", condition, kind, got, want)
				}
				if want == flow.Retry {
					want = flow.Fail
				}
				if got := judgeStanza(kind, condition).After(15, 15); got != want {
					t.Errorf("%s of type %q at the last attempt: %v, want %v", condition, kind, got, want)
				}
			}
		}
	}
	if n != 22 || len(stanzaVerdicts) != n {
		t.Errorf("%d conditions here and %d in the table, want 22: with undefined-condition those of RFC 6120, and one of RFC 3920", n, len(stanzaVerdicts))
	}
	for _, condition := range []string{"undefined-condition", "", "something-new"} {
		for kind, want := range map[string]flow.Verdict{"modify": flow.Fail, "cancel": flow.Fail, "auth": flow.Halt, "wait": flow.Retry, "continue": flow.Retry, "": flow.Retry} {
			if got := judgeStanza(kind, condition).After(1, 15); got != want {
				t.Errorf("%q of type %q: %v, want %v", condition, kind, got, want)
			}
		}
	}
	if got := judgeStanza("wait", "bad-request").After(1000, 0); got != flow.Retry {
		t.Errorf("without a limit: %v", got)
	}
}
