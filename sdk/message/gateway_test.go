package message

import (
	"encoding/json"
	"strings"
	"testing"
)

// A gateway alone reaches single devices over their sockets, and a session with Huawei's
// uplink alone reaches nobody. Each error is whole. // fcm-v1-and-gateway.md C3, E
func TestFitsGateway(t *testing.T) {
	const (
		device = "is set, but the gateway reaches single devices only, while they are connected: send to each device, or give the session an fcm_v1 block beside its gateway"
		block  = "is set, but the app gets the message from the gateway, and nothing reads blocks per platform: leave it out and use Data and Notification, or give the session an fcm_v1 block beside its gateway"
		huawei = "session has Huawei's uplink alone, which brings messages up only: balhost has no downlink of HMS, and FCM knows no HMS tokens: " +
			"let the app connect to the session's gateway (give it an auth block), or push to it with Huawei's own API"
		text = "use at most 61440: one frame has no more; leave out white space, and write characters as they are instead of as escapes"
	)
	spaced := func(n int) json.RawMessage {
		return json.RawMessage("{" + strings.Repeat(" ", n-2) + "}")
	}
	for _, c := range []struct {
		name string
		in   Downstream
		want string // of the gateway, the whole error
	}{
		{name: "token", in: Downstream{To: Token("t")}},
		{name: "fid", in: Downstream{To: FID("f")}},
		{name: "topic", in: Downstream{To: Topic("news")}, want: "to.topic " + device},
		{name: "condition", in: Downstream{To: topics(2)}, want: "to.condition " + device},
		{name: "all that it knows", in: toToken(func(d *Downstream) {
			d.Group, d.MessageID, d.Context, d.Notification = "g", "m", json.RawMessage("1"), map[string]string{"title": "a", "any": "key"}
			d.Options = Options{TTL: TTL(0), Priority: PriorityHigh, CollapseKey: "k", ReceiptRequested: true, ContentAvailable: true, MutableContent: true}
		})},
		{name: "dry run", in: options(Options{DryRun: true}),
			want: "options.dry_run is set, but the gateway would deliver the message: nobody checks it: leave it out, or give the session an fcm_v1 block beside its gateway"},
		{name: "blocks", in: options(Options{Android: json.RawMessage("{}"), APNS: json.RawMessage("{}"), Webpush: json.RawMessage("{}")}),
			want: "options.android " + block + "\noptions.apns " + block + "\noptions.webpush " + block},
		{name: "the host's keys", in: data(map[string]string{"bal_id": "1", "bal_x": ""}), want: "data.bal_id " + own},
		{name: "most payload", in: data(long(MaxPayload))},
		{name: "most text", in: toToken(func(d *Downstream) { d.Data, d.Notification = spaced(30<<10), spaced(30<<10) })},
		{name: "more text", in: toToken(func(d *Downstream) { d.Data, d.Notification = spaced(30<<10), spaced(30<<10+1) }),
			want: "data and notification have 61441 bytes of JSON text: " + text},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := c.in.Checked()
			if err != nil {
				t.Fatal(err)
			}
			fits(t, m, Gateway, c.want)
			fits(t, m, Huawei, huawei)
		})
	}
}
