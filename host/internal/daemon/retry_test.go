package daemon

import (
	"testing"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// Whatever waits for its next attempt has a name in the list, timers too.
func TestWhatWaitsIsNamed(t *testing.T) {
	for _, body := range []entry.Body{
		{Upstream: &message.Upstream{ID: "01J", From: "phone"}},
		{Outcome: &message.Outcome{ID: "01J", To: message.Token("phone")}},
		{Receipt: &message.Receipt{ID: "01J", Device: "phone"}},
		{Timer: &message.Timer{ID: "01J", Device: "phone"}},
	} {
		if id, device := idOf(body); id != "01J" || device != "phone" {
			t.Errorf("%+v: %q of %q", body, id, device)
		}
	}
}
