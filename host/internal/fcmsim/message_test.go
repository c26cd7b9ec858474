package fcmsim

import (
	"encoding/json"
	"strings"
	"testing"
)

// What FCM checks of a message. Spec: fcm-v1-and-gateway.md A1-A3.
func TestChecks(t *testing.T) {
	x := strings.Repeat
	for _, row := range []struct{ message, says string }{ // "" is a good one
		{`{"token":"t"}`, ""},
		{`{"fid":"f"}`, ""},
		{`{"topic":"a.b-c_d~e%"}`, ""},
		{`{"condition":"'a' in topics && ('b' in topics || !('c' in topics))"}`, ""},
		{`{"condition":"'a' in topics || 'b' in topics || 'c' in topics || 'd' in topics || 'e' in topics"}`, ""},
		{`{}`, "Recipient of the message is not set"},
		{`{"token":""}`, "Recipient of the message is not set"},
		{`{"token":"t","topic":"a"}`, "oneof"},
		{`{"token":"t","fid":"f"}`, "oneof"},
		{`{"topic":"/topics/a"}`, "Invalid topic name"},
		{`{"topic":"` + x("a", 901) + `"}`, "Invalid topic name"},
		{`{"condition":"'a' in topics || 'b' in topics || 'c' in topics || 'd' in topics || 'e' in topics || 'f' in topics"}`, "at most 5"},
		{`{"condition":"'a' in topics &&"}`, "Invalid condition"},
		{`{"condition":"('a' in topics"}`, "not closed"},
		{`{"condition":"'a' in topics)"}`, "unexpected"},
		{`{"condition":"` + x("(", 50) + `"}`, "too deep"},

		{`{"token":"t","data":{"k":5}}`, `"field": "message.data[0].value"`},
		{`{"token":"t","data":{"a":"1","k":{}}}`, `"field": "message.data[1].value"`},
		{`{"token":"t","data":[]}`, "message.data"},
		{`{"token":"t","data":{"from":"x"}}`, "Invalid data payload key: from"},
		{`{"token":"t","data":{"message_type":"x"}}`, "Invalid data payload key"},
		{`{"token":"t","data":{"google.x":"x"}}`, "Invalid data payload key"},
		{`{"token":"t","android":{"data":{"gcm.notification.x":"x"}}}`, "message.android.data[0].key"},
		{`{"token":"t","data":{"gcmx":"x"}}`, ""},

		{`{"token":"t","Data":{}}`, `Unknown name`},
		{`{"token":"t","androida":{}}`, `Unknown name \"androida\" at 'message'`},
		{`{"token":"t","android":{"ttl_":"5s"}}`, `at 'message.android': Cannot find field.`},
		{`{"token":"t","apns":{"payload":{"anything":{"at":"all"}}}}`, ""},
		{`{"token":"t","webpush":{"notification":{"anything":1}}}`, ""},
		{`{"token":"t","notification":null}`, ""},
		{`{"token":"t","fcmOptions":{"analyticsLabel":"x"}}`, ""},
		{`{"token":"t","fcm_options":{"analytics_label":"a b"}}`, "Invalid analytics label"},
		{`{"token":"t","fcm_options":{},"fcmOptions":{}}`, "twice"},
		{`{"token":"t","webpush":{"fcm_options":{"link":"http://x"}}}`, "only https"},
		{`{"token":5}`, "message.token"},

		{`{"token":"t","android":{"ttl":"3600s","priority":"high"}}`, ""},
		{`{"token":"t","android":{"ttl":"3.5s","priority":"NORMAL"}}`, ""},
		{`{"token":"t","android":{"ttl":"0s"}}`, ""},
		{`{"token":"t","android":{"ttl":"2419200s"}}`, ""},
		{`{"token":"t","android":{"ttl":"2419201s"}}`, "message.android.ttl"},
		{`{"token":"t","android":{"ttl":"-1s"}}`, "message.android.ttl"},
		{`{"token":"t","android":{"ttl":3600}}`, "google.protobuf.Duration"},
		{`{"token":"t","android":{"ttl":"1h"}}`, "google.protobuf.Duration"},
		{`{"token":"t","android":{"priority":"urgent"}}`, "message.android.priority"},
		{`{"token":"t","android":{"direct_boot_ok":"yes"}}`, "TYPE_BOOL"},
		{`{"token":"t","android":{},"android_v2":{}}`, "android_v2"},
		{`{"token":"t","android_v2":{"ttl":"5s","remote_notification":{"mutable_content":true}}}`, ""},
		{`{"token":"t","android":{"notification":{"color":"red"}}}`, "Invalid color"},
		{`{"token":"t","android":{"notification":{"title_loc_args":["a"]}}}`, "without title_loc_key"},
		{`{"token":"t","android":{"notification":{"title_loc_key":"k","titleLocArgs":["a"],"color":"#00ff00"}}}`, ""},
		{`{"token":"t","android":{"notification":{"title_loc_key":"k","title_loc_args":[1]}}}`, "title_loc_args[0]"},
		{`{"token":"t","android":{"notification":{"vibrate_timings":["1s","2"]}}}`, "vibrate_timings[1]"},
		{`{"token":"t","android":{"notification":{"light_settings":{"color":{"red":0.5},"light_on_duration":"1s"}}}}`, ""},
		{`{"token":"t","android":{"notification":{"visibility":"private","notification_count":3}}}`, ""},

		{`{"token":"t","data":{"k":"v"},"apns":{"headers":{"apns-priority":"10"}}}`, "INVALID_ARGUMENT"},
		{`{"token":"t","data":{"k":"v"},"apns":{"headers":{"apns-priority":"5"},"payload":{"aps":{"content-available":1}}}}`, ""},
		{`{"token":"t","apns":{"headers":{"apns-priority":"10"},"payload":{"aps":{"alert":"x"}}}}`, ""},
		{`{"token":"t","notification":{"title":"x"},"apns":{"headers":{"apns-priority":"10"}}}`, ""},
		{`{"token":"t","apns":{"headers":{"apns-collapse-id":"` + x("a", 65) + `"}}}`, "65 bytes"},
		{`{"token":"t","apns":{"headers":{"apns-expiration":1790000000}}}`, "TYPE_STRING"},

		{`{"token":"t","data":{"bal_id":"` + x("é", 2045) + `"}}`, ""},
		{`{"token":"t","data":{"bal_id":"` + x("é", 2045) + `x"}}`, "Android message is too big"},
		{`{"topic":"t","data":{"bal_id":"` + x("a", 2042) + `"}}`, ""},
		{`{"topic":"t","data":{"bal_id":"` + x("a", 2043) + `"}}`, "Android message is too big"},
		{`{"token":"t","data":{"k":"` + x("a", 4000) + `"},"notification":{"title":"` + x("b", 91) + `"}}`, "too big"},
		{`{"token":"t","data":{"k":"` + x("a", 5000) + `"},"android":{"data":{"k":"short"}}}`, ""},
	} {
		m, bad := decode([]byte(`{"message":` + row.message + `}`))
		got := ""
		if bad != nil {
			got = bad.response().Body
		}
		if (row.says == "") != (got == "") || !strings.Contains(got, row.says) {
			t.Errorf("%.120s: %s, want %s", row.message, got, row.says)
		}
		if got == "" && m.target == "" {
			t.Errorf("%.120s: no target", row.message)
		}
	}
	for body, says := range map[string]string{
		`{`: "Invalid JSON payload", `[]`: "Invalid JSON payload", `{} {}`: "after the root", `{}`: "Message is required", "": "Invalid JSON payload",
		`{"message":{"token":"t"},"validateOnly":1}`: "TYPE_BOOL", `{"mesage":{}}`: `Unknown name \"mesage\": Cannot`,
	} {
		if _, bad := decode([]byte(body)); bad == nil || !strings.Contains(bad.response().Body, says) {
			t.Errorf("%s: %+v, want %s", body, bad, says)
		}
	}
}

// Requests that are not for this project, or not for this API.
func TestWrongPlace(t *testing.T) {
	s := newServer(t, Options{})
	c := dial(t, s)
	for path, want := range map[string]int{
		"/v1/projects/other/messages:send": 403, "/v1/projects//messages:send": 404, "/v1/projects/a/b/messages:send": 404,
		"/v1/projects/other/messages": 404, "/": 404, "/fcm/send": 404, "/batch": 404,
	} {
		a := c.do(c.request(t.Context(), path, `{"message":{"token":"t"}}`))
		equal(t, path, a.code, want)
		equal(t, "reason", a.reason(), map[int]string{403: "IAM_PERMISSION_DENIED"}[want])
		equal(t, "HTML", strings.Contains(a.body, "<html"), want == 404)
	}
	equal(t, "too large", c.body(`{"message":{"token":"`+strings.Repeat("a", maxBody)+`"}}`).code, 413)
	equal(t, "sends to the project", c.to("t", "x").code, 200)
}

// No request makes the checks panic, each refusal is JSON, and what is taken has a target.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"message":{"token":"t","data":{"k":"v"}}}`, `{"validateOnly":true,"message":{"condition":"!('a' in topics) && 'b' in topics"}}`,
		`{"message":{"fid":"f","android":{"ttl":"3.5s","notification":{"titleLocKey":"k","titleLocArgs":["a"]}},"apns":{"headers":{"apns-priority":"10"}}}}`,
		`{"message":null}`, `{"message":{"token":"t","androidV2":{"remoteNotification":{}},"webpush":{"fcmOptions":{"link":"https://x"}}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, bad := decode(body)
		switch {
		case bad == nil && m.target == "":
			t.Errorf("%q was taken without a target", body)
		case bad != nil && !json.Valid([]byte(bad.response().Body)):
			t.Errorf("%q is refused with %q", body, bad.response().Body)
		}
	})
}
