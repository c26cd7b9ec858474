package page

import (
	"fmt"

	"balhost/host/internal/admin"
	"balhost/host/internal/status"
)

// mark is how something is: a word, and how grave that is. The sign that is shown has a
// shape and a colour for each grade, and the word stands beside it.
type mark struct {
	Grade string // good, busy, warn, bad, idle
	Word  string
}

// stateOf is the mark of a plugin, a session, or a connection.
func stateOf(of any) mark {
	switch of := of.(type) {
	case admin.Plugin:
		return ofPlugin(of)
	case status.Session:
		return ofSession(of)
	case status.Connection:
		return ofConnection(of)
	}
	panic(fmt.Sprintf("%T has no state", of)) // a template is wrong, and a test shows each
}

func ofPlugin(p admin.Plugin) mark {
	switch {
	case p.Paused:
		return mark{"warn", "paused"}
	case p.State == "running" && p.Stuck > 0:
		return mark{"warn", "running"}
	}
	grade, known := map[status.State]string{
		"running": "good", "discovered": "busy", "starting": "busy", "draining": "busy", "backoff": "bad", "refused": "bad",
	}[p.State]
	switch {
	case !known && p.Pending > 0:
		grade = "warn" // its events wait for nobody
	case !known:
		grade = "idle"
	}
	return mark{grade, string(p.State)}
}

func ofConnection(c status.Connection) mark {
	switch c.State {
	case "ready":
		return mark{"good", "ready"}
	case "waiting":
		return mark{"warn", "waiting"}
	}
	return mark{"busy", string(c.State)}
}

func ofSession(s status.Session) mark {
	up := 0
	for _, c := range s.Connections {
		if c.State == "ready" || c.State == "draining" {
			up++
		}
	}
	switch {
	case s.Name == "":
		return mark{"warn", "not in the config"}
	case !s.HaltedUntil.IsZero():
		return mark{"bad", "halted"}
	case s.FCMv1 != nil && s.FCMv1.State == "ready":
		return mark{"good", "ready"}
	case s.FCMv1 != nil && s.FCMv1.State == "resting":
		return mark{"warn", "resting"}
	case s.FCMv1 != nil:
		return mark{"bad", s.FCMv1.State}
	case s.Gateway != nil && len(s.Connections) == 0:
		if s.Gateway.Address == "" || s.Gateway.Mute != "" {
			return mark{"bad", "not listening"}
		}
		return mark{"good", "listening"}
	case up == 0:
		return mark{"bad", "not connected"}
	case !s.PushedAt.IsZero():
		return mark{"warn", "contested"}
	case up < len(s.Connections):
		return mark{"warn", fmt.Sprintf("%d of %d connected", up, len(s.Connections))}
	}
	return mark{"good", "connected"}
}
