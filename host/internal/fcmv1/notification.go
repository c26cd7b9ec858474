package fcmv1

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"balhost/sdk/message"
)

// notification is a flat notification, as CCS has it. FCM's HTTP v1 has a place for
// each of its keys in the block of a platform. Spec: ccs-protocol.md §10.2;
// fcm-v1-and-gateway.md B1.
type notification map[string]string

func readNotification(raw json.RawMessage) (n notification, err error) {
	if raw == nil {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, fmt.Errorf("notification: %w", err)
	}
	return n, nil
}

// text copies one of its texts into o under another name.
func (n notification) text(o *object, key, name string) {
	if s, ok := n[key]; ok {
		o.text(name, s)
	}
}

// value copies one of its keys into o, as the type that FCM has for it.
func (n notification) value(o *object, key, name string) {
	s, ok := n[key]
	switch {
	case !ok:
	case kinds[key] == message.NotificationText:
		o.text(name, s)
	default: // its string holds the JSON
		o.set(name, []byte(s))
	}
}

var (
	kinds = message.NotificationKeys()
	keys  = slices.Sorted(maps.Keys(kinds))
)

// androidNames are the names in android.notification; the others are the same.
var androidNames = map[string]string{"android_channel_id": "channel_id"}

// elsewhere are the keys that android.notification does not have, or takes from
// message.notification.
var elsewhere = map[string]bool{"title": true, "body": true, "image": true, "subtitle": true, "badge": true}

func (n notification) android(o *object) {
	for _, key := range keys {
		if elsewhere[key] {
			continue
		}
		name, other := androidNames[key]
		if !other {
			name = key
		}
		n.value(o, key, name)
	}
}

// aps fills Apple's part. An alert of its own replaces the common title and body, so it
// repeats them.
func (n notification) aps(o *object) {
	alert := o.in("alert")
	n.text(alert, "subtitle", "subtitle")
	n.value(alert, "title_loc_key", "title-loc-key")
	n.value(alert, "title_loc_args", "title-loc-args")
	n.value(alert, "body_loc_key", "loc-key")
	n.value(alert, "body_loc_args", "loc-args")
	if !alert.empty() {
		n.text(alert, "title", "title")
		n.text(alert, "body", "body")
	}
	n.value(o, "badge", "badge")
	n.text(o, "sound", "sound")
	n.text(o, "click_action", "category")
}
