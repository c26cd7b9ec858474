package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccs"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/entry"
	"balhost/host/internal/outbox"
	"balhost/host/internal/plain"
	"balhost/host/internal/status"
	"balhost/sdk/message"
)

// waits says what a pending message waits for, and what a person can do.
func (h *host) waits(ctx context.Context, t *entry.Trace) (*admin.Wait, error) {
	var w admin.Wait
	var err error
	if t.Kind == 0 {
		w, err = h.downstreamWaits(t)
	} else if t.ID == "" {
		w = admin.Wait{For: admin.WaitTime, Until: t.Due, Detail: "the time for which it is set"}
	} else {
		w, err = h.eventWaits(ctx, t)
	}
	if errors.Is(err, entry.ErrUnknown) {
		return nil, nil // it has ended meanwhile
	} else if err != nil {
		return nil, err
	}
	now := time.Now()
	w.Since, w.Until = today(now, w.Since), today(now, w.Until)
	return &w, nil
}

func (h *host) eventWaits(ctx context.Context, t *entry.Trace) (w admin.Wait, err error) {
	found := h.ledger.Events(t.Seq-1, 1)
	if len(found) == 0 || found[0].Seq != t.Seq {
		return w, entry.ErrUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, aliveTime)
	defer cancel()
	s, err := h.dispatch.Standing(ctx, found[0])
	if err != nil {
		return w, err
	}
	name := plain.Text(s.Plugin)
	switch s.For {
	case dispatch.Handler, dispatch.Hung:
		w = handlerWaits(s, name, t.ID)
	case dispatch.Committed:
		w = admin.Wait{For: admin.WaitCommit, Detail: "its handler has ended, and that is on its way to the disk"}
	case dispatch.Boot, dispatch.Unknown:
		w = admin.Wait{For: admin.WaitStart, Detail: "the host is starting: events go out when the plugins have described themselves"}
	case dispatch.Claim:
		w = admin.Wait{For: admin.WaitClaim, Since: s.Since, Detail: fmt.Sprintf("no plugin claims the category %q", plain.Line(t.Category, 64)), Try: []string{"balhost plugins"}}
	case dispatch.Paused:
		w = admin.Wait{For: admin.WaitPause, Since: s.Since, Detail: name + " is paused", Try: []string{"balhost resume " + name}}
		if s.Device != "" {
			w.Detail, w.Try[0] = "its device is paused at "+name, w.Try[0]+" --device "+plain.Text(s.Device)
		} else if s.Lane != "" {
			w.Detail, w.Try[0] = "its lane is paused at "+name, resumeLane(name, s.Lane)
		}
	case dispatch.NoProcess:
		w = h.pluginDown(name)
	case dispatch.Lane:
		w, err = h.behindEvent(s, name)
	case dispatch.Due:
		w = admin.Wait{For: admin.WaitAttempt, Until: s.Until, Detail: "its next attempt", Try: []string{"balhost retry now " + t.ID}}
	case dispatch.Suspect:
		w = admin.Wait{For: admin.WaitTurn, Detail: name + " crashed while it handled this event, so it is tried alone, in a process of its own"}
	case dispatch.Keys:
		w = admin.Wait{For: admin.WaitTurn, Detail: "state that its handler had read has changed: it runs again when the keys are free"}
	default:
		w = admin.Wait{For: admin.WaitTurn, Detail: fmt.Sprintf("its turn: about %d lanes of %s can go next, as many at once as max_in_flight allows", s.Before, name)}
	}
	return w, err
}

// handlerWaits is for an event that a handler has, with the time that this may take.
func handlerWaits(s dispatch.Standing, plugin, id string) admin.Wait {
	w := admin.Wait{For: admin.WaitHandler, Since: s.Since, Detail: fmt.Sprintf("a handler of %s has it", named(plugin, s.Version))}
	switch {
	case s.For == dispatch.Hung:
		w.For, w.Detail = admin.WaitStuck, w.Detail+fmt.Sprintf(", which has gone on longer than its handler_timeout of %s: its lane waits, and the context of the handler has ended", s.Limit)
		w.Try = []string{"balhost stuck", "balhost stuck giveup " + id}
	case s.Limit > 0:
		w.Detail += fmt.Sprintf(", whose handler_timeout is %s", s.Limit)
	}
	return w
}

// named is a plugin with its version, if that is known.
func named(plugin, version string) string { return strings.TrimSpace(plugin + " " + version) }

// pluginDown says why a plugin runs no process.
func (h *host) pluginDown(name string) admin.Wait {
	w := admin.Wait{For: admin.WaitPlugin, Detail: "the plugin " + name + " does not run", Try: []string{"balhost plugins"}}
	for _, p := range h.plugins.Status() {
		if p.Name != name {
			continue
		}
		w.Until = p.NextStart
		w.Detail = fmt.Sprintf("the plugin %s is %s", name, p.State)
		if p.Reason != "" {
			w.Detail += ": " + plain.Line(p.Reason, 300)
		}
		return w
	}
	w.Detail, w.Try = w.Detail+": there is no such file in the plugins folder", append(w.Try, "balhost forget "+name)
	return w
}

// behindEvent is for an event that waits for another one of its lane.
func (h *host) behindEvent(s dispatch.Standing, plugin string) (admin.Wait, error) {
	w := admin.Wait{For: admin.WaitLane, Until: time.Time{}, Detail: "an event of its lane goes first"}
	head, err := h.ledger.PendingTrace(false, s.Behind)
	if err != nil {
		return w, err
	}
	w.Behind = head.ID
	w.Detail = "behind " + head.ID + " of the same lane"
	if s.Before > 1 {
		w.Detail += fmt.Sprintf(" and %d more", s.Before-1)
	}
	w.Try = []string{"balhost explain " + head.ID}
	switch {
	case head.State == entry.StateInFlight:
		w.Detail += ", which a handler of " + plugin + " has"
	case head.Attempts > 0:
		w.Until = head.Due
		w.Detail += fmt.Sprintf(", which has failed %s: %s", times(head.Attempts), plain.Line(head.Error, 200))
		w.Try = append(w.Try, "balhost retry now "+head.ID)
	}
	return w, nil
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func (h *host) downstreamWaits(t *entry.Trace) (w admin.Wait, err error) {
	session := plain.Text(h.labels().Name(t.Session))
	switch s := h.outbox.Standing(t.Seq); s.For {
	case outbox.Answer:
		w = admin.Wait{For: admin.WaitAnswer, Since: s.Since, Detail: "its answer: it was sent by the route of its device"}
		if s.Conn != 0 {
			w.Detail = fmt.Sprintf("its answer: it was sent on connection %d of %s", s.Conn, session)
			if why := tokenless(h.sessionOf(t.Session)); why != "" {
				w.Detail, w.Try = "an access token, and then its answer: "+why, []string{"balhost doctor", "balhost reload"}
			}
		}
	case outbox.Recording:
		w = admin.Wait{For: admin.WaitCommit, Detail: "its end is on its way to the disk"}
	case outbox.Paused:
		w = admin.Wait{For: admin.WaitPause, Detail: "the delivery of " + session + " is paused", Try: []string{"balhost resume --session " + session + " --delivery"}}
	case outbox.Group:
		w = h.behindDownstream(s.Behind)
	case outbox.Time:
		w = admin.Wait{For: admin.WaitTime, Until: s.Until, Detail: "its not_before", Try: []string{"balhost cancel " + t.ID}}
	case outbox.Due:
		w = admin.Wait{For: admin.WaitAttempt, Until: s.Until, Detail: "its next attempt"}
	case outbox.Target:
		w = admin.Wait{For: admin.WaitTarget, Until: s.Until, Detail: "its target was sent too much, and rests"}
	case outbox.Rest:
		w = admin.Wait{For: admin.WaitRest, Until: s.Until, Detail: "the session " + session + " was sent too much, and rests"}
	case outbox.Halt:
		w = admin.Wait{For: admin.WaitHalt, Until: s.Until, Detail: "the account of the session " + session + " is refused", Try: []string{"balhost status", "balhost reload"}}
	case outbox.Suspect:
		w = admin.Wait{For: admin.WaitTurn, Detail: "connections have ended while it was unanswered, so it goes alone"}
	case outbox.Room:
		w = waitsFor(h.sessionOf(t.Session), session)
		if s.Before > 0 {
			w.Detail += fmt.Sprintf(": %d go first", s.Before)
		}
	default:
		w = admin.Wait{For: admin.WaitStart, Detail: "the outbox has not read it yet"}
	}
	return w, nil
}

// sessionOf is the state of the session that has this sender; empty if none has.
func (h *host) sessionOf(senderID string) (found status.Session) {
	for _, s := range h.sessions.status() {
		if s.SenderID == senderID {
			found = s
		}
	}
	return found
}

// tokenless says why a session has no access token; "": it has one, or needs none. Without one
// the requests of what was handed to it are not made.
func tokenless(s status.Session) string {
	if s.FCMv1 == nil || s.FCMv1.Token || len(s.Unready) == 0 {
		return ""
	}
	return plain.Line(s.Unready[0], 600)
}

// waitsFor says what a downstream waits for that may go as soon as its session can take it.
func waitsFor(s status.Session, name string) admin.Wait {
	w := admin.Wait{For: admin.WaitTransport, Detail: "room on a connection of the session " + name, Try: []string{"balhost status"}}
	switch {
	case s.Transport == message.Gateway:
		w.Detail = fmt.Sprintf("its device: the session %s has a gateway alone, so it goes when the device is connected to that", name)
	case s.Transport == message.CCS && !slices.ContainsFunc(s.Connections, func(c status.Connection) bool { return c.State == ccs.Ready }):
		w.Detail = fmt.Sprintf("a connection of the session %s, which has none now", name)
		if s.LastError != "" {
			w.Detail += ": " + plain.Line(s.LastError, 300)
		}
		w.Try = append(w.Try, "balhost reload")
	}
	return w
}

func (h *host) behindDownstream(seq uint64) admin.Wait {
	w := admin.Wait{For: admin.WaitGroup, Detail: "another downstream of its group goes first"}
	head, err := h.ledger.PendingTrace(true, seq)
	if err != nil {
		return w
	}
	w.Behind = head.ID
	w.Detail = "behind " + plain.Line(head.ID, 64) + " of the same group"
	if head.Attempts > 0 {
		w.Until = head.Due
		w.Detail += fmt.Sprintf(", which was refused %s: %s", times(head.Attempts), plain.Line(strings.TrimSpace(head.Error), 200))
	}
	w.Try = []string{"balhost explain " + plain.Line(head.ID, 64)}
	return w
}
