package hosttest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/entry"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// lifeOf are the steps of a message and of what came of it, one a line.
func lifeOf(l *admin.Life, depth int) (lines []string) {
	indent := strings.Repeat("  ", depth)
	lines = append(lines, indent+l.Kind+" "+string(l.State))
	var before time.Time
	for _, s := range l.Steps {
		line := indent + "- " + s.What
		for _, fact := range []any{s.Attempt, s.Transport, s.Code, s.Error} {
			if text := fmt.Sprint(fact); text != "" && text != "0" {
				line += " " + text
			}
		}
		if s.At.Before(before) {
			line += " (before the step before)"
		}
		before = s.At
		lines = append(lines, line)
	}
	for i := range l.Made {
		lines = append(lines, lifeOf(&l.Made[i], depth+1)...)
	}
	return lines
}

// TestLife: an upstream that fails twice, is handled, makes two downstreams, one of which is
// refused once, asks for a receipt and gets it: all of it is told, in order, and found by
// each id that a person may have.
func TestLife(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		pl := &Plugin{
			Name: "echo", Categories: []string{"*"}, Order: "device", Outcome: true, Receipt: true,
			Handle: func(_ context.Context, _ *Process, d *wire.Delivery) *wire.Result {
				u := d.GetUpstream()
				if u == nil {
					return &wire.Result{Code: wire.Result_DONE}
				}
				if tries++; tries <= 2 {
					time.Sleep(5 * time.Millisecond)
					return &wire.Result{Code: wire.Result_RETRY, DelayMs: 1000, Error: fmt.Sprint("busy\x1b[2J ", tries)}
				}
				var changes wire.Changes
				for n, token := range []string{"calm-device-of-a-user", "busy-device-of-a-user"} {
					m, err := message.Downstream{
						MessageID: fmt.Sprint(u.GetId(), "-", n+1), To: message.Token(token), Options: message.Options{ReceiptRequested: n == 1},
					}.Checked()
					if err != nil {
						t.Error(err)
					}
					changes.Send = append(changes.Send, wire.DownstreamToProto(m))
				}
				return &wire.Result{Code: wire.Result_DONE, Changes: &changes}
			},
		}
		o := simple(t, dir, pl)
		h, err := Start(o)
		if err != nil {
			t.Fatal(err)
		}
		o.Server.Nack(ccssim.Nack{Count: 1, Token: "busy-device-of-a-user", Code: "SERVICE_UNAVAILABLE", Description: "later"})
		own := o.Server.Upstream("a-device-with-a-long-token", "com.example", map[string]string{"n": "1"})
		time.Sleep(time.Minute)
		synctest.Wait()
		page, err := h.API.Messages(t.Context(), admin.MessageQuery{Limit: 100, Kinds: []string{"upstream"}})
		if err != nil || len(page.Messages) != 1 {
			t.Fatalf("%+v, %v", page, err)
		}
		payload := fmt.Sprintf(`{"message_type":"receipt","from":"gcm.googleapis.com","message_id":"dr2:1","category":"com.example",`+
			`"data":{"message_status":"MESSAGE_SENT_TO_DEVICE","original_message_id":"%s-2","device_registration_id":"busy-device-of-a-user"}}`, page.Messages[0].ID)
		if _, err := o.Server.Send(ccssim.Upstream{From: "gcm.googleapis.com", MessageID: "dr2:1", Payload: payload}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		page, err = h.API.Messages(t.Context(), admin.MessageQuery{Limit: 100, Kinds: []string{"upstream"}})
		if err != nil || len(page.Messages) != 1 || page.Next != "" {
			t.Fatalf("%+v, %v", page, err)
		}
		up := page.Messages[0]
		if up.MessageID != own || up.Device != "a-device-with-a-…" || up.Attempts != 3 {
			t.Errorf("%+v", up)
		}
		want := []string{
			"upstream handled", "- received", "- attempt 1 busy\x1b[2J 1", "- attempt 2 busy\x1b[2J 2", "- handled 3",
			"  downstream acked", "  - accepted", "  - sent 1 ccs", "  - acked 1",
			"    outcome handled", "    - made", "    - handled 1",
			"  downstream acked", "  - accepted", "  - sent 1 ccs SERVICE_UNAVAILABLE later", "  - sent 2 ccs", "  - acked 2",
			"    outcome handled", "    - made", "    - handled 1",
			"    receipt handled", "    - received", "    - handled 1",
		}
		for _, id := range []string{up.ID, strings.ToLower(up.ID[:18]), own} {
			life, err := h.API.Life(t.Context(), admin.LifeQuery{ID: id})
			if got := lifeOf(&life, 0); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %v\ngot\n%s\nwant\n%s", id, err, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if life.Steps[1].TookMS < 5 {
				t.Errorf("attempt 1 took %v ms", life.Steps[1].TookMS)
			}
		}
		life, err := h.API.Life(t.Context(), admin.LifeQuery{ID: up.ID + "-2"})
		if err != nil || life.Kind != "downstream" || life.Cause == nil || life.Cause.ID != up.ID || len(life.Made) != 2 {
			t.Errorf("%+v, %v", life, err)
		}
		found, err := h.API.Messages(t.Context(), admin.MessageQuery{Limit: 100, Device: "busy-device-of-a-user"})
		if err != nil || len(found.Messages) != 3 { // the downstream, its outcome and its receipt
			t.Errorf("%+v, %v", found, err)
		}
		if _, err := h.API.Life(t.Context(), admin.LifeQuery{ID: "nobody"}); !errors.Is(err, entry.ErrUnknown) {
			t.Errorf("an unknown id: %v", err)
		}
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
		o.Server.Close()
	})
}

// TestWaits: what is pending says what it waits for, and which command helps.
func TestWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		free := make(chan bool)
		pl := &Plugin{
			Name: "echo", Categories: []string{"com.example"}, Order: "device", MaxInFlight: 2,
			Handle: func(ctx context.Context, _ *Process, d *wire.Delivery) *wire.Result {
				switch d.GetUpstream().GetDevice() {
				case "slow":
					select {
					case <-free:
					case <-ctx.Done():
					}
				case "bad":
					return &wire.Result{Code: wire.Result_RETRY, DelayMs: 3_600_000, Error: "no such order"}
				}
				return &wire.Result{Code: wire.Result_DONE}
			},
		}
		o := simple(t, dir, pl)
		o.Answers = true
		h, err := Start(o)
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]string{}
		for _, m := range []struct{ name, device, category string }{
			{"handled now", "slow", "com.example"}, {"fails", "bad", "com.example"}, {"behind", "bad", "com.example"}, {"foreign", "any", "com.other"},
		} {
			ids[m.name] = o.Server.Upstream(m.device, m.category, map[string]string{"n": m.name})
			time.Sleep(time.Second)
		}
		send := func(id, group string, notBefore time.Time) {
			m, err := message.Downstream{MessageID: id, To: message.Token("phone"), Group: group, NotBefore: notBefore}.Checked()
			if err == nil {
				_, err = h.API.Send(t.Context(), m)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		o.Server.Nack(ccssim.Nack{Count: 1, Token: "phone", Code: "SERVICE_UNAVAILABLE"})
		send("d-refused", "g", time.Time{})
		send("d-behind", "g", time.Time{})
		send("d-later", "", time.Now().Add(time.Hour))
		synctest.Wait()
		check := func(id, state, want, detail string) {
			t.Helper()
			life, err := h.API.Life(t.Context(), admin.LifeQuery{ID: id})
			if err != nil || life.Waits == nil {
				t.Errorf("%s: %+v, %v", id, life, err)
				return
			}
			if life.Waits.For != want || !strings.Contains(life.Waits.Detail, detail) || string(life.State) != state {
				t.Errorf("%s is %s and waits for %+v; want %s, %s with %q", id, life.State, life.Waits, state, want, detail)
			}
		}
		check(ids["handled now"], "in_flight", admin.WaitHandler, "a handler of echo has it")
		check(ids["fails"], "retrying", admin.WaitAttempt, "")
		check(ids["behind"], "waiting", admin.WaitLane, "which has failed once: no such order")
		check(ids["foreign"], "waiting", admin.WaitClaim, `"com.other"`)
		check("d-refused", "retrying", admin.WaitAttempt, "")
		check("d-behind", "waiting", admin.WaitGroup, "behind d-refused")
		check("d-later", "waiting", admin.WaitTime, "")
		if err := h.Dispatch.Pause(t.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
		check(ids["behind"], "waiting", admin.WaitPause, "")
		page, err := h.API.Messages(t.Context(), admin.MessageQuery{Limit: 1})
		for n := 0; err == nil && page.Next != "" && n < 20; n++ {
			var more admin.MessagePage
			more, err = h.API.Messages(t.Context(), admin.MessageQuery{Limit: 1, After: page.Next})
			page.Messages, page.Next = append(page.Messages, more.Messages...), more.Next
		}
		if err != nil || len(page.Messages) != 7 {
			t.Errorf("page by page: %+v, %v", page, err)
		}
		in, err := h.API.Messages(t.Context(), admin.MessageQuery{Limit: 10, States: []entry.State{entry.StateInFlight}})
		if err != nil || len(in.Messages) != 1 || cmp.Or(in.Messages[0].MessageID, "") != ids["handled now"] {
			t.Errorf("in flight: %+v, %v", in, err)
		}
		close(free)
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
		o.Server.Close()
	})
}

// TestLifeTellsOfTimers: timers that an event's handler set are told while they wait, with
// when they are due, and when they have come. A downstream says when it was sent first,
// also while it is not answered.
func TestLifeTellsOfTimers(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		pl := &Plugin{
			Name: "echo", Categories: []string{"*"}, Order: "device", Timer: true,
			Handle: func(_ context.Context, _ *Process, d *wire.Delivery) *wire.Result {
				r := &wire.Result{Code: wire.Result_DONE}
				if d.GetUpstream() != nil {
					r.Changes = &wire.Changes{Schedule: []*wire.Schedule{
						{Key: "soon", AtMs: began.Add(time.Minute).UnixMilli()}, {Key: "late", AtMs: began.Add(10 * time.Hour).UnixMilli()},
					}}
				}
				return r
			},
		}
		o := simple(t, dir, pl)
		h, err := Start(o)
		if err != nil {
			t.Fatal(err)
		}
		own := o.Server.Upstream("phone", "com.example", map[string]string{"n": "1"})
		time.Sleep(time.Second)
		other := o.Server.Upstream("tablet", "com.example", map[string]string{"n": "2"})
		life := func(id string) admin.Life {
			t.Helper()
			life, err := h.API.Life(t.Context(), admin.LifeQuery{ID: id})
			if err != nil {
				t.Fatal(err)
			}
			return life
		}
		check := func(id string, want ...string) {
			t.Helper()
			life := life(id)
			if got := lifeOf(&life, 0); !slices.Equal(got, want) {
				t.Errorf("%s\ngot\n%s\nwant\n%s", id, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		// The second event sets the same keys, so the timers are its own now.
		check(own, "upstream handled", "- received", "- handled 1")
		check(other, "upstream handled", "- received", "- handled 1", "  timer waiting", "  - set", "  timer waiting", "  - set")
		for _, made := range life(other).Made {
			due := began.Add(time.Minute)
			if made.Key == "late" {
				due = began.Add(10 * time.Hour)
			}
			if made.Waits == nil || made.Waits.For != admin.WaitTime || !made.Waits.Until.Equal(due) || !made.Row.Next.Equal(due) || made.Plugin != "echo" || made.ID != "" || made.Began.Before(began) {
				t.Errorf("%+v, %+v, want one that is due at %s", made, made.Waits, due)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		check(other, "upstream handled", "- received", "- handled 1", "  timer waiting", "  - set", "  timer handled", "  - made", "  - handled 1")

		o.Server.Freeze(true)
		m, err := message.Downstream{MessageID: "d-1", To: message.Token("phone")}.Checked()
		if err == nil {
			_, err = h.API.Send(t.Context(), m)
		}
		if err != nil {
			t.Fatal(err)
		}
		sent := time.Now()
		time.Sleep(time.Second)
		synctest.Wait()
		check("d-1", "downstream in_flight", "- accepted", "- sent 1 ccs")
		if at := life("d-1").Sent; at.Sub(sent).Abs() > time.Second/2 {
			t.Errorf("sent first at %s, want %s", at, sent)
		}
		o.Server.Freeze(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if l := life("d-1"); l.State != entry.StateAcked || l.Sent.Sub(sent).Abs() > time.Second/2 {
			t.Errorf("%+v, want one that was sent first at %s", l, sent)
		}
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
		o.Server.Close()
	})
}
