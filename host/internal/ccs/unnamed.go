package ccs

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// unnamed is a refusal that does not say which downstream it refuses: a nack without
// a message_id, or a stanza error without an id. It must be one that was in flight
// when the refusal came. As soon as only one of these is left, that is it. If the
// connection ends before, each of them goes again alone, so that the next refusal is
// understood.
type unnamed struct {
	answer
	before uint64 // the downstream was written before this one
}

// maxUnnamed is how many wait at most: no more downstreams can be in flight.
const maxUnnamed = ccsWindow

func (a *answer) reason() string {
	if a.rejection != nil {
		return a.rejection.Error()
	}
	return fmt.Sprintf("nack %s (%s)", a.code, clip(a.description))
}

// hold keeps a refusal without an id until it can be attributed. It reports false
// when it can't be about a downstream.
func (v *writer) hold(a answer, now time.Time) bool {
	if a.id != "" || a.echo.id != "" || a.echo.ack || !a.nack && a.rejection == nil || v.win.Empty() {
		return false
	}
	if a.rejection != nil && a.echo.to == "" && now.Sub(v.lastAck) < v.s.o.AnswerTimeout {
		return false // more likely it refuses an ack, which has no id that could come back
	}
	if len(v.unnamed) < maxUnnamed {
		v.unnamed = append(v.unnamed, unnamed{a, v.win.Written()})
	}
	return true
}

// attribute finds the refusals that can mean one downstream only, and resolves them.
// As many refusals of equal words as downstreams that they can mean are resolved, too.
func (v *writer) attribute(now time.Time) {
	defer func() {
		if v.vague = ""; len(v.unnamed) > 0 {
			v.vague = v.unnamed[len(v.unnamed)-1].reason()
		}
	}()
	for again := true; again && len(v.unnamed) > 0; {
		again = false
		for i, u := range v.unnamed {
			ids := v.meant(u)
			if same := v.like(i, ids); len(same) >= len(ids) {
				for k := len(same) - 1; k >= 0; k-- {
					v.unnamed = slices.Delete(v.unnamed, same[k], same[k]+1)
				}
				for _, id := range ids {
					u.id = id
					v.resolve(u.answer, now)
				}
				again = true
				break
			}
		}
	}
}

// meant are the ids of the downstreams that u can mean.
func (v *writer) meant(u unnamed) []string {
	if to := v.win.Before(u.before, u.echo.to); u.echo.to != "" && len(to) > 0 {
		return to
	}
	return v.win.Before(u.before, "")
}

// like are the refusals that have the same words as the i-th, and can mean the same
// downstreams.
func (v *writer) like(i int, ids []string) (same []int) {
	for k, u := range v.unnamed {
		if u.reason() == v.unnamed[i].reason() && slices.Equal(v.meant(u), ids) {
			same = append(same, k)
		}
	}
	return same
}

// tell logs and remembers a refusal that can't be attributed at once.
func (v *writer) tell(a answer, now time.Time) {
	what := "a refusal that does not say of which downstream: " + a.reason()
	v.s.remember(now, a.echo.to, "", what)
	v.s.said.Log(v.s.o.Log.Warn, "CCS refused a downstream and does not say which", "conn", v.number, "code", a.code, "err", a.reason())
}

// echo is what a stanza error or a nack repeats of what it refuses.
type echo struct {
	id, to string
	ack    bool // it is an ack of ours
}

// echoed reads the payload that comes back with a stanza error (ccs-protocol.md
// §4.2). Acks come back too; a device chose their ids.
func echoed(payload []byte) echo {
	var ours struct {
		To          string `json:"to"`
		Condition   string `json:"condition"`
		MessageID   any    `json:"message_id"` // of an ack it is the device's, of any type
		MessageType string `json:"message_type"`
	}
	if json.Unmarshal(payload, &ours) != nil {
		return echo{}
	}
	if ours.MessageType != "" {
		return echo{ack: true}
	}
	if ours.To == "" {
		ours.To = ours.Condition
	}
	id, _ := ours.MessageID.(string)
	return echo{id: id, to: ours.To}
}
