package dispatch

import (
	"testing"
	"testing/synctest"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// twoTransports has the sender of the events on CCS, and another one on FCM's HTTP v1.
func twoTransports(d *Dispatcher) {
	d.o.Senders = func() entry.Senders {
		return entry.Senders{{Name: "main", ID: "1"}, {Name: "phones", ID: "2", Transport: message.FCMv1}}
	}
}

const (
	noFID   = `session "main" (ccs) cannot carry it: to.fid is set, but CCS knows no installation ids: use the registration token, or a session with fcm_v1`
	notHost = `session "phones" (fcm_v1) cannot carry it: data.bal_id is the host's own key: choose another; the host sets it in every message to FCM's HTTP v1`
)

var (
	toFID   = &wire.Target{To: &wire.Target_Fid{Fid: "cX"}}
	toToken = &wire.Target{To: &wire.Target_Token{Token: "anna"}}
)

// What a session's transport cannot carry is refused at once, and nothing is stored.
func TestTransportRefusesAtOnce(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		for i, tt := range []struct {
			m    *wire.Downstream
			want string
		}{
			{&wire.Downstream{MessageId: "a", Session: "main", To: toToken, Data: []byte(`{"bal_id":"x"}`)}, ""},
			{&wire.Downstream{MessageId: "b", Session: "phones", To: toFID, Options: &wire.Options{Android: []byte(`{}`)}}, ""},
			{&wire.Downstream{MessageId: "c", Session: "main", To: toFID}, "invalid: downstream c: " + noFID},
			{&wire.Downstream{MessageId: "d", Session: "phones", To: toToken, Data: []byte(`{"bal_id":"x"}`)}, "invalid: downstream d: " + notHost},
			{&wire.Downstream{MessageId: "e", To: toFID}, `invalid: the downstream names no session, and there are several: ["main" "phones"]`},
		} {
			for j, call := range []*wire.Call{
				{Op: &wire.Call_Send{Send: tt.m}}, {Op: &wire.Call_Update{Update: &wire.Changes{Send: []*wire.Downstream{tt.m}}}},
			} {
				call.Id = uint64(2*i + j + 1)
				p.plugin.Frame(&wire.PluginFrame{Call: []*wire.Call{call}})
				synctest.Wait()
				last := p.frames[len(p.frames)-1].Reply
				if len(last) != 1 || last[0].Id != call.Id || last[0].Error != tt.want || (last[0].Code == wire.Reply_OK) != (tt.want == "") {
					t.Errorf("%s: reply %v, want %q", tt.m.MessageId, last, tt.want)
				}
			}
		}
		if n := len(b.ledger.updates); n != 4 {
			t.Errorf("%d updates stored, want 4", n)
		}
	}, twoTransports)
}

// A handler's downstream that names no session goes by that of its event. What that cannot
// carry fails the attempt, and commits nothing.
func TestTransportOfTheEventsSession(t *testing.T) {
	booted(t, func(b *bench) {
		b.echo(func(p *process, m *wire.Delivery) {
			send := &wire.Downstream{MessageId: "m-" + m.GetUpstream().GetMessageId(), To: toToken}
			if m.GetUpstream().GetMessageId() == "bad" {
				send.To = toFID
			}
			p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_DONE, Changes: &wire.Changes{Send: []*wire.Downstream{send}}})
		}, unordered)
		b.upstreams("anna", "good", "bad")
		synctest.Wait()
		var good, bad int
		for _, end := range b.ledger.ends() {
			switch {
			case end.Verdict == entry.Done && len(end.Changes.Sends) == 1 && end.Changes.Sends[0].Message.Session == "1":
				good++
			case end.Verdict == entry.Retry && end.Reason == "invalid: downstream m-bad: "+noFID && end.Changes.Empty():
				bad++
			default:
				t.Errorf("end %+v", end)
			}
		}
		if good != 1 || bad != 1 {
			t.Errorf("%d committed and %d failed, want one each", good, bad)
		}
	}, twoTransports)
}
