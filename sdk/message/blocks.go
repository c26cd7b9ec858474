package message

// The raw blocks as FCM's HTTP v1 has them. Fields that are not here are refused, with
// their path. Spec: fcm-v1-and-gateway.md A1.

var label = matching(`[a-zA-Z0-9\-_.~%]{1,50}`, "use 1 to 50 letters, digits and - _ . ~ %")

var androidBlock = fields{
	"collapse_key":             anyText,
	"priority":                 oneOf("NORMAL", "HIGH", "normal", "high"),
	"ttl":                      textThat(isTTL, `write seconds from "0s" to "2419200s", such as "3600s"`),
	"restricted_package_name":  anyText,
	"direct_boot_ok":           boolean,
	"bandwidth_constrained_ok": boolean,
	"restricted_satellite_ok":  boolean,
	"data":                     anyObject, // see replacing
	"notification":             androidNotification.check,
	"fcm_options":              fields{"analytics_label": label}.check,
}

var androidNotification = fields{
	"title": anyText, "body": anyText, "icon": anyText, "sound": anyText, "tag": anyText, "click_action": anyText,
	"body_loc_key": anyText, "body_loc_args": listOf(anyText), "title_loc_key": anyText, "title_loc_args": listOf(anyText),
	"channel_id": anyText, "image": anyText, "ticker": anyText, "sticky": boolean, "local_only": boolean,
	"default_sound": boolean, "default_vibrate_timings": boolean, "default_light_settings": boolean,
	"light_settings": anyObject, "notification_count": count,

	"color":                 notificationRules["color"],
	"event_time":            anyText,
	"notification_priority": notificationRules["notification_priority"],
	"vibrate_timings":       notificationRules["vibrate_timings"],
	"visibility":            notificationRules["visibility"],
	"proxy":                 anyText,
}

// notificationRules are for values that have a form, in android.notification and in a
// flat notification.
var notificationRules = map[string]rule{
	"color":                 matching(`#[0-9A-Fa-f]{6}`, `write it like "#1a2b3c"`),
	"notification_priority": oneOf("PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"),
	"visibility":            oneOf("PRIVATE", "PUBLIC", "SECRET"),
	"vibrate_timings":       listOf(textThat(isDuration, `write seconds, such as "0.5s"`)),
}

var apnsBlock = fields{
	"headers": texts{
		"apns-priority":    oneOf("1", "5", "10"),
		"apns-expiration":  matching(`[0-9]{1,11}`, "write seconds since 1970, or 0"),
		"apns-collapse-id": within(64),
	}.check,
	"payload":             apnsPayload,
	"live_activity_token": anyText,
	"fcm_options":         fields{"analytics_label": label, "image": anyText}.check,
}

// apnsPayload is free, but for Apple's own part of it.
func apnsPayload(c *checker, path string, value []byte) {
	if c.kind(path, value, '{') {
		if aps := field(value, "aps"); aps != nil {
			c.kind(path+".aps", aps, '{')
		}
	}
}

var webpushBlock = fields{
	"headers": texts{
		"TTL":     matching(`[0-9]{1,11}`, "write seconds, from 0 on"),
		"Urgency": oneOf("very-low", "low", "normal", "high"),
	}.check,
	"data":         anyObject, // see replacing
	"notification": anyObject,
	"fcm_options":  fields{"link": textThat(isLink, "use an address that begins with https://"), "analytics_label": label}.check,
}
