package message

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
)

// NotificationValue says what the string of a notification's key holds. FCM's HTTP v1
// has types where CCS has strings only.
type NotificationValue uint8

// The kinds of values, as FCM's HTTP v1 has them.
const (
	NotificationText   NotificationValue = iota + 1 // the text itself
	NotificationNumber                              // a whole number, "3"
	NotificationSwitch                              // "true" or "false"
	NotificationList                                // a JSON array of strings, "[\"Ann\",\"3\"]"
)

// notificationKeys are those of a flat notification that FCM's HTTP v1 has a place for:
// CCS's, and those of android.notification (ccs-protocol.md §10.2,
// fcm-v1-and-gateway.md A1, B1). light_settings is an object: only a raw block can have it.
var notificationKeys = map[string]NotificationValue{
	"title": NotificationText, "body": NotificationText, "image": NotificationText, "subtitle": NotificationText,
	"icon": NotificationText, "color": NotificationText, "sound": NotificationText, "tag": NotificationText,
	"click_action": NotificationText, "android_channel_id": NotificationText, "badge": NotificationNumber,
	"title_loc_key": NotificationText, "title_loc_args": NotificationList,
	"body_loc_key": NotificationText, "body_loc_args": NotificationList,

	"ticker": NotificationText, "event_time": NotificationText, "visibility": NotificationText, "proxy": NotificationText,
	"notification_priority": NotificationText, "notification_count": NotificationNumber,
	"sticky": NotificationSwitch, "local_only": NotificationSwitch, "default_sound": NotificationSwitch,
	"default_vibrate_timings": NotificationSwitch, "default_light_settings": NotificationSwitch, "vibrate_timings": NotificationList,
}

// NotificationKeys are the keys of Downstream.Notification that a session with FCM's
// HTTP v1 takes, and what the string of each holds. It refuses all others.
func NotificationKeys() map[string]NotificationValue { return maps.Clone(notificationKeys) }

// notificationV1 checks one field of a flat notification for FCM's HTTP v1.
func (c *checker) notificationV1(key, value string) {
	path := "notification." + key
	kind, known := notificationKeys[key]
	if !known {
		c.add(path, "is a key that FCM's HTTP v1 has no place for", "leave it out, or put it into Data or into the raw block of one platform")
		return
	}
	text, _ := json.Marshal(value)
	switch kind {
	case NotificationNumber:
		if n, err := strconv.ParseInt(value, 10, 32); err != nil || n < 0 {
			c.add(path, fmt.Sprintf("is %.40q, not a number", value), `write a whole number from 0 on, such as "3"`)
			return
		}
	case NotificationSwitch:
		if value != "true" && value != "false" {
			c.add(path, fmt.Sprintf("is %.40q", value), `write "true" or "false"`)
			return
		}
	case NotificationList:
		var list []string
		if err := json.Unmarshal([]byte(value), &list); err != nil || list == nil {
			c.add(path, fmt.Sprintf("is %.40q, not an array of strings in a string", value), `write it like "[\"Ann\",\"3\"]"`)
			return
		}
		text = []byte(value)
	}
	if rule := notificationRules[key]; rule != nil {
		rule(c, path, text)
	}
}
