package policy

import (
	"testing"

	"balhost/host/internal/entry"
)

func TestWorse(t *testing.T) {
	for _, c := range []struct {
		handled, failed uint64 // of the new one
		before, lost    uint64 // of the old one
		worse, late     bool   // while its time lasts, at its end
	}{
		{0, 0, 0, 0, false, false},
		{0, 19, 0, 0, false, true}, // too few events, while there is time
		{0, 4, 0, 0, false, false}, // too few failures
		{100, 4, 0, 0, false, false},
		{15, 5, 0, 0, true, true},   // 25 % over nothing
		{95, 5, 0, 0, false, false}, // 5 %: tolerated
		{94, 6, 0, 0, true, true},
		{850, 150, 9, 1, false, false}, // 15 % over 10 %
		{849, 151, 9, 1, true, true},
		{50, 50, 1, 99, false, false}, // better than before
	} {
		now, old := score{Results: entry.Results{Handled: c.handled, Failed: c.failed}}, score{Results: entry.Results{Handled: c.before, Failed: c.lost}}
		if reason := now.worse(old, enoughEvents); (reason != "") != c.worse {
			t.Errorf("%+v: %q", c, reason)
		}
		if reason := now.worse(old, 0); (reason != "") != c.late {
			t.Errorf("%+v at the end of its time: %q", c, reason)
		}
	}
}

// What failed with the version before says nothing of this one.
func TestOldFailuresAreNoVerdict(t *testing.T) {
	old := score{Results: entry.Results{Handled: 100, Failed: 18}}
	if reason := (score{Results: entry.Results{Failed: 13, Old: 13}}).worse(old, 0); reason != "" {
		t.Errorf("only what had failed before: %q", reason)
	}
	if reason := (score{Results: entry.Results{Failed: 23, Old: 13, Handled: 2}}).worse(old, 0); reason != "10 of its first 12 attempts failed (83 %), of the one's before it 15.3 %" {
		t.Errorf("with others: %q", reason)
	}
}
