package entry

import (
	"testing"
	"time"
)

func TestDeadFilterSelects(t *testing.T) {
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	letter := DeadLetter{From: "fGx9abcdefghijklmnop", Category: "com.example.a", Plugin: "orders", Kind: "upstream", Reason: "rejected: No such Table", Died: noon}
	for name, tc := range map[string]struct {
		f    DeadFilter
		want bool
	}{
		"nothing set":             {DeadFilter{}, true},
		"the device":              {DeadFilter{Device: letter.From}, true},
		"as listings show it":     {DeadFilter{Device: "fGx9…"}, true},
		"a beginning alone":       {DeadFilter{Device: "fGx9"}, false},
		"no token at all":         {DeadFilter{Device: "…"}, false},
		"more than is shown":      {DeadFilter{Device: letter.From[:17] + "…"}, false},
		"another device":          {DeadFilter{Device: "fGx8…"}, false},
		"the category":            {DeadFilter{Category: "com.example.a"}, true},
		"a part of the category":  {DeadFilter{Category: "com.example"}, false},
		"another plugin":          {DeadFilter{Plugin: "order"}, false},
		"another kind":            {DeadFilter{Kind: "timer"}, false},
		"a part of the reason":    {DeadFilter{Reason: "no such table"}, true},
		"another reason":          {DeadFilter{Reason: "no such room"}, false},
		"since then":              {DeadFilter{Since: noon}, true},
		"since later":             {DeadFilter{Since: noon.Add(1)}, false},
		"until then":              {DeadFilter{Until: noon}, false},
		"until later":             {DeadFilter{Until: noon.Add(1)}, true},
		"all of them fit":         {DeadFilter{Device: "fGx9…", Plugin: "orders", Kind: "upstream", Reason: "table", Since: noon}, true},
		"one of them doesn't fit": {DeadFilter{Device: "fGx9…", Plugin: "orders", Kind: "receipt"}, false},
	} {
		if got := tc.f.Selects(&letter); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
		if tc.f.Any() != (tc.f == DeadFilter{}) {
			t.Errorf("%s: Any is %v", name, tc.f.Any())
		}
	}
}
