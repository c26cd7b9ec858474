package dispatch

import (
	"slices"
	"testing"
	"testing/synctest"

	"balhost/host/internal/entry"
	"balhost/sdk/wire"
)

// A cancel goes to each sender, as the plugin names none, in its name; in a handler's
// changes it is committed with them.
func TestCancel(t *testing.T) { // P7
	booted(t, func(b *bench) {
		p := b.plugin("echo", "app", func(p *process, m *wire.Delivery) {
			p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_DONE, Changes: &wire.Changes{Cancel: []string{"d-1"}}})
		}, unordered)
		call := func(op *wire.Call) *wire.Reply {
			t.Helper()
			p.plugin.Frame(&wire.PluginFrame{Call: []*wire.Call{op}})
			synctest.Wait()
			return p.frames[len(p.frames)-1].Reply[0]
		}
		call(&wire.Call{Id: 1, Op: &wire.Call_Send{Send: &wire.Downstream{MessageId: "d-9", Session: "phones", To: toToken}}})
		for id, want := range map[string]bool{"d-9": true, "d-8": false} {
			if r := call(&wire.Call{Id: 2, Op: &wire.Call_Cancel{Cancel: id}}); r.Canceled != want || r.Code != wire.Reply_OK {
				t.Errorf("%s: %v", id, r)
			}
		}
		for _, bad := range []*wire.Call{{Id: 3, Op: &wire.Call_Cancel{}}, {Id: 3, Op: &wire.Call_Update{Update: &wire.Changes{Cancel: []string{"\x01"}}}}} {
			if r := call(bad); r.Code != wire.Reply_INVALID {
				t.Errorf("%v: %v", bad, r)
			}
		}
		b.upstreams("anna", "1")
		synctest.Wait()
		want := []entry.Cancel{{Session: "1", MessageID: "d-1"}, {Session: "2", MessageID: "d-1"}}
		if s := b.ledger.settled; len(s) != 1 || !slices.Equal(s[0].Changes.Cancels, want) {
			t.Errorf("%+v", s)
		}
		if n := len(b.ledger.canceled); n != 4 || b.ledger.canceled[0][:7] != "echo 1 " {
			t.Errorf("%q", b.ledger.canceled)
		}
	}, twoTransports)
}
