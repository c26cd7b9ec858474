package main

import (
	"encoding/json"
	"testing"

	"balhost/host/internal/plugincheck"
)

// checked are the examples with what their devices send. Those of Go alone have no
// sibling in another language.
var checked = []struct {
	name   string
	onlyGo bool
	data   []json.RawMessage
	needs  []string // rows that must be ok, as this example has what they try
}{
	{"echo", false, []json.RawMessage{json.RawMessage(`{"text":"hi"}`)}, []string{"upstream", "ids", "kill", "load"}},
	{"chatroom", false, []json.RawMessage{
		json.RawMessage(`{"do":"join","room":"r","name":"Ann"}`), json.RawMessage(`{"do":"join","room":"r","name":"Bob"}`),
	}, []string{"upstream", "outcome", "parallel", "ids", "conflict", "extend", "revoke", "load", "metrics"}},
	{"reminder", true, []json.RawMessage{json.RawMessage(`{"order":"7","do":"place"}`)}, []string{"upstream", "timer", "load"}},
	{"alerts", true, nil, []string{"outcome", "load"}},
}

// Every example in every language passes balhost plugin check.
func TestLanguageCheck(t *testing.T) {
	for _, language := range languages {
		for _, example := range checked {
			if example.onlyGo && language != "go" {
				continue
			}
			t.Run(language+"/"+example.name, func(t *testing.T) {
				t.Parallel()
				report, err := plugincheck.Run(t.Context(), plugincheck.Options{Path: needsExample(t, language, example.name), Data: example.data})
				if err != nil {
					t.Fatal(err)
				}
				verdicts := map[string]plugincheck.Verdict{}
				for _, row := range report.Rows {
					verdicts[row.Name] = row.Verdict
					if row.Verdict == plugincheck.Fails || row.Verdict == plugincheck.Unknown {
						t.Errorf("%s %s: %s; mend: %s", row.Name, row.Verdict, row.Found, row.Mend)
					} else {
						t.Logf("%s %s: %s", row.Name, row.Verdict, row.Found)
					}
				}
				for _, name := range example.needs {
					if v := verdicts[name]; v != plugincheck.OK && v != plugincheck.Warns {
						t.Errorf("%s %s: it was to be tried", name, v)
					}
				}
			})
		}
	}
}
