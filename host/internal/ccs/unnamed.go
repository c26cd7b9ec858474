package ccs

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// unnamed is a refusal that does not say of which downstream: a nack without a
// message_id, a stanza error without an id. It is of one that was in flight when
// it came. As soon as only one of these can be meant it is that one's; until then
// it waits, and if the connection ends before, each of them goes again alone, so
// that the next one is understood.
type unnamed struct {
	answer
	before uint64 // it is of a downstream that was written before this one
}

// maxUnnamed is how many wait at most: no more can be in flight than CCS takes.
const maxUnnamed = ccsWindow

func (a *answer) reason() string {
	if a.refusal != nil {
		return a.refusal.Error()
	}
	return fmt.Sprintf("nack %s (%s)", a.code, clip(a.description))
}

// keep takes a refusal without an id, or reports that it can be of no downstream.
func (v *writer) keep(a answer, now time.Time) bool {
	if a.id != "" || a.echo.id != "" || a.echo.ack || !a.nack && a.refusal == nil || v.win.Empty() {
		return false
	}
	if a.refusal != nil && a.echo.to == "" && now.Sub(v.lastAck) < v.s.o.AnswerTimeout {
		return false // of an ack, more likely: these have no id that could come back
	}
	if len(v.unnamed) < maxUnnamed {
		v.unnamed = append(v.unnamed, unnamed{a, v.win.Written()})
	}
	return true
}

// name gives the refusals that wait to those that they can be of alone.
func (v *writer) name(now time.Time) {
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
					v.settle(u.answer, now)
				}
				again = true
				break
			}
		}
	}
}

// meant is which downstreams u can be of.
func (v *writer) meant(u unnamed) []string {
	if to := v.win.Before(u.before, u.echo.to); u.echo.to != "" && len(to) > 0 {
		return to
	}
	return v.win.Before(u.before, "")
}

// like is which of those that wait say the same of the same ones as the i-th.
func (v *writer) like(i int, ids []string) (same []int) {
	for k, u := range v.unnamed {
		if u.reason() == v.unnamed[i].reason() && slices.Equal(v.meant(u), ids) {
			same = append(same, k)
		}
	}
	return same
}

// tell says, once it is known that it can't be named at once, what CCS said.
func (v *writer) tell(a answer, now time.Time) {
	what := "a refusal that does not say of which downstream: " + a.reason()
	v.s.remember(now, a.echo.to, "", what)
	v.s.said.log(v.s.o.Log.Warn, "CCS refused a downstream and does not say which", "conn", v.number, "code", a.code, "err", a.reason())
}

// echo is what a stanza error or a nack says of the downstream that it is of,
// beside its id.
type echo struct {
	id, to string
	ack    bool // it is of an ack of ours
}

// echoed reads the payload that comes back with a stanza error (ccs-protocol.md
// §4.2). Acks come back too, and their ids are of the devices' choosing.
func echoed(payload []byte) echo {
	var ours struct {
		To          string `json:"to"`
		Condition   string `json:"condition"`
		MessageID   any    `json:"message_id"` // of an ack it is whatever the device's was
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
