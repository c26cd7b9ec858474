package plugintest

import (
	"balhost/sdk"
	"balhost/sdk/wire"

	"google.golang.org/protobuf/proto"
)

const wentOut = "went out"

// cancel ends a downstream that waits, and reports whether it did. It is called with mu held.
func (s *store) cancel(id, code string) bool {
	if s.ids[id] == nil || s.ends[id] != "" {
		return false
	}
	s.ends[id] = code
	return true
}

// replace ends the one that waits and whose place d takes. It is called with mu held.
func (s *store) replace(d *wire.Downstream) {
	for _, older := range s.sent {
		if d.Replace != "" && older.Replace == d.Replace && older.Session == d.Session && proto.Equal(older.To, d.To) {
			s.cancel(older.MessageId, "REPLACED")
		}
	}
}

// Waiting is what the plugin has sent and what has not gone out. It can be canceled and
// replaced. Here all waits, with a NotBefore or without, until the test says GoOut.
func (h *Host) Waiting() []sdk.Downstream {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	var all []*wire.Downstream
	for _, d := range h.store.sent {
		if h.store.ends[d.MessageId] == "" {
			all = append(all, d)
		}
	}
	return downstreams(all)
}

// GoOut lets downstreams that wait go out: from now on they are neither canceled nor
// replaced.
func (h *Host) GoOut(messageIDs ...string) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	for _, id := range messageIDs {
		if !h.store.cancel(id, wentOut) {
			h.t.Errorf("plugintest: %q does not wait, so it can't go out", id)
		}
	}
}

// Canceled says why a downstream does not go out: "CANCELED", "REPLACED", or "" for one
// that waits, has gone out, or was never sent. To have the plugin hear it, deliver an
// [sdk.Outcome] with the status [sdk.Canceled] and this code.
func (h *Host) Canceled(messageID string) (code string) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	if code = h.store.ends[messageID]; code == wentOut {
		return ""
	}
	return code
}
