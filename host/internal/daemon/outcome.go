package daemon

import (
	"fmt"
	"slices"

	"balhost/host/internal/config"
	"balhost/host/internal/status"
)

// sessionsChanged says what a reload does to the sessions.
func (h *host) sessionsChanged(before, now []config.Session, c change) (changed []string) {
	named := func(all []config.Session, name string) int {
		return slices.IndexFunc(all, func(s config.Session) bool { return s.Name == name })
	}
	for _, s := range before {
		switch name := h.labels().Name(s.SenderID); {
		case named(now, s.Name) >= 0:
		case name != s.SenderID:
			changed = append(changed, fmt.Sprintf("session %q has the name %q now; its waiting messages stay", s.Name, name))
		default:
			changed = append(changed, fmt.Sprintf("session %q is closed; its waiting messages stay until their TTL ends", s.Name))
		}
	}
	for _, s := range now {
		if c.made[s.Name] == nil {
			continue
		}
		what := "is opened with its new settings"
		if i := slices.IndexFunc(before, func(b config.Session) bool { return b.SenderID == s.SenderID }); i >= 0 && before[i].Transport() != s.Transport() {
			what = fmt.Sprintf("goes by %s now, and no longer by %s; what waits goes out by it", s.Transport(), before[i].Transport())
		}
		changed = append(changed, fmt.Sprintf("session %q %s", s.Name, what))
	}
	return changed
}

// hurry ends the waits of sessions and of what was refused: a person says that the cause
// is mended.
func (h *host) hurry() (changed []string) {
	for _, s := range h.sessions.sessions() {
		st := s.Status()
		if waits, ok := s.(hurrier); ok && waits.Hurry() {
			changed = append(changed, fmt.Sprintf("session %q connects now instead of waiting", st.Name))
		} else if !st.PushedUntil.IsZero() {
			changed = append(changed, fmt.Sprintf("session %q counts as ready again; another client had ended its connections", st.Name))
		}
	}
	for _, id := range h.outbox.Lift() {
		name := h.labels().Name(id)
		if name == id { // the config has it no more, and nothing goes out for it
			continue
		}
		changed = append(changed, fmt.Sprintf("session %q sends one downstream as a test; %s had refused its account", name, status.Server(h.labels().Transport(id))))
	}
	return changed
}
