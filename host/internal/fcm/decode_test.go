package fcm

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"balhost/host/internal/entry"
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

var payloads = []struct {
	name, in string
	want     Frame
}{
	{"upstream", `{"data":{"act":"sos","lat":"1.5"},"time_to_live":86400,"from":"tokA","message_id":"42","category":"com.example.courier"}`,
		Frame{Kind: Upstream, From: Name{Text: "tokA"}, MessageID: Name{Text: "42"}, Category: "com.example.courier", Data: raw(`{"act":"sos","lat":"1.5"}`)}},
	{"data as it came", ` { "from" : "t" , "message_id" : "1" , "data" : { "a" : "\u0041\ud800" , "b":[1.50,null,{}] } } ` + "\n",
		Frame{Kind: Upstream, From: Name{Text: "t"}, MessageID: Name{Text: "1"}, Data: raw(`{ "a" : "\u0041\ud800" , "b":[1.50,null,{}] }`)}},
	{"without category and data", `{"from":"t","message_id":"1"}`, Frame{Kind: Upstream, From: Name{Text: "t"}, MessageID: Name{Text: "1"}}},
	{"null is missing", `{"from":"t","message_id":"1","data":null,"category":null,"message_type":null}`, Frame{Kind: Upstream, From: Name{Text: "t"}, MessageID: Name{Text: "1"}}},
	{"empty type", `{"from":"t","message_id":"1","message_type":""}`, Frame{Kind: Upstream, From: Name{Text: "t"}, MessageID: Name{Text: "1"}}},
	{"escapes in ids", `{"from":"a\/b\"\\\u00e9\ud83d\ude00\n","message_id":"\u0000"}`, Frame{Kind: Upstream, From: Name{Text: "a/b\"\\é😀\n"}, MessageID: Name{Text: "\x00"}}},
	{"escapes in keys", `{"fr\u006fm":"t","message_id":"1"}`, Frame{Kind: Upstream, From: Name{Text: "t"}, MessageID: Name{Text: "1"}}},
	{"the last of two", `{"from":"a","from":"t","message_id":"0","message_id":"1"}`, Frame{Kind: Upstream, From: Name{Text: "t"}, MessageID: Name{Text: "1"}}},
	{"keys are exact", `{"From":"a","from":"t","message_id":"1","MESSAGE_ID":"2"}`, Frame{Kind: Upstream, From: Name{Text: "t"}, MessageID: Name{Text: "1"}}},
	{"keys inside data are not ours", `{"data":{"from":"x","message_id":"2","message_type":"ack"},"from":"t","message_id":"1"}`,
		Frame{Kind: Upstream, From: Name{Text: "t"}, MessageID: Name{Text: "1"}, Data: raw(`{"from":"x","message_id":"2","message_type":"ack"}`)}},

	{"ack", `{"message_type":"ack","from":"tokA","message_id":"d-000017"}`, Frame{Kind: Ack, MessageType: "ack", From: Name{Text: "tokA"}, MessageID: Name{Text: "d-000017"}}},
	{"ack with a new token", `{"message_type":"ack","from":"tokA","message_id":"d","registration_id":"tokA2"}`,
		Frame{Kind: Ack, MessageType: "ack", From: Name{Text: "tokA"}, MessageID: Name{Text: "d"}, RegistrationID: "tokA2"}},
	{"ack without from", `{"message_type":"ack","message_id":"d","registration_id":7}`, Frame{Kind: Ack, MessageType: "ack", MessageID: Name{Text: "d"}}},
	{"nack", `{"message_type":"nack","from":"tokB","message_id":"d","error":"DEVICE_UNREGISTERED","error_description":""}`,
		Frame{Kind: Nack, MessageType: "nack", From: Name{Text: "tokB"}, MessageID: Name{Text: "d"}, Code: "DEVICE_UNREGISTERED"}},
	{"nack without description", `{"message_type":"nack","message_id":"d","error":"BAD_ACK"}`, Frame{Kind: Nack, MessageType: "nack", MessageID: Name{Text: "d"}, Code: "BAD_ACK"}},
	{"nack without id", `{"message_type":"nack","from":"t","error":"BAD_ACK"}`, Frame{Kind: Nack, MessageType: "nack", From: Name{Text: "t"}, Code: "BAD_ACK"}},
	{"nack of 2013", `{"message_type":"nack","message_id":"d","error":"InvalidJson : JSON_TYPE_ERROR : Field \"time_to_live\""}`,
		Frame{Kind: Nack, MessageType: "nack", MessageID: Name{Text: "d"}, Code: "InvalidJson", Description: `JSON_TYPE_ERROR : Field "time_to_live"`}},
	{"nack with a colon at once", `{"message_type":"nack","message_id":"d","error":"INVALID_JSON: x","error_description":"y"}`,
		Frame{Kind: Nack, MessageType: "nack", MessageID: Name{Text: "d"}, Code: "INVALID_JSON", Description: "y"}},
	{"nack without code frees its slot", `{"message_type":"nack","message_id":"d","error":400}`, Frame{Kind: Nack, MessageType: "nack", MessageID: Name{Text: "d"}}},
	{"control", `{"message_type":"control","control_type":"CONNECTION_DRAINING"}`, Frame{Kind: Control, MessageType: "control", ControlType: ConnectionDraining}},
	{"unknown control", `{"message_type":"control","control_type":"X"}`, Frame{Kind: Control, MessageType: "control", ControlType: "X"}},
	{"receipt", `{"message_type":"receipt","from":"gcm.googleapis.com","message_id":"dr2:d-000017","category":"com.example.courier","time_to_live":0,` +
		`"data":{"message_status":"MESSAGE_SENT_TO_DEVICE","original_message_id":"d-000017","device_registration_id":"tokA","message_sent_timestamp":"1711000000123"}}`,
		Frame{Kind: Receipt, MessageType: "receipt", From: Name{Text: "gcm.googleapis.com"}, MessageID: Name{Text: "dr2:d-000017"}, Category: "com.example.courier",
			Receipt: ReceiptFields{"d-000017", "tokA", "MESSAGE_SENT_TO_DEVICE", time.UnixMilli(1711000000123)}}},
	{"receipt with little", `{"message_type":"receipt","message_id":"dr2:d","data":{"original_message_id":"d","message_sent_timestamp":1711000000123}}`,
		Frame{Kind: Receipt, MessageType: "receipt", From: Name{Text: "gcm.googleapis.com"}, MessageID: Name{Text: "dr2:d"},
			Receipt: ReceiptFields{OriginalMessageID: "d", SentAt: time.UnixMilli(1711000000123)}}},
	{"receipt of a mad clock", `{"message_type":"receipt","message_id":"dr2:d","data":{"original_message_id":"d","message_sent_timestamp":"9223372036854775807"}}`,
		Frame{Kind: Receipt, MessageType: "receipt", From: Name{Text: "gcm.googleapis.com"}, MessageID: Name{Text: "dr2:d"}, Receipt: ReceiptFields{OriginalMessageID: "d"}}},
	{"unknown type", `{"message_type":"hello","x":[]}`, Frame{Kind: Unknown, MessageType: "hello"}},
	{"type is no string", `{"message_type":7}`, Frame{Kind: Unknown}},

	{"id is a number", `{"from":"t","message_id":42}`, Frame{Kind: Upstream, From: Name{Text: "t"}, MessageID: Name{"42", "42"}}},
	{"id is a number with a fraction", `{"from":1e3,"message_id":42.0 }`, Frame{Kind: Upstream, From: Name{"1e3", "1e3"}, MessageID: Name{"42.0", "42.0"}}},
	{"half a surrogate pair", `{"from":"t","message_id":"x\ud83d"}`, Frame{Kind: Upstream, From: Name{Text: "t"}, MessageID: Name{`x\ud83d`, `"x\ud83d"`}}},
	{"halves and a whole one", `{"from":"\ude00\ud83d\ud83d\ude00\n\u0041","message_id":"1"}`,
		Frame{Kind: Upstream, From: Name{`\ude00\ud83d` + "😀\nA", `"\ude00\ud83d\ud83d\ude00\n\u0041"`}, MessageID: Name{Text: "1"}}},
	{"broken ack", `{"message_type":"ack","from":"t","message_id":"1",}`, Frame{Kind: Ack, MessageType: "ack", From: Name{Text: "t"}, MessageID: Name{Text: "1"}}},
	{"broken nack", `{"from":"t","message_id":"1","message_type":"nack","error_description":tru,"error":"BAD_ACK"`,
		Frame{Kind: Nack, MessageType: "nack", From: Name{Text: "t"}, MessageID: Name{Text: "1"}, Code: "BAD_ACK"}},
	{"broken control", `{"message_type":"control","control_type":"CONNECTION_DRAINING",}`, Frame{Kind: Control, MessageType: "control", ControlType: ConnectionDraining}},
}

func TestDecode(t *testing.T) {
	for _, c := range payloads {
		t.Run(c.name, func(t *testing.T) {
			got, err := Decode([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			got.Places = entry.Places{} // TestPlaces has these
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// P1: a payload that can't be understood still tells whom to ack, if that can be
// read. Only payloads that may be an upstream or a receipt do.
var unusable = []struct{ name, in, from, id, reason string }{
	{"nothing", ``, "", "", "ends at byte 0"},
	{"no object", `[]`, "", "", "want an object"},
	{"text", `hello`, "", "", "want an object"},
	{"empty object", `{}`, "", "", "from is missing"},
	{"without from", `{"message_id":"1"}`, "", "1", "from is missing"},
	{"without id", `{"from":"t"}`, "t", "", "message_id is missing"},
	{"empty id", `{"from":"t","message_id":""}`, "t", `""`, "message_id is empty"},
	{"empty from", `{"from":"","message_id":"1"}`, `""`, "1", "from is empty"},
	{"from is an object", `{"from":{},"message_id":"1"}`, "{}", "1", "from is an object, not a string"},
	{"id is null", `{"from":"t","message_id":null}`, "t", "null", "message_id is null, not a string"},
	{"id is a boolean", `{"from":"t","message_id":true}`, "t", "true", "message_id is a boolean, not a string"},
	{"id is an array", `{"from":"t","message_id":[ "1" , 2 ]}`, "t", `[ "1" , 2 ]`, "message_id is an array, not a string"},
	{"unknown type", `{"message_type":"hello","from":"t","message_id":"1"}`, "t", "1", `message_type is "hello", which is unknown`},
	{"type is no string", `{"message_type":7,"from":"t","message_id":1}`, "t", "1", "message_type is 7, which is unknown"},
	{"broken unknown", `{"from":"t","message_id":"1","message_type":"x",`, "t", "1", "ends at"},
	{"broken before", `{"category":"c","data":{"a":tru},"message_id":"1","from":"t"}`, "t", "1", "want a value"},
	{"broken number before", `{"data":{"a":01,"b":{"message_id":"9"}},"message_id":"1","from":"t"}`, "t", "1", "want ',' or '}'"},
	{"broken escape before", `{"data":{"a":"\x \" \\"},"message_id":"1","from":"t"}`, "t", "1", "want an escape"},
	{"comma before", `{"data":{"a":1,},"message_id":"1","from":"t"}`, "t", "1", "want a string"},
	{"key without quotes before", `{"data":{a:1},"message_id":"1","from":"t"}`, "t", "1", "want a string"},
	{"quotes of another kind before", `{"data":{'a':1},"message_id":"1","from":"t"}`, "t", "1", "want a string"},
	{"no value before", `{"data":,"message_id":"1","from":"t"}`, "t", "1", "want a value"},
	{"no comma before", `{"data":{} "message_id":"1","from":"t"}`, "t", "1", "want ','"},
	{"no comma behind a number", `{"message_id":1 "from":"t" "data":{}}`, "t", "1", "want ','"},
	{"bracket not closed before", `{"data":{"a":[1},"message_id":"1","from":"t"}`, "t", "1", "want ',' or ']'"},
	{"bracket closed twice before", `{"data":{"a":1}},"message_id":"1","from":"t"}`, "t", "1", "want nothing more"},
	{"not a number before", `{"data":NaN,"message_id":"1","from":"t"}`, "t", "1", "want a value"},
	{"comment before", `{"data":/* x */{},"message_id":"1","from":"t"}`, "t", "1", "want a value"},
	{"behind a BOM", "\uFEFF" + `{"data":{},"message_id":"1","from":"t"}`, "t", "1", "want an object"},
	{"keys of a device's", `{"data":{"from":"v","message_id":"9","x":tru}}`, "", "", "want a value"},
	{"a device's words", `{"data":{"x":tru,"y":"}}\",\"from\":\"v\",\"message_id\":\"9\""},"from":"t"}`, "t", "", "want a value"},
	{"broken id", `{"data":tru,"message_id":fals,"from":"t"}`, "t", "", "want a value"},
	{"quotes not paired before", `{"data":{"a":"b"c"},"message_id":"1","from":"t"}`, "", "", "want ','"},
	{"data is an array", `{"from":"t","message_id":"1","data":[]}`, "t", "1", "data is an array, not an object"},
	{"data is a string", `{"from":"t","message_id":"1","data":"{}"}`, "t", "1", "data is a string, not an object"},
	{"category is a boolean", `{"from":"t","message_id":"1","category":true}`, "t", "1", "category is a boolean, not a string"},
	{"cut", `{"from":"t","message_id":"1","data":{"a":"b`, "t", "1", "ends at byte 43"},
	{"cut before the id", `{"data":{},"from":"t","message_id":"1`, "t", "", "ends at byte 37"},
	{"broken behind", `{"from":"t","message_id":"1"} x`, "t", "1", "want nothing more"},
	{"ack without id", `{"message_type":"ack","from":"t"}`, "", "", "message_id is missing"},
	{"receipt without data", `{"message_type":"receipt","from":"g","message_id":"dr2:1"}`, "g", "dr2:1", "data is missing"},
	{"receipt of odd data", `{"message_type":"receipt","message_id":"dr2:1","data":"x"}`, "gcm.googleapis.com", "dr2:1", "data is a string"},
	{"receipt without original", `{"message_type":"receipt","from":"g","message_id":"dr2:1","data":{}}`, "g", "dr2:1", "data.original_message_id is missing"},
	{"receipt without id", `{"message_type":"receipt","from":"g","data":{"original_message_id":"1"}}`, "g", "", "message_id is missing"},
	{"not UTF-8", "{\"from\":\"t\",\"message_id\":\"1\xe9\"}", "t", "\"1é\"", "not UTF-8"},
	{"raw control", "{\"from\":\"t\",\"message_id\":\"1\n\"}", "t", "1\n", "control character"},
	{"odd escape", `{"from":"t","message_id":"\x"}`, "t", "", "want an escape"},
	{"short escape", `{"from":"t","message_id":"\u12"}`, "t", "", "want an escape"},
	{"leading zero", `{"a":01}`, "", "", "want ',' or '}'"},
	{"bare fraction", `{"a":.5}`, "", "", "want a value"},
	{"no fraction", `{"a":1.}`, "", "", "want a digit"},
	{"no exponent", `{"a":1e+}`, "", "", "want a digit"},
	{"nested for ever", `{"from":"t","message_id":"1","data":` + strings.Repeat(`[`, 1<<20), "t", "1", "nested deeper than 500"},
	{"as nested as may be, and an array", `{"from":"t","message_id":"1","data":` + strings.Repeat(`[`, maxDepth) + strings.Repeat(`]`, maxDepth) + `}`, "t", "1", "data is an array"},
}

// P10: the time for a text grows only with its length.
func TestDecodeTakesItsTime(t *testing.T) {
	const n = 1 << 20
	for _, parts := range [][]string{
		{"{", "}", " "}, {"[", "}"}, {"{", "]"}, {`{"k":`, " ", `x`, `"a"`}, {`{"a":`}, {`{"a":[`, `"b":`}, {`"\\`}, {"\xff"}, {`{"from":` + "\xff", "[", "]"},
		{`{"message_id":{`, `"\ud83d"`}, {"{", `"\u0066rom":1,`},
	} {
		var b strings.Builder
		b.WriteString("{")
		for _, p := range parts {
			b.WriteString(strings.Repeat(p, n/len(p)/len(parts)))
		}
		start := time.Now()
		Decode([]byte(b.String()))                      //nolint:errcheck // only the time counts
		if d := time.Since(start); d > 10*time.Second { // some 10 ms
			t.Errorf("%q: %v", parts, d)
		}
	}
}

func TestDecodeUnusable(t *testing.T) {
	for _, c := range unusable {
		t.Run(c.name, func(t *testing.T) {
			f, err := Decode([]byte(c.in))
			var bad *DecodeError
			if !errors.As(err, &bad) {
				t.Fatalf("got %+v, %v", f, err)
			}
			if given(bad.From) != c.from || given(bad.MessageID) != c.id || !strings.Contains(bad.Reason, c.reason) {
				t.Errorf("got %+v, want from %q, id %q, %q", bad, c.from, c.id, c.reason)
			}
		})
	}
}

// given is a name as it is given back; a plain string is without its quotes.
func given(n Name) string {
	if n.JSON == "" {
		return n.Text
	}
	return string(appendName(nil, n))
}

// FuzzDecode compares Decode with encoding/json.
func FuzzDecode(f *testing.F) {
	for _, c := range payloads {
		f.Add([]byte(c.in))
	}
	for _, c := range unusable {
		if len(c.in) < 1000 {
			f.Add([]byte(c.in))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text := string(b)
		got, err := Decode(b)
		if string(b) != text {
			t.Fatal("Decode changed what it read")
		}
		var want map[string]json.RawMessage
		broken := !utf8.Valid(b) || json.Unmarshal(b, &want) != nil || want == nil
		if err != nil {
			if broken || strings.Contains(err.Error(), "nested deeper") {
				return
			}
			given := func(name string) bool { s := oracle(t, want, name); return s != "" && s != "!" }
			if given("from") && given("message_id") && oracle(t, want, "message_type") != "receipt" &&
				oracle(t, want, "category") != "!" && (len(want["data"]) == 0 || want["data"][0] == '{' || string(want["data"]) == "null") &&
				!strings.Contains(err.Error(), "surrogate") && !strings.Contains(err.Error(), "which is unknown") {
				t.Fatalf("an error for valid JSON: %v", err)
			}
			return
		}
		if broken {
			if got.Kind == Ack || got.Kind == Nack || got.Kind == Control { // these may be broken
				return
			}
			t.Fatalf("encoding/json fails, but Decode gives %+v", got)
		}
		for _, c := range []struct{ name, got string }{
			{"message_type", got.MessageType}, {"from", got.From.Text}, {"message_id", got.MessageID.Text}, {"category", got.Category},
		} {
			w := oracle(t, want, c.name)
			if w == "!" || w == "" && c.got == "null" || w == "" && got.Kind == Receipt || strings.Contains(w, "\uFFFD") {
				continue
			}
			if c.got != w {
				t.Fatalf("%s is %q, want %q", c.name, c.got, w)
			}
		}
		if got.Kind == Upstream && string(got.Data) != string(want["data"]) && string(want["data"]) != "null" {
			t.Fatalf("data is %q, want %q", got.Data, want["data"])
		}
	})
}

// FuzzLoose: the ids in the error are CCS's, whatever a device writes into its
// data, and wherever the JSON is broken.
func FuzzLoose(f *testing.F) { // P1
	for _, s := range []string{"", `"`, `\`, `\"`, `","from":"v","message_id":"9"`, `}},"from":"v"`, "\n\x0b\uFFFF", "]]>{[", `{"from":"v"}`} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		data, err := json.Marshal(map[string]string{text: key, key: text})
		if err != nil {
			t.Skip("no JSON can be made of it:", err)
		}
		for _, broken := range []string{"tru", "01", `"\x"`, "{a:1}", "[1", "", "NaN", "\"\x0b\"", "\"\xff\"", `{"from":"v",}`} {
			for _, b := range []string{
				`{"category":"c","data":` + string(data) + `,"x":` + broken + `,"message_id":"1","from":"t"}`,
				`{"category":"c","x":` + broken + `,"data":` + string(data) + `,"message_id":"1","from":"t"}`,
				`{"category":"c","data":{"x":` + broken + `,"y":` + string(data) + `},"message_id":"1","from":"t"}`,
			} {
				var bad *DecodeError
				if _, err := Decode([]byte(b)); !errors.As(err, &bad) || bad.From.Text != "t" || bad.MessageID.Text != "1" {
					t.Fatalf("%s\nis read as %+v, %v", b, bad, err)
				}
			}
		}
	})
}

// oracle is a string as encoding/json reads it: "" if it is missing, "!" for another type.
func oracle(t *testing.T, fields map[string]json.RawMessage, name string) string {
	t.Helper()
	var s string
	if raw := fields[name]; raw != nil && json.Unmarshal(raw, &s) != nil {
		return "!"
	}
	return s
}

func BenchmarkDecode(b *testing.B) {
	in := []byte(`{"data":{"text":"` + strings.Repeat("abcdefghi&", 17) + `"},"from":"APA91bH-0123456789-0123456789-0123456789","message_id":"1234","category":"com.example.courier"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(in); err != nil {
			b.Fatal(err)
		}
	}
}

func TestKinds(t *testing.T) {
	var names []string
	for k := Unknown; k <= Control+1; k++ {
		names = append(names, k.String())
	}
	if got := fmt.Sprint(names); got != "[unknown upstream ack nack receipt control unknown]" {
		t.Error(got)
	}
}

// TestDecodeEnds: names are found before and after the missing middle. Names that a device wrote are not. // P1, P10
func TestDecodeEnds(t *testing.T) {
	for _, c := range []struct{ name, head, tail, from, id string }{
		{"behind", `{"category":"c","data":{"a":"xx`, `xx"},"message_id":"1","from":"t"}`, `"t"`, `"1"`},
		{"in front", `{"from":"t","message_id":"1","data":{"a":"xx`, `xx"}}`, `"t"`, `"1"`},
		{"on both sides", `{"from":"t","data":{"a":"xx`, `xx"},"message_id":"1"}`, `"t"`, `"1"`},
		{"spaces, a number, null", `{"x":"`, "xx\" , \"message_id\" :\n42 , \"from\" : null }\n", `null`, `42`},
		{"escapes", `{"x":"`, `","message_id":"\\","from":"\"t\\\""}`, `"\"t\\\""`, `"\\"`},
		{"twice", `{"x":"`, `","from":"u","message_id":"1","from":"t"}`, `"t"`, `"1"`},
		{"in a string of the device's", `{"data":{"a":"\",\"from\":\"v\"`, `\",\"from\":\"v\"}`, "", ""},
		{"in data", `{"data":{"from":"v","message_id":"9","a":"`, `","from":"v","message_id":"9"}}`, "", ""},
		{"of two payloads", `{"from":"t","message_id":"1","data":"`, `","message_id":"2","from":"t"}`, "", ""},
		{"cut inside", `{"from":"t","message_id":"1`, `2","x":"y"}`, `"t"`, ""},
		{"its quote is not there", ``, `1","from":"t"}`, `"t"`, ""},
		{"nothing", ``, ``, "", ""},
	} {
		var bad *DecodeError
		if _, err := DecodeEnds([]byte(c.head), []byte(c.tail)); !errors.As(err, &bad) {
			t.Fatalf("%s: %v", c.name, err)
		}
		got := func(n Name) string {
			if !n.Given() {
				return ""
			}
			return string(appendName(nil, n))
		}
		if got(bad.From) != c.from || got(bad.MessageID) != c.id {
			t.Errorf("%s: from %s, message_id %s", c.name, got(bad.From), got(bad.MessageID))
		}
	}
	f, err := DecodeEnds([]byte(`{"message_type":"nack","error_description":"`), []byte(`","message_id":"1","from":"t","error":"BAD_ACK"}`))
	if err != nil || f.Kind != Nack || f.MessageID.Text != "1" || f.Code != "BAD_ACK" {
		t.Errorf("a nack is read as %+v, %v", f, err)
	}
}

// Places says where an upstream's fields are in its payload.
func TestPlaces(t *testing.T) {
	for payload, want := range map[string]entry.Places{
		`{"from":"tok","message_id":"m","category":"c","data":{"from":"tok"}}`: {From: 9, MessageID: 28, Category: 43, Data: 53},
		` {"data" : {} , "message_id" : 42 ,"from" : "t" }`:                    {Data: 11, MessageID: 31, From: 45},
		`{"from":"tok","message_id":"m","data":null}`:                          {From: 9, MessageID: 28},
	} {
		b := append(make([]byte, 0, len(payload)+7), payload...)
		f, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if f.Places != want {
			t.Errorf("%s: %+v, want %+v", payload, f.Places, want)
		}
		for _, part := range []struct {
			at   int
			text string
		}{{f.Places.From, f.From.Text}, {f.Places.MessageID, f.MessageID.Text}, {f.Places.Category, f.Category}, {f.Places.Data, string(f.Data)}} {
			if part.at > 0 && !strings.HasPrefix(payload[part.at:], part.text) {
				t.Errorf("%s: %q is not at %d", payload, part.text, part.at)
			}
		}
	}
}
