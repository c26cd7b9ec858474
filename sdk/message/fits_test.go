package message

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// topics is a condition over n topics.
func topics(n int) Target {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("'t%d' in topics", i))
	}
	return Condition(strings.Join(all, " || "))
}

func android(block string) Downstream { return options(Options{Android: json.RawMessage(block)}) }
func apns(block string) Downstream    { return options(Options{APNS: json.RawMessage(block)}) }
func webpush(block string) Downstream { return options(Options{Webpush: json.RawMessage(block)}) }

// long is n bytes of payload.
func long(n int) map[string]string { return map[string]string{"k": strings.Repeat("x", n-1)} }

const (
	noBlocks = "is set, but CCS has no blocks per platform: leave it out and use Options and Notification, or a session with fcm_v1"
	noField  = "is not a field that FCM's HTTP v1 has there: leave it out, or correct its name"
	noKey    = "is a key that FCM's HTTP v1 has no place for: leave it out, or put it into Data or into the raw block of one platform"
	own      = "is the host's own key: choose another; the host sets it in every message to FCM's HTTP v1"
	tooLong  = "FCM takes at most 4096 to a device; send less, or an address from which the app can fetch it"
)

// What is fine for one transport need not be for the other. Each error is whole.
func TestFits(t *testing.T) {
	for _, c := range []struct {
		name    string
		in      Downstream
		ccs, v1 string // the whole errors
	}{
		{name: "least", in: Downstream{To: Token("t")}},
		{name: "data and notification", in: toToken(func(d *Downstream) { d.Notification = map[string]string{"title": "a"} })},
		{name: "all that both know", in: toToken(func(d *Downstream) {
			d.Group, d.MessageID, d.Context = "g", "m", json.RawMessage("1")
			d.Options = Options{TTL: TTL(0), Priority: PriorityHigh, CollapseKey: strings.Repeat("k", MaxID), DryRun: true, ReceiptRequested: true, ContentAvailable: true, MutableContent: true}
		})},
		{name: "fid", in: Downstream{To: FID("f")}, ccs: "to.fid is set, but CCS knows no installation ids: use the registration token, or a session with fcm_v1"},
		{name: "3 topics", in: Downstream{To: topics(3)}},
		{name: "5 topics", in: Downstream{To: topics(5)}, ccs: "to.condition has 4 operators, and CCS takes at most 2: write it like 'a' in topics && ('b' in topics || 'c' in topics)"},
		{name: "6 topics", in: Downstream{To: topics(6)},
			ccs: "to.condition has 5 operators, and CCS takes at most 2: write it like 'a' in topics && ('b' in topics || 'c' in topics)",
			v1:  "to.condition has 5 operators, and FCM takes at most 4: write it like 'a' in topics && ('b' in topics || 'c' in topics)"},
		{name: "long topic", in: Downstream{To: Topic(strings.Repeat("t", 900))}},
		{name: "too long topic", in: Downstream{To: Topic(strings.Repeat("t", 901))}, v1: "to.topic has a topic's name of more than 900 bytes: use a shorter name"},
		{name: "too long topic in a condition", in: Downstream{To: Condition("'" + strings.Repeat("t", 901) + "' in topics")}, v1: "to.condition has a topic's name of more than 900 bytes: use a shorter name"},
		{name: "what XML cannot carry", in: toToken(func(d *Downstream) {
			d.Data, d.Notification = json.RawMessage("{\"a\":\"\uFFFE\"}"), json.RawMessage("{\"title\":\"\uFFFF\"}")
		}), ccs: `data has U+FFFE or U+FFFF at byte 6, which XML cannot carry: leave it out, or write it as \ufffe or \uffff` + "\n" +
			`notification has U+FFFE or U+FFFF at byte 10, which XML cannot carry: leave it out, or write it as \ufffe or \uffff`},
		{name: "controls as escapes", in: data(json.RawMessage(`{"a":"\u0000\ufffe"}`))},
		{name: "blocks", in: options(Options{Android: json.RawMessage("{}"), APNS: json.RawMessage("{}"), Webpush: json.RawMessage("{}")}),
			ccs: "options.android " + noBlocks + "\noptions.apns " + noBlocks + "\noptions.webpush " + noBlocks},

		{name: "the host's keys", in: data(map[string]string{"bal_id": "1", "bal_receipt": "", "bal_seq": "3", "bal_x": ""}),
			v1: "data.bal_id " + own + "\ndata.bal_receipt " + own + "\ndata.bal_seq " + own},
		{name: "every notification key", in: notification(map[string]string{
			"title": "", "body": "", "image": "", "subtitle": "", "icon": "", "color": "#1a2B3c", "sound": "", "tag": "", "click_action": "", "android_channel_id": "",
			"badge": "0", "title_loc_key": "", "title_loc_args": `[]`, "body_loc_key": "", "body_loc_args": `["a","\u0062"]`, "ticker": "", "event_time": "",
			"visibility": "SECRET", "proxy": "", "notification_priority": "PRIORITY_MAX", "notification_count": "3", "sticky": "true", "local_only": "false",
			"default_sound": "true", "default_vibrate_timings": "true", "default_light_settings": "true", "vibrate_timings": `["0.5s","1s"]`})},
		{name: "unknown notification keys", in: notification(map[string]string{"tittle": "", "channel_id": "", "light_settings": "{}"}),
			v1: "notification.channel_id " + noKey + "\nnotification.light_settings " + noKey + "\nnotification.tittle " + noKey},
		{name: "values of notification keys", in: notification(json.RawMessage(`{"badge":"-1","notification_count":"3.0","sticky":"yes","color":"red","visibility":"public",
			"notification_priority":"HIGH","vibrate_timings":"[\"1\"]","body_loc_key":"k","body_loc_args":"[1]"}`)),
			v1: `notification.badge is "-1", not a number: write a whole number from 0 on, such as "3"` + "\n" +
				`notification.notification_count is "3.0", not a number: write a whole number from 0 on, such as "3"` + "\n" +
				`notification.sticky is "yes": write "true" or "false"` + "\n" +
				`notification.color is "red": write it like "#1a2b3c"` + "\n" +
				`notification.visibility is "public": use PRIVATE, PUBLIC, SECRET` + "\n" +
				`notification.notification_priority is "HIGH": use PRIORITY_MIN, PRIORITY_LOW, PRIORITY_DEFAULT, PRIORITY_HIGH, PRIORITY_MAX` + "\n" +
				`notification.vibrate_timings[0] is "1": write seconds, such as "0.5s"` + "\n" +
				`notification.body_loc_args is "[1]", not an array of strings in a string: write it like "[\"Ann\",\"3\"]"`},
		{name: "arguments without their key", in: notification(map[string]string{"title_loc_args": "[]", "body_loc_key": ""}),
			v1: "notification.title_loc_args is set without title_loc_key: set both, or none"},

		{name: "most payload", in: data(long(4096 - 6 - 26))},
		{name: "one more", in: data(long(4096 - 6 - 25)), v1: "data and notification have 4097 bytes of keys and values, bal_id included: " + tooLong},
		{name: "most payload with all of ours", in: toToken(func(d *Downstream) {
			d.Data, d.MessageID, d.Group, d.Options.ReceiptRequested = long(4096-6-2-27-12), "id", "g", true
		})},
		{name: "one more with all of ours", in: toToken(func(d *Downstream) {
			d.Data, d.MessageID, d.Group, d.Options.ReceiptRequested = long(4097-6-2-27-12), "id", "g", true
		}), v1: "data and notification have 4097 bytes of keys and values, bal_id included: " + tooLong},
		{name: "too much with apns.payload", in: toToken(func(d *Downstream) {
			d.Data, d.Options.APNS = long(4000), json.RawMessage(`{"payload":{"aps":{},"x":"`+strings.Repeat("y", 80)+`"}}`)
		}), ccs: "options.apns " + noBlocks, v1: "data and notification have 4129 bytes of keys and values, bal_id and the text of apns.payload included: " + tooLong},
		{name: "too much for a topic", in: Downstream{To: Topic("a"), Data: long(2048)},
			v1: "data and notification have 2080 bytes of keys and values, bal_id included: FCM takes at most 2048 to a topic or condition; send less, or an address from which the app can fetch it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := c.in.Checked()
			if err != nil {
				t.Fatal(err)
			}
			for transport, want := range map[Transport]string{CCS: c.ccs, "": c.ccs, FCMv1: c.v1, "later": ""} {
				fits(t, m, transport, want)
			}
		})
	}
}

func fits(t *testing.T, m Checked, transport Transport, want string) {
	t.Helper()
	err, got := m.Fits(transport), ""
	if err != nil {
		got = err.Error()
		if p := (*Problem)(nil); !errors.As(err, &p) || p.Field == "" || p.Wrong == "" || p.Mend == "" {
			t.Errorf("%s: no whole Problem in %#v", transport, err)
		}
	}
	if got != want {
		t.Errorf("%s:\ngot  %s\nwant %s", transport, got, want)
	}
}

// Raw blocks: known fields pass, and what is wrong is named by its path. // issue: one clear error each
func TestFitsBlocks(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Downstream
		want string // the whole error
	}{
		{"all of android", android(`{"collapse_key":"ride","priority":"HIGH","ttl":"3600s","restricted_package_name":"com.example.courier","direct_boot_ok":false,
			"bandwidth_constrained_ok":false,"restricted_satellite_ok":true,"data":{"k":"v"},"fcm_options":{"analytics_label":"x-_.~%9"},
			"notification":{"title":"","body":"","icon":"","color":"#00ff00","sound":"","tag":"","click_action":"","body_loc_key":"","body_loc_args":["a"],"title_loc_key":"",
			"title_loc_args":[],"channel_id":"","image":"","ticker":"","sticky":true,"event_time":"2026-11-01T00:00:00Z","local_only":false,"notification_priority":"PRIORITY_LOW",
			"default_sound":true,"default_vibrate_timings":false,"default_light_settings":true,"vibrate_timings":["0s","1.5s"],"light_settings":{"color":{"red":1}},
			"visibility":"PRIVATE","notification_count":0,"proxy":"ALLOW"}}`), ""},
		{"lower case priority", android(`{"priority":"normal"}`), ""},
		{"unknown field", android(`{"topic":"x"}`), "options.android.topic " + noField},
		{"android_v2 beside android", android(`{"android_v2":{}}`), "options.android.android_v2 " + noField},
		{"another spelling", android(`{"collapseKey":"x"}`), `options.android.collapseKey is not written as here: write it "collapse_key"`},
		{"unknown field inside", android(`{"notification":{"channel":"x"},"fcm_options":{"label":"x"}}`),
			"options.android.notification.channel " + noField + "\noptions.android.fcm_options.label " + noField},
		{"types", android(`{"collapse_key":1,"direct_boot_ok":"true","notification":[],"data":"x","fcm_options":null}`),
			"options.android.collapse_key is a number: give a string\noptions.android.direct_boot_ok is a string: give a boolean\n" +
				"options.android.notification is an array: give an object\noptions.android.data is a string: give an object\noptions.android.fcm_options is null: give an object"},
		{"types inside", android(`{"notification":{"notification_count":"3","title_loc_key":"k","title_loc_args":["a",1],"sticky":0,"vibrate_timings":[{}]}}`),
			"options.android.notification.notification_count is a string: give a number\noptions.android.notification.title_loc_args[1] is a number: give a string\n" +
				"options.android.notification.sticky is a number: give a boolean\noptions.android.notification.vibrate_timings[0] is an object: give a string"},
		{"counts", android(`{"notification":{"notification_count":1.5}}`), "options.android.notification.notification_count is 1.5: give a whole number from 0 on"},
		{"priority", android(`{"priority":"highest"}`), `options.android.priority is "highest": use NORMAL, HIGH, normal, high`},
		{"ttl as a number", android(`{"ttl":3600}`), "options.android.ttl is a number: give a string"},
		{"ttl without s", android(`{"ttl":"3600"}`), `options.android.ttl is "3600": write seconds from "0s" to "2419200s", such as "3600s"`},
		{"longest ttl", android(`{"ttl":"2419200s"}`), ""},
		{"too long ttl", android(`{"ttl":"2419200.5s"}`), `options.android.ttl is "2419200.5s": write seconds from "0s" to "2419200s", such as "3600s"`},
		{"negative ttl", android(`{"ttl":"-1s"}`), `options.android.ttl is "-1s": write seconds from "0s" to "2419200s", such as "3600s"`},
		{"odd ttl", android(`{"ttl":"1e3s"}`), `options.android.ttl is "1e3s": write seconds from "0s" to "2419200s", such as "3600s"`},
		{"label", android(`{"fcm_options":{"analytics_label":"a b"}}`), `options.android.fcm_options.analytics_label is "a b": use 1 to 50 letters, digits and - _ . ~ %`},
		{"long label", webpush(`{"fcm_options":{"analytics_label":"` + strings.Repeat("a", 51) + `"}}`),
			`options.webpush.fcm_options.analytics_label is "` + strings.Repeat("a", 51) + `": use 1 to 50 letters, digits and - _ . ~ %`},
		{"arguments without their key", android(`{"notification":{"body_loc_args":["a"]}}`), "options.android.notification.body_loc_args is set without body_loc_key: set both, or none"},
		{"arguments whose key is in the notification", toToken(func(d *Downstream) {
			d.Notification, d.Options.Android = map[string]string{"body_loc_key": "k", "title_loc_args": "[]"}, json.RawMessage(`{"notification":{"body_loc_args":["a"],"title_loc_key":"k"}}`)
		}), ""},
		{"the host's keys in data", android(`{"data":{"bal_id":"m","bal_seq":"","k":"v"}}`), "options.android.data.bal_id " + own + "\noptions.android.data.bal_seq " + own},
		{"data", webpush(`{"data":{"n":1,"from":"x"}}`),
			"options.webpush.data.n is a number: FCM takes strings only; marshal it into one\noptions.webpush.data.from is a key that FCM reserves: choose another; from, message_type, google… and gcm… are reserved"},
		{"most data", webpush(`{"data":{"k":"` + strings.Repeat("x", 4096-6-26-1) + `"}}`), ""},
		{"too much data", webpush(`{"data":{"k":"` + strings.Repeat("x", 4096-6-26) + `"}}`), "options.webpush.data has 4097 bytes of keys and values, bal_id included: " + tooLong},

		{"all of apns", apns(`{"headers":{"apns-priority":"5","apns-expiration":"0","apns-collapse-id":"` + strings.Repeat("i", 64) + `","apns-topic":"x"},
			"payload":{"aps":{"content-available":1},"any":[{"thing":null}]},"live_activity_token":"t","fcm_options":{"analytics_label":"x","image":"https://example.com/i"}}`), ""},
		{"unknown in apns", apns(`{"aps":{}}`), "options.apns.aps " + noField},
		{"headers", apns(`{"headers":{"apns-priority":10,"apns-expiration":"soon","apns-collapse-id":"` + strings.Repeat("i", 65) + `"}}`),
			"options.apns.headers.apns-priority is a number: give a string\n" + `options.apns.headers.apns-expiration is "soon": write seconds since 1970, or 0` + "\n" +
				`options.apns.headers.apns-collapse-id is "` + strings.Repeat("i", 65) + `": use at most 64 bytes, for example a hash`},
		{"priority of apns", apns(`{"headers":{"apns-priority":"7"}}`), `options.apns.headers.apns-priority is "7": use 1, 5, 10`},
		{"data alone at priority 10", apns(`{"headers":{"apns-priority":"10"},"payload":{"aps":{"content-available":1}}}`),
			`options.apns.headers.apns-priority is "10", but the message shows nothing on an Apple device: use "5", or add a notification: FCM refuses the whole message`},
		{"an alert at priority 10", apns(`{"headers":{"apns-priority":"10"},"payload":{"aps":{"alert":"x"}}}`), ""},
		{"a notification at priority 10", toToken(func(d *Downstream) {
			d.Notification, d.Options.APNS = map[string]string{"title": "x"}, json.RawMessage(`{"headers":{"apns-priority":"10"}}`)
		}), ""},
		{"an empty notification at priority 10", toToken(func(d *Downstream) {
			d.Notification, d.Options.APNS = map[string]string{}, json.RawMessage(`{"headers":{"apns-priority":"10"}}`)
		}), `options.apns.headers.apns-priority is "10", but the message shows nothing on an Apple device: use "5", or add a notification: FCM refuses the whole message`},
		{"a tag at priority 10", toToken(func(d *Downstream) {
			d.Notification, d.Options.APNS = map[string]string{"tag": "x"}, json.RawMessage(`{"headers":{"apns-priority":"10"}}`)
		}), `options.apns.headers.apns-priority is "10", but the message shows nothing on an Apple device: use "5", or add a notification: FCM refuses the whole message`},
		{"aps", apns(`{"payload":{"aps":"x"}}`), "options.apns.payload.aps is a string: give an object"},
		{"payload", apns(`{"payload":1}`), "options.apns.payload is a number: give an object"},

		{"all of webpush", webpush(`{"headers":{"TTL":"0","Urgency":"very-low","Topic":"x","other":"y"},"data":{},
			"notification":{"title":"x","actions":[{"requireInteraction":true}]},"fcm_options":{"link":"https://example.com/a?b","analytics_label":"x"}}`), ""},
		{"web headers", webpush(`{"headers":{"TTL":"1s","Urgency":"HIGH","Topic":null}}`),
			`options.webpush.headers.TTL is "1s": write seconds, from 0 on` + "\n" + `options.webpush.headers.Urgency is "HIGH": use very-low, low, normal, high` + "\n" +
				"options.webpush.headers.Topic is null: give a string"},
		{"link", webpush(`{"fcm_options":{"link":"http://example.com"}}`), `options.webpush.fcm_options.link is "http://example.com": use an address that begins with https://`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := c.in.Checked()
			if err != nil {
				t.Fatal(err)
			}
			fits(t, m, FCMv1, c.want)
		})
	}
}

// What fits is of known shape, whatever the blocks are, and fits again as it was.
func FuzzFits(f *testing.F) {
	f.Add([]byte(`{"title":"x","badge":"3"}`), []byte(`{"ttl":"3.5s","notification":{"body_loc_key":"k","body_loc_args":["a"]}}`), []byte(`{"headers":{"apns-priority":"5"},"payload":{"aps":{}}}`), []byte(`{"data":{"k":"v"}}`))
	f.Add([]byte(`null`), []byte(`{"a":[{"b":[1,2,{}]}]}`), []byte(`{"payload":{"\u0061ps":[ ]}}`), []byte(`{"headers":{}}`))
	f.Fuzz(func(t *testing.T, notification, android, apns, webpush []byte) {
		d := Downstream{To: Token("t"), Notification: json.RawMessage(notification), Options: Options{Android: android, APNS: apns, Webpush: webpush}}
		m, err := d.Checked()
		if err != nil || m.Fits(FCMv1) != nil {
			return
		}
		var flat map[string]string
		if m.Notification != nil && json.Unmarshal(m.Notification, &flat) != nil {
			t.Fatalf("notification %s", m.Notification)
		}
		for key := range flat {
			if NotificationKeys()[key] == 0 {
				t.Fatalf("notification key %q", key)
			}
		}
		for name, block := range map[string]json.RawMessage{"android": m.Options.Android, "apns": m.Options.APNS, "webpush": m.Options.Webpush} {
			var fields map[string]json.RawMessage
			if block != nil && json.Unmarshal(block, &fields) != nil {
				t.Fatalf("%s %s", name, block)
			}
			known := map[string]map[string]rule{"android": androidBlock, "apns": apnsBlock, "webpush": webpushBlock}[name]
			for key := range fields {
				if known[key] == nil {
					t.Fatalf("%s has %q", name, key)
				}
			}
		}
		again, err := m.Downstream().Checked()
		if err != nil || again.Fits(FCMv1) != nil {
			t.Fatalf("what fitted once does not again: %v, %v", err, again.Fits(FCMv1))
		}
	})
}

func BenchmarkFits(b *testing.B) {
	m, err := data(map[string]string{"text": strings.Repeat("abcdefghi&", 20), "room": "blue"}).Checked()
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range []Transport{CCS, FCMv1} {
		b.Run(string(t), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Fits(t); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
