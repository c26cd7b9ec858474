package tally

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Reasons that differ in a number, an id or a name are one trouble, and others are not.
func TestLikeReasonsAreOneTrouble(t *testing.T) {
	var all Troubles
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 5 {
		now = now.Add(time.Second)
		all.Add(Cause{Reason: fmt.Sprintf("order %d of user-%x: payment refused", i, i*977), Ended: i == 4}, now)
		all.Add(Cause{Reason: fmt.Sprintf(`no room called "%s"`, strings.Repeat("x", i))}, now)
	}
	all.Add(Cause{Code: "UNAVAILABLE", Reason: "payment refused"}, now)
	all.Add(Cause{Code: "INTERNAL", Reason: "payment refused"}, now)
	var got []string
	for _, one := range all.List() {
		got = append(got, fmt.Sprintf("%s|%s|%d|%d|%s", one.Code, one.Reason, one.Again, one.Ended, one.Last.Sub(one.First)))
	}
	want := []string{
		"INTERNAL|payment refused|1|0|0s",
		"UNAVAILABLE|payment refused|1|0|0s",
		`|no room called "xxxx"|5|0|4s`,
		"|order 4 of user-f44: payment refused|4|1|4s",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// However many troubles there are, few are kept: those that came last.
func TestFewTroublesAreKept(t *testing.T) {
	var all Troubles
	now := time.Now()
	for i := range 1000 {
		all.Add(Cause{Reason: "trouble " + strings.Repeat("x", i%300+1)}, now)
	}
	list := all.List()
	if len(list) != most || !strings.HasSuffix(list[0].Reason, strings.Repeat("x", 100)) {
		t.Errorf("%d are kept, the first %q", len(list), list[0].Reason)
	}
}

func TestCommonPart(t *testing.T) {
	for reason, want := range map[string]string{
		"order 17: payment refused":         "payment refused",
		`json: no field "colour" in object`: "json: no field",
		"no digits at all":                  "no digits at all",
		"17":                                "",
		"":                                  "",
		`open "a`:                           `open "a`,
		"ids 7f3a-99 and é9 are gone now":   "are gone now",
		`x1"y2"z3 end`:                      "end",
	} {
		if got := Common(reason); got != want || !strings.Contains(reason, got) {
			t.Errorf("of %q: %q, want %q", reason, got, want)
		}
	}
}

func FuzzCommonIsAPart(f *testing.F) {
	f.Add(`order 1 "a" b2`)
	f.Fuzz(func(t *testing.T, reason string) {
		if got := Common(reason); !strings.Contains(reason, got) {
			t.Errorf("%q is no part of %q", got, reason)
		}
	})
}
