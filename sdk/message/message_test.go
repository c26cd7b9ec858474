package message

import (
	"encoding/json"
	"testing"
)

// A plugin's log goes to the host as JSON. A status in it has its name.
func TestOutcomeStatusInJSON(t *testing.T) {
	for status, want := range map[OutcomeStatus]string{Acked: `"acked"`, Failed: `"failed"`, Expired: `"expired"`, 0: `"unknown"`} {
		text, err := json.Marshal(status)
		if err != nil || string(text) != want {
			t.Errorf("%d: %s, %v", status, text, err)
		}
		back := Failed
		if err := json.Unmarshal(text, &back); err != nil || back != status {
			t.Errorf("%s is read as %d, %v", text, back, err)
		}
	}
}
