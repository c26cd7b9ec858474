package fcmsim

import (
	"regexp"
	"strings"
	"unicode"
)

// kind is what a field's JSON must be.
type kind int

const (
	text     kind = iota // a string
	flag                 // true or false
	number               // an integer
	fraction             // any number
	duration             // "3.5s"
	strs                 // map of strings
	list                 // array of strings
	spans                // array of durations
	choice               // one of a few names; lower case is accepted
	free                 // any object
	group                // an object with the fields of a schema
)

// field is one field of the API.
type field struct {
	kind   kind
	schema schema   // of a group
	names  []string // of a choice
}

// schema is an object's fields, by their names in snake_case. The API also takes
// them in lowerCamelCase.
type schema map[string]field

func choose(names ...string) field { return field{kind: choice, names: names} }
func object(s schema) field        { return field{kind: group, schema: s} }

var (
	label  = object(schema{"analytics_label": {}})
	colors = object(schema{"red": {kind: fraction}, "green": {kind: fraction}, "blue": {kind: fraction}, "alpha": {kind: fraction}})
)

// sendRequest is the body of messages:send. Spec: fcm-v1-and-gateway.md A1, A2.
var sendRequest = schema{
	"validate_only": {kind: flag},
	"message": object(schema{
		"name": {}, "token": {}, "fid": {}, "topic": {}, "condition": {},
		"data":         {kind: strs},
		"notification": object(schema{"title": {}, "body": {}, "image": {}}),
		"android":      object(android),
		"android_v2":   object(androidV2),
		"apns": object(schema{
			"headers": {kind: strs}, "payload": {kind: free}, "live_activity_token": {},
			"fcm_options": object(schema{"analytics_label": {}, "image": {}}),
		}),
		"webpush": object(schema{
			"headers": {kind: strs}, "data": {kind: strs}, "notification": {kind: free},
			"fcm_options": object(schema{"link": {}, "analytics_label": {}}),
		}),
		"fcm_options": label,
	}),
}

var android = schema{
	"collapse_key": {}, "priority": choose("NORMAL", "HIGH"), "ttl": {kind: duration}, "restricted_package_name": {},
	"direct_boot_ok": {kind: flag}, "bandwidth_constrained_ok": {kind: flag}, "restricted_satellite_ok": {kind: flag},
	"data": {kind: strs}, "notification": object(androidNotification), "fcm_options": label,
}

var androidV2 = func() schema {
	s := schema{
		"background_sync":     {kind: free},
		"remote_notification": object(schema{"mutable_content": {kind: flag}, "notification": {kind: free}, "use_as_v1_data_message": {kind: flag}}),
	}
	for name, f := range android {
		if name != "notification" {
			s[name] = f
		}
	}
	return s
}()

var androidNotification = schema{
	"title": {}, "body": {}, "icon": {}, "color": {}, "sound": {}, "tag": {}, "click_action": {},
	"body_loc_key": {}, "body_loc_args": {kind: list}, "title_loc_key": {}, "title_loc_args": {kind: list},
	"channel_id": {}, "image": {}, "ticker": {}, "sticky": {kind: flag}, "event_time": {}, "local_only": {kind: flag},
	"notification_priority": choose("PRIORITY_UNSPECIFIED", "PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"),
	"default_sound":         {kind: flag}, "default_vibrate_timings": {kind: flag}, "default_light_settings": {kind: flag},
	"vibrate_timings": {kind: spans},
	"light_settings":  object(schema{"color": colors, "light_on_duration": {kind: duration}, "light_off_duration": {kind: duration}}),
	"visibility":      choose("VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"), "notification_count": {kind: number},
	"proxy": choose("PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"), "bypass_proxy_notification": {kind: flag},
}

// snake is a field's name in snake_case.
func snake(name string) string {
	if strings.IndexFunc(name, unicode.IsUpper) < 0 {
		return name
	}
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// durationForm is protobuf's JSON for a duration, with at most nine decimals.
var durationForm = regexp.MustCompile(`^-?[0-9]{1,12}(\.[0-9]{1,9})?s$`)
