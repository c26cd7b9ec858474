package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func toToken(change func(*Downstream)) Downstream {
	d := Downstream{To: Token("tokA"), Data: map[string]string{"k": "v"}}
	change(&d)
	return d
}

func data(v any) Downstream { return toToken(func(d *Downstream) { d.Data = v }) }

func notification(v any) Downstream {
	return toToken(func(d *Downstream) { d.Data, d.Notification = nil, v })
}

func options(o Options) Downstream { return toToken(func(d *Downstream) { d.Options = o }) }

type ride struct {
	Kind string `json:"kind"`
	Note string `json:"note,omitempty"`
}

func TestCheckedTakes(t *testing.T) {
	for _, c := range []struct {
		name               string
		in                 Downstream
		data, notification string // as they go out
	}{
		{"map", data(map[string]string{"k": "1", "note": "fish & chips"}), `{"k":"1","note":"fish \u0026 chips"}`, ""},
		{"struct", data(ride{Kind: "r"}), `{"kind":"r"}`, ""},
		{"raw bytes stay", data(json.RawMessage(`{ "k" : "<&>\u0000" }`)), `{ "k" : "<&>\u0000" }`, ""},
		{"emoji, as it is and escaped", data(json.RawMessage(`{"😀":"\ud83d\ude00\uD83D\uDE00x"}`)), `{"😀":"\ud83d\ude00\uD83D\uDE00x"}`, ""},
		{"what only looks like half a pair", data(json.RawMessage(`{"k":"\\ud800 ud800 \\\\ude00"}`)), `{"k":"\\ud800 ud800 \\\\ude00"}`, ""},
		{"space around raw bytes goes", data(json.RawMessage("\n{}\n")), `{}`, ""},
		{"nothing", data(nil), "", ""},
		{"nil map", data(map[string]string(nil)), "", ""},
		{"null", data(json.RawMessage("null")), "", ""},
		{"U+FFFD of the plugin's own", data(map[string]string{"k": "\uFFFD", "b": `\ufffd`}), `{"b":"\\ufffd","k":"` + "\uFFFD" + `"}`, ""},
		{"notification", notification(map[string]string{"title": "Ride", "body_loc_args": `["Ann","3"]`}), "", `{"body_loc_args":"[\"Ann\",\"3\"]","title":"Ride"}`},
		{"options as data keys", data(map[string]string{"collapse_key": "x", "x_google": "y", "From": "z"}), `{"From":"z","collapse_key":"x","x_google":"y"}`, ""},
		{"topic", Downstream{To: Topic("news-1_2.3~4%5"), Data: json.RawMessage(`{}`)}, `{}`, ""},
		{"condition", Downstream{To: Condition("'a' in topics && ('b' in topics || !('c' in topics))")}, "", ""},
		{"one topic as a condition", Downstream{To: Condition(" ( 'a'  in topics ) ")}, "", ""},
		{"fid", Downstream{To: FID("cX-_22"), Data: map[string]string{"k": strings.Repeat("x", 4095)}}, `{"k":"` + strings.Repeat("x", 4095) + `"}`, ""},
		{"what XML cannot carry", data(map[string]string{"a": "\uFFFE"}), "{\"a\":\"\uFFFE\"}", ""},
		{"what v1 cannot carry", notification(map[string]string{"tittle": "x"}), "", `{"tittle":"x"}`},
		{"many topics", Downstream{To: Condition(strings.Repeat("'a' in topics || ", 9) + "'b' in topics")}, "", ""},
		{"raw blocks", options(Options{Android: json.RawMessage(`{}`), APNS: json.RawMessage(`{"payload":{ }}`), Webpush: json.RawMessage(`{"x":[1,[2],{"y":[]}]}`)}), `{"k":"v"}`, ""},
		{"TTL 0", options(Options{TTL: TTL(0)}), `{"k":"v"}`, ""},
		{"longest TTL", options(Options{TTL: TTL(MaxTTL)}), `{"k":"v"}`, ""},
		{"high", options(Options{Priority: PriorityHigh, CollapseKey: "ride", DryRun: true}), `{"k":"v"}`, ""},
		{"4096 bytes", data(map[string]string{"k": strings.Repeat("é", 2047) + "x"}), `{"k":"` + strings.Repeat("é", 2047) + `x"}`, ""},
		{"2048 bytes to a topic", Downstream{To: Topic("a"), Data: map[string]string{"k": strings.Repeat("x", 2047)}}, `{"k":"` + strings.Repeat("x", 2047) + `"}`, ""},
		{"escapes count as what they stand for", data(json.RawMessage(`{"k":"` + strings.Repeat(`\u0041`, 4095) + `"}`)), `{"k":"` + strings.Repeat(`\u0041`, 4095) + `"}`, ""},
		{"longest ids", toToken(func(d *Downstream) {
			d.MessageID, d.Group, d.Context = strings.Repeat("i", MaxID), strings.Repeat("é", MaxID/2), json.RawMessage(`[1]`)
			d.Session, d.Options = "main", Options{CollapseKey: strings.Repeat("k", MaxID), TTL: TTL(MaxTTL)}
			d.NotBefore, d.Replace = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), strings.Repeat("r", MaxID)
		}), `{"k":"v"}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.in.Checked()
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Data) != c.data || string(got.Notification) != c.notification {
				t.Errorf("data %s, notification %s\nwant %s, %s", got.Data, got.Notification, c.data, c.notification)
			}
			again, err := got.Downstream().Checked()
			if err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("checked again: %v, %v", again, err)
			}
			rest, in := got.Downstream(), c.in
			rest.Data, rest.Notification, in.Data, in.Notification = nil, nil, nil, nil
			if !reflect.DeepEqual(rest, in) {
				t.Errorf("another field changed: %+v, was %+v", rest, in)
			}
		})
	}
}

func TestCheckedRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Downstream
		want string // the whole error
	}{
		{"no target", Downstream{}, "to has 0 targets: set exactly one: a token, an fid, a topic or a condition"},
		{"two targets", Downstream{To: Target{Token: "a", Topic: "b"}}, "to has 2 targets: set exactly one: a token, an fid, a topic or a condition"},
		{"topic as token", Downstream{To: Token("/topics/news")}, "to.token is a topic: use Topic with the name after /topics/"},
		{"token with a space", Downstream{To: Token("a b")}, "to.token has a space: use the registration token exactly as the app got it"},
		{"token with a control", Downstream{To: Token("a\x00")}, "to.token has U+0000 at byte 1, which nobody can read: leave it out"},
		{"token too long", Downstream{To: Token(strings.Repeat("t", MaxTarget+1))}, "to.token has 4097 bytes: use at most 4096"},
		{"prefixed topic", Downstream{To: Topic("/topics/news")}, `to.topic starts with /topics/: use the name alone, "news"`},
		{"odd topic", Downstream{To: Topic("news today")}, `to.topic "news today" is not a topic's name: use only letters, digits and - _ . ~ %`},

		{"number", data(map[string]any{"count": 3}), "data.count is a number: FCM takes strings only; marshal it into one"},
		{"boolean", data(json.RawMessage(`{"a":true}`)), "data.a is a boolean: FCM takes strings only; marshal it into one"},
		{"null value", data(json.RawMessage(`{"a":null}`)), "data.a is null: FCM takes strings only; marshal it into one"},
		{"array value", data(map[string]any{"a": []int{}}), "data.a is an array: FCM takes strings only; marshal it into one"},
		{"object value", data(map[string]any{"a": ride{}}), "data.a is an object: FCM takes strings only; marshal it into one"},
		{"array", data([]string{"a"}), `data is not a JSON object: "[\"a\"]": use a struct or map with string values`},
		{"string", data("a"), `data is not a JSON object: "\"a\"": use a struct or map with string values`},
		{"broken JSON", data(json.RawMessage(`{"a":`)), `data is not a JSON object: "{\"a\":": use a struct or map with string values`},
		{"two objects", data(json.RawMessage(`{}{}`)), `data is not a JSON object: "{}{}": use a struct or map with string values`},
		{"channel", data(make(chan int)), "data cannot be marshalled (json: unsupported type: chan int): use a struct or map with string values"},
		{"infinite", data(map[string]float64{"a": math.Inf(1)}), "data cannot be marshalled (json: unsupported value: +Inf): use a struct or map with string values"},
		{"key twice", data(json.RawMessage(`{"a":"1","a":"2"}`)), "data.a is there twice: leave one out"},
		{"from", data(map[string]string{"from": "x"}), "data.from is a key that FCM reserves: choose another; from, message_type, google… and gcm… are reserved"},
		{"message_type", data(map[string]string{"message_type": "x"}), "data.message_type is a key that FCM reserves: choose another; from, message_type, google… and gcm… are reserved"},
		{"google", data(map[string]string{"google.x": "x"}), "data.google.x is a key that FCM reserves: choose another; from, message_type, google… and gcm… are reserved"},
		{"gcm", data(map[string]string{"gcm": "x"}), "data.gcm is a key that FCM reserves: choose another; from, message_type, google… and gcm… are reserved"},
		{"raw, not UTF-8", data(json.RawMessage("{\"a\":\"\xff\"}")), "data is not UTF-8: encode it, base64 for bytes"},
		{"half a pair", data(json.RawMessage(`{"a":"\ud800"}`)), `data has half a surrogate pair at byte 6, \ud800: write both halves; do not cut text inside a character`},
		{"half a pair in a key", data(json.RawMessage(`{"\\\uDC00":"x"}`)), `data has half a surrogate pair at byte 4, \uDC00: write both halves; do not cut text inside a character`},
		{"the wrong way round", data(json.RawMessage(`{"a":"\ude00\ud83d"}`)), `data has half a surrogate pair at byte 6, \ude00: write both halves; do not cut text inside a character`},
		{"two first halves", data(json.RawMessage(`{"a":"\ud83d\ud83d\ude00"}`)), `data has half a surrogate pair at byte 6, \ud83d: write both halves; do not cut text inside a character`},
		{"half a pair in a notification", notification(json.RawMessage(`{"title":"\ud83d x"}`)), `notification has half a surrogate pair at byte 10, \ud83d: write both halves; do not cut text inside a character`},
		{"text cut inside a character", data(map[string]string{"a": "漢"[:2]}), "data has a string that is not UTF-8: encode it, base64 for bytes; do not cut text inside a character"},
		{"too much", data(map[string]string{"k": strings.Repeat("é", 2048)}),
			"data and notification have 4097 bytes of keys and values: FCM takes at most 4096 to a device; send less, or an address from which the app can fetch it"},
		{"too much together", toToken(func(d *Downstream) {
			d.Data, d.Notification = map[string]string{"k": strings.Repeat("x", 4000)}, map[string]string{"title": strings.Repeat("x", 100)}
		}), "data and notification have 4106 bytes of keys and values: FCM takes at most 4096 to a device; send less, or an address from which the app can fetch it"},
		{"too much for a topic", Downstream{To: Topic("a"), Data: map[string]string{"k": strings.Repeat("x", 2048)}},
			"data and notification have 2049 bytes of keys and values: FCM takes at most 2048 to a topic or condition; send less, or an address from which the app can fetch it"},
		{"white space without end", data(json.RawMessage("{" + strings.Repeat(" ", MaxText) + "}")), "data is 32770 bytes of JSON text: use at most 32768; leave out white space"},
		{"loc_args as array", notification(map[string]any{"body_loc_args": []string{"a"}}), "notification.body_loc_args is an array: FCM takes strings only; marshal it into one"},
		{"loc_args not JSON", notification(map[string]string{"title_loc_args": "Ann"}),
			`notification.title_loc_args is "Ann", not a JSON array in a string: write it like "[\"Ann\",\"3\"]"`},
		{"loc_args null", notification(map[string]string{"title_loc_args": "null"}),
			`notification.title_loc_args is "null", not a JSON array in a string: write it like "[\"Ann\",\"3\"]"`},
		{"badge", notification(map[string]any{"badge": 1}), "notification.badge is a number: FCM takes strings only; marshal it into one"},

		{"negative TTL", options(Options{TTL: TTL(-time.Second)}), "options.ttl is -1s: use 0 (now or never) to 2419200s (four weeks), or leave it unset for four weeks"},
		{"long TTL", options(Options{TTL: TTL(MaxTTL + time.Second)}), "options.ttl is 2419201s: use 0 (now or never) to 2419200s (four weeks), or leave it unset for four weeks"},
		{"TTL in milliseconds", options(Options{TTL: TTL(1500 * time.Millisecond)}), "options.ttl is 1.5s: use whole seconds; round it"},
		{"priority", options(Options{Priority: "HIGH"}), `options.priority is "HIGH": use "normal" or "high", or leave it unset`},
		{"collapse key", options(Options{CollapseKey: strings.Repeat("k", MaxID+1)}), "options.collapse_key has 256 bytes: use at most 255, for example a hash"},
		{"block that is no object", options(Options{Android: json.RawMessage("[]")}), `options.android is not a JSON object: "[]": give the block of one platform, as FCM's HTTP v1 has it`},
		{"broken block", options(Options{APNS: json.RawMessage(`{"payload":`)}), `options.apns is not a JSON object: "{\"payload\":": give the block of one platform, as FCM's HTTP v1 has it`},
		{"long block", options(Options{Webpush: json.RawMessage("{" + strings.Repeat(" ", MaxText) + "}")}), "options.webpush is 32770 bytes of JSON text: use at most 32768; leave out white space"},
		{"block of bytes", options(Options{Webpush: json.RawMessage("{\"a\":\"\xff\"}")}), "options.webpush is not UTF-8: encode it, base64 for bytes"},
		{"half a pair in a block", options(Options{APNS: json.RawMessage(`{"a":"\ud800"}`)}), `options.apns has half a surrogate pair at byte 6, \ud800: write both halves; do not cut text inside a character`},
		{"key twice in a block", options(Options{APNS: json.RawMessage(`{"payload":{"a":[{"b":1,"b":[2]}]},"payload":{}}`)}),
			"options.apns.payload.a[0].b is there twice: leave one out\noptions.apns.payload is there twice: leave one out"},
		{"deep block", options(Options{APNS: json.RawMessage(`{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`)}),
			"options.apns.a" + strings.Repeat("[0]", 31) + " is more than 32 objects and arrays deep: make it flatter"},
		{"fid beside a token", Downstream{To: Target{Token: "a", FID: "b"}}, "to has 2 targets: set exactly one: a token, an fid, a topic or a condition"},
		{"fid with a space", Downstream{To: FID("a b")}, "to.fid has a space: use the installation id exactly as the app got it"},

		{"message id", toToken(func(d *Downstream) { d.MessageID = strings.Repeat("i", MaxID+1) }), "message_id has 256 bytes: use at most 255, for example a hash"},
		{"group", toToken(func(d *Downstream) { d.Group = "a\x00" }), "group has U+0000 at byte 1, which nobody can read: leave it out"},
		{"replace", toToken(func(d *Downstream) { d.Replace = "\x1b" }), "replace has U+001B at byte 0, which nobody can read: leave it out"},
		{"long replace", toToken(func(d *Downstream) { d.Replace = strings.Repeat("r", MaxID+1) }), "replace has 256 bytes: use at most 255, for example a hash"},
		{"seconds as milliseconds", toToken(func(d *Downstream) { d.NotBefore = time.UnixMilli(1_764_320_000) }),
			"not_before is 1970-01-21T10:05:20Z: use a time from 2000 to 2200, on the wire in milliseconds since 1970; leave it unset to send at once"},
		{"microseconds as milliseconds", toToken(func(d *Downstream) { d.NotBefore = time.UnixMilli(1_764_320_000_000_000) }),
			"not_before is 57879-01-28T08:53:20Z: use a time from 2000 to 2200, on the wire in milliseconds since 1970; leave it unset to send at once"},
		{"the end of time", toToken(func(d *Downstream) { d.NotBefore = time.UnixMilli(math.MinInt64) }),
			"not_before is " + time.UnixMilli(math.MinInt64).UTC().Format(time.RFC3339) + ": use a time from 2000 to 2200, on the wire in milliseconds since 1970; leave it unset to send at once"},
		{"group of bytes", toToken(func(d *Downstream) { d.Group = "\xff" }), "group is not UTF-8: encode it, base64 for bytes"},
		{"context", toToken(func(d *Downstream) { d.Context = json.RawMessage("x") }), "context is not JSON: marshal it"},
		{"long context", toToken(func(d *Downstream) { d.Context = make([]byte, MaxContext+1) }), "context has 65537 bytes: use at most 65536, and keep the rest in the plugin's state"},

		{"thousands", data(json.RawMessage(`{"a":1` + strings.Repeat(`,"a":1`, 4000) + `}`)),
			strings.Repeat("data.a is a number: FCM takes strings only; marshal it into one\ndata.a is there twice: leave one out\n", 25) + "message has 7951 more problems: correct these first"},
		{"all at once", Downstream{Data: map[string]any{"a": 1, "b": 2}, Options: Options{Priority: "x"}, Group: "\n"},
			"to has 0 targets: set exactly one: a token, an fid, a topic or a condition\n" +
				`options.priority is "x": use "normal" or "high", or leave it unset` + "\n" +
				"group has U+000A at byte 0, which nobody can read: leave it out\n" +
				"data.a is a number: FCM takes strings only; marshal it into one\n" +
				"data.b is a number: FCM takes strings only; marshal it into one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.in.Checked()
			if err == nil {
				t.Fatalf("took %+v", got)
			}
			if err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			var p *Problem
			if !errors.As(err, &p) || p.Field == "" || p.Wrong == "" || p.Mend == "" {
				t.Errorf("no whole Problem in %#v", err)
			}
		})
	}
}

// It never goes before its NotBefore, which has whole milliseconds on the wire; and the
// same moment is the same message, whatever its zone.
func TestNotBeforeIsRoundedUp(t *testing.T) {
	ms := time.UnixMilli(1_764_320_000_123)
	for _, given := range []time.Time{ms.Add(1 - time.Millisecond), ms.Add(-1), ms, ms.UTC(), ms.In(time.FixedZone("far", 3600))} {
		got, err := toToken(func(d *Downstream) { d.NotBefore = given }).Checked()
		if err != nil || got.NotBefore != ms.UTC() {
			t.Errorf("%v became %v: %v", given, got.NotBefore, err)
		}
	}
	if got, err := toToken(func(*Downstream) {}).Checked(); err != nil || !got.NotBefore.IsZero() {
		t.Errorf("none became %v: %v", got.NotBefore, err)
	}
}

// CheckText works on text that is not JSON too.
func TestCheckTextOfAnything(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, `\`: true, `"\`: true, `\u`: true, `\ud83`: true, `\uzzzz`: true, `\\`: true, `"\ud83d\ude0`: false, `\ud800`: false, "\xed\xa0\x80": false,
	} {
		if err := CheckText("body", []byte(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestConditions(t *testing.T) {
	for in, want := range map[string]string{
		"'a' in topics":                    "",
		"'a' in topics||'b' in topics":     "",
		"!'a' in topics":                   "",
		"((('a' in topics)))":              "",
		"":                                 `has "" where a 'topic' should be`,
		"a in topics":                      `has "a in topics" where a 'topic' should be`,
		"'a'":                              `lacks "in topics" after 'a'`,
		"'a' in topic":                     `lacks "in topics" after 'a'`,
		"'a in topics":                     `has "a in topics", which is not a topic's name`,
		"'' in topics":                     `has "", which is not a topic's name`,
		"'a' in topics &&":                 `has "" where a 'topic' should be`,
		"'a' in topics & 'b' in topics":    `has "& 'b' in topics" where && or || should be`,
		"('a' in topics":                   "lacks a closing parenthesis",
		"'a' in topics)":                   `has ")" where && or || should be`,
		strings.Repeat("(", MaxTarget):     `has "" where a 'topic' should be`,
		"\"a\" in topics || 'b' in topics": `has "\"a\" in topics || 'b'" where a 'topic' should be`,
	} {
		got := ""
		if _, err := readCondition(in); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.40s: got %s, want %s", in, got, want)
		}
	}
}

func TestCheckID(t *testing.T) {
	for id, ok := range map[string]bool{
		"1": true, "d-000017": true, "漢字 😀 /:&<>\"": true, strings.Repeat("i", MaxID): true,
		"": false, strings.Repeat("i", MaxID+1): false, "a\tb": false, "\x7f": false, "\uFFFF": false, "\xff": false,
	} {
		if err := CheckID(id); (err == nil) != ok {
			t.Errorf("CheckID(%.20q) = %v", id, err)
		}
	}
}

// FuzzFields compares eachField with encoding/json.
func FuzzFields(f *testing.F) {
	for _, s := range []string{`{}`, ` {"a" : "b\"\\" , "c":[{"d":"]}"},[]],"e":-1.5e3 ,"f":null}`, `{"\u0061":"\ud83d\ude00"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var want map[string]json.RawMessage
		text = bytes.TrimSpace(text)
		if !utf8.Valid(text) || json.Unmarshal(text, &want) != nil || want == nil {
			return
		}
		got := make(map[string]json.RawMessage)
		eachField(text, func(key string, value []byte) { got[key] = value })
		if !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Fatalf("%s:\n got %s\nwant %s", text, got, want)
		}
		for key, value := range want {
			var s string
			if value[0] == '"' && (json.Unmarshal(value, &s) != nil || unquote(value) != s) {
				t.Fatalf("%s: %s is %q, want %q", text, key, unquote(value), s)
			}
		}
	})
}

// FuzzChecked: what passes is an object of strings that XML and JSON can carry, and
// it passes again.
func FuzzChecked(f *testing.F) {
	for _, s := range []string{`{"a":"b"}`, `{"a":"\ud800"}`, "{\"a\":\"\uFFFE\"}", `{"gcm":"x"}`, `null`, ` {} `, `{"a":1}`, `{"a":"1","\u0061":"2"}`} {
		f.Add([]byte(s), "tokA", "id", "g")
	}
	f.Fuzz(func(t *testing.T, raw []byte, token, id, group string) {
		d, err := Downstream{To: Token(token), Data: json.RawMessage(raw), MessageID: id, Group: group}.Checked()
		if err != nil {
			return
		}
		var fields map[string]string
		if d.Data != nil && json.Unmarshal(d.Data, &fields) != nil {
			t.Fatalf("took %q", raw)
		}
		size := 0
		for k, v := range fields {
			size += len(k) + len(v)
		}
		if size > MaxPayload {
			t.Fatalf("took %d bytes", size)
		}
		if _, err := d.Downstream().Checked(); err != nil {
			t.Fatalf("what passed once does not pass again: %v", err)
		}
	})
}

func BenchmarkChecked(b *testing.B) {
	d := data(map[string]string{"text": strings.Repeat("abcdefghi&", 20), "room": "blue"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Checked(); err != nil {
			b.Fatal(err)
		}
	}
}
