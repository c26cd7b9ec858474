package daemon

import (
	"fmt"
	"slices"

	"balhost/host/internal/config"
	"balhost/host/internal/status"
	"balhost/sdk/message"
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
		var b config.Session
		if i := slices.IndexFunc(before, func(b config.Session) bool { return b.SenderID == s.SenderID }); i >= 0 {
			b = before[i]
		}
		for _, what := range []string{transportChanged(b, s, c), gatewayChanged(b, s, c)} {
			if what != "" {
				changed = append(changed, fmt.Sprintf("session %q %s", s.Name, what))
			}
		}
	}
	return changed
}

// transportChanged says what becomes of a session's transport; "": it is as before.
// Without a sender before, the session is new.
func transportChanged(before, now config.Session, c change) string {
	was, is := carrier(before), carrier(now)
	switch {
	case was == is && (is == "" || c.made[line{session: now.Name}] == nil):
		return ""
	case was == is || before.SenderID == "" && is != "":
		return "is opened with its new settings"
	case is == "" && before.SenderID != "":
		return fmt.Sprintf("goes by %s no longer; what waits goes to devices that connect to its gateway", was)
	case was == "":
		return fmt.Sprintf("goes by %s now; what waits for devices that are not connected to its gateway goes out by it", is)
	}
	return fmt.Sprintf("goes by %s now, and no longer by %s; what waits goes out by it", is, was)
}

// carrier is the transport beside the gateway; "": there is none.
func carrier(s config.Session) message.Transport {
	switch {
	case s.FCMv1 != nil:
		return message.FCMv1
	case s.CCS != nil:
		return message.CCS
	}
	return ""
}

// gatewayChanged says what becomes of a session's gateway; "": it is as before.
func gatewayChanged(before, now config.Session, c change) string {
	switch was, is := before.Gateway, now.Gateway; {
	case is == nil && was == nil:
		return ""
	case is == nil:
		return "has no gateway any more; the connections of its devices are closed"
	case was == nil:
		return "has a gateway at " + is.Listen + " now"
	case was.Listen != is.Listen:
		return fmt.Sprintf("has its gateway at %s now, and no longer at %s; devices have to connect there", is.Listen, was.Listen)
	case c.made[line{now.Name, true}] != nil:
		return "opens its gateway with its new settings; devices connect again"
	}
	return ""
}

// hurry ends the waits of sessions and of what was refused: a person says that the cause
// is mended.
func (h *host) hurry() (changed []string) {
	for _, s := range h.sessions.running() {
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
