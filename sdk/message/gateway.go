package message

import (
	"encoding/json"
	"fmt"
)

// maxFrameText is how many bytes of JSON text one frame to a device takes: 64 KiB, less
// what stands around Data and Notification. Spec: fcm-v1-and-gateway.md C5.
const maxFrameText = 60 << 10

// gateway has the rules of a session whose devices are reached over their own sockets
// alone. The payload has the limit of all transports, without anything added: the message's id
// stands beside Data. Priority, ContentAvailable and MutableContent do no harm there:
// the app runs already, and shows what it likes.
func (c *checker) gateway(m *Checked) {
	const devices = "but the gateway reaches single devices only, while they are connected"
	if m.To.Topic != "" {
		c.add("to.topic", "is set, "+devices, "send to each device, or give the session an fcm_v1 block beside its gateway")
	}
	if m.To.Condition != "" {
		c.add("to.condition", "is set, "+devices, "send to each device, or give the session an fcm_v1 block beside its gateway")
	}
	if m.Options.DryRun {
		c.add("options.dry_run", "is set, but the gateway would deliver the message: nobody checks it", "leave it out, or give the session an fcm_v1 block beside its gateway")
	}
	c.noBlocks(m, "the app gets the message from the gateway, and nothing reads blocks per platform", "leave it out and use Data and Notification, or give the session an fcm_v1 block beside its gateway")
	c.strings("data", m.Data, func(key, _ string) { c.ownKey("data", key) })
	if size := len(m.Data) + len(m.Notification); size > maxFrameText {
		c.add("data and notification", fmt.Sprintf("have %d bytes of JSON text", size), fmt.Sprintf("use at most %d: one frame has no more; leave out white space, and write characters as they are instead of as escapes", maxFrameText))
	}
}

// huawei refuses everything.
func (c *checker) huawei() {
	c.add("session", "has Huawei's uplink alone, which brings messages up only: balhost has no downlink of HMS, and FCM knows no HMS tokens",
		"let the app connect to the session's gateway (give it an auth block), or push to it with Huawei's own API")
}

// noBlocks refuses the raw blocks per platform.
func (c *checker) noBlocks(m *Checked, why, mend string) {
	for _, block := range []struct {
		field string
		raw   json.RawMessage
	}{{"options.android", m.Options.Android}, {"options.apns", m.Options.APNS}, {"options.webpush", m.Options.Webpush}} {
		if block.raw != nil {
			c.add(block.field, "is set, but "+why, mend)
		}
	}
}
