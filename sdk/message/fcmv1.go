package message

import (
	"encoding/json"
	"fmt"
	"slices"
)

// The keys that the host adds to the data of a message that goes by FCM's HTTP v1.
// Spec: fcm-v1-and-gateway.md B1.
const (
	DataID      = "bal_id"      // MessageID, always: the app drops a message that comes again by it
	DataSeq     = "bal_seq"     // a decimal number that grows within a group; only with a group
	DataReceipt = "bal_receipt" // "1" if a receipt is asked for
)

const (
	ulidSize     = 26  // of the id that the host makes
	maxSeqDigits = 20  // of a uint64
	maxTopicName = 900 // bytes (A2)
)

// fcmV1 has the rules of FCM's HTTP v1 alone.
func (c *checker) fcmV1(m *Checked) {
	c.conditionWithin(m.To, maxOperators, "FCM")
	c.topicNames(m.To)
	size := m.added()
	size += c.strings("data", m.Data, func(key, _ string) { c.ownKey("data", key) })
	size += c.strings("notification", m.Notification, c.notificationV1)
	android := field(m.Options.Android, "notification")
	c.locArgs("notification", m.Notification, android)
	c.locArgs("options.android.notification", android, m.Notification)
	c.blocks(m)
	own := "bal_id included"
	if payload := field(m.Options.APNS, "payload"); payload != nil {
		size += len(payload)
		own = "bal_id and the text of apns.payload included"
	}
	if limit, to := m.To.limit(); size > limit {
		c.add("data and notification", "have "+sizeOf(size)+", "+own, tooMuch(limit, to))
	}
}

// ownKey refuses a key of data that the host sets itself.
func (c *checker) ownKey(path, key string) {
	if key == DataID || key == DataSeq || key == DataReceipt {
		c.add(path+"."+key, "is the host's own key", "choose another; the host sets it in every message to FCM's HTTP v1")
	}
}

// replacing checks the data of a raw block. It replaces the message's data on one
// platform, so the host adds its keys there too.
func (c *checker) replacing(path string, data json.RawMessage, m *Checked) {
	if data == nil || data[0] != '{' {
		return
	}
	size := m.added() + c.strings(path, data, func(key, _ string) {
		c.ownKey(path, key)
		c.dataKey(path+"."+key, key)
	})
	if limit, to := m.To.limit(); size > limit {
		c.add(path, "has "+sizeOf(size)+", "+DataID+" included", tooMuch(limit, to))
	}
}

// added is the size of what the host adds to the data.
func (m *Checked) added() int {
	size := len(DataID) + len(m.MessageID)
	if m.MessageID == "" {
		size += ulidSize
	}
	if m.Group != "" {
		size += len(DataSeq) + maxSeqDigits
	}
	if m.Options.ReceiptRequested {
		size += len(DataReceipt) + len("1")
	}
	return size
}

func (c *checker) topicNames(t Target) {
	names := []string{t.Topic}
	where := "to.topic"
	if t.Condition != "" {
		where = "to.condition"
		if read, err := readCondition(t.Condition); err == nil {
			names = read.topics
		}
	}
	if slices.ContainsFunc(names, func(name string) bool { return len(name) > maxTopicName }) {
		c.add(where, fmt.Sprintf("has a topic's name of more than %d bytes", maxTopicName), "use a shorter name")
	}
}

// blocks checks the raw blocks.
func (c *checker) blocks(m *Checked) {
	o := m.Options
	if o.Android != nil {
		androidBlock.check(c, "options.android", o.Android)
		c.replacing("options.android.data", field(o.Android, "data"), m)
	}
	if o.APNS != nil {
		apnsBlock.check(c, "options.apns", o.APNS)
		if string(field(o.APNS, "headers", "apns-priority")) == `"10"` && m.DataOnly() {
			c.add("options.apns.headers.apns-priority", `is "10", but the message shows nothing on an Apple device`,
				`use "5", or add a notification: FCM refuses the whole message`)
		}
	}
	if o.Webpush != nil {
		webpushBlock.check(c, "options.webpush", o.Webpush)
		c.replacing("options.webpush.data", field(o.Webpush, "data"), m)
	}
}

// locArgs refuses arguments without the key of the text that they are for (A1). The host
// merges the flat notification and that of the android block, so the other may have it.
func (c *checker) locArgs(path string, notification, other json.RawMessage) {
	for _, text := range []string{"title", "body"} {
		args, key := text+"_loc_args", text+"_loc_key"
		if field(notification, args) != nil && field(notification, key) == nil && field(other, key) == nil {
			c.add(path+"."+args, "is set without "+key, "set both, or none")
		}
	}
}

// DataOnly reports whether Apple's devices show nothing of the message. FCM refuses it with
// another apns-priority than 5, for all platforms. Spec: fcm-v1-and-gateway.md A1.
func (c *Checked) DataOnly() bool {
	for _, key := range shownByApple {
		if field(c.Notification, key) != nil {
			return false
		}
	}
	aps := field(c.Options.APNS, "payload", "aps")
	return field(c.Options.APNS, "live_activity_token") == nil &&
		field(aps, "alert") == nil && field(aps, "badge") == nil && field(aps, "sound") == nil
}

// shownByApple are the keys of a flat notification that have a place in Apple's alert, or
// are its badge and its sound.
var shownByApple = []string{"title", "body", "image", "subtitle", "badge", "sound", "title_loc_key", "body_loc_key"}
