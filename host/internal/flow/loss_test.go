package flow

import (
	"fmt"
	"testing"
)

func TestFaultNames(t *testing.T) {
	if got := fmt.Sprint(Link, Server, Account, Policy, Bytes, Rival, Ours); got != "link server account policy bytes rival ours" {
		t.Error(got)
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
