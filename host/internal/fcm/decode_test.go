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
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

var payloads = []struct {
	name, in string
	want     Frame
}{
	{"upstream", `{"data":{"act":"sos","lat":"1.5"},"time_to_live":86400,"from":"tokA","message_id":"42","category":"com.example.courier"}`,
		Frame{Kind: Upstream, From: "tokA", MessageID: "42", Category: "com.example.courier", Data: raw(`{"act":"sos","lat":"1.5"}`)}},
	{"data as it came", ` { "from" : "t" , "message_id" : "1" , "data" : { "a" : "\u0041\ud800" , "b":[1.50,null,{}] } } ` + "\n",
		Frame{Kind: Upstream, From: "t", MessageID: "1", Data: raw(`{ "a" : "\u0041\ud800" , "b":[1.50,null,{}] }`)}},
	{"without category and data", `{"from":"t","message_id":"1"}`, Frame{Kind: Upstream, From: "t", MessageID: "1"}},
	{"null is missing", `{"from":"t","message_id":"1","data":null,"category":null,"message_type":null}`, Frame{Kind: Upstream, From: "t", MessageID: "1"}},
	{"empty type", `{"from":"t","message_id":"1","message_type":""}`, Frame{Kind: Upstream, From: "t", MessageID: "1"}},
	{"escapes in ids", `{"from":"a\/b\"\\\u00e9\ud83d\ude00\n","message_id":"\u0000"}`, Frame{Kind: Upstream, From: "a/b\"\\é😀\n", MessageID: "\x00"}},
	{"escapes in keys", `{"fr\u006fm":"t","message_id":"1"}`, Frame{Kind: Upstream, From: "t", MessageID: "1"}},
	{"the last of two", `{"from":"a","from":"t","message_id":"0","message_id":"1"}`, Frame{Kind: Upstream, From: "t", MessageID: "1"}},
	{"keys are exact", `{"From":"a","from":"t","message_id":"1","MESSAGE_ID":"2"}`, Frame{Kind: Upstream, From: "t", MessageID: "1"}},
	{"keys inside data are not ours", `{"data":{"from":"x","message_id":"2","message_type":"ack"},"from":"t","message_id":"1"}`,
		Frame{Kind: Upstream, From: "t", MessageID: "1", Data: raw(`{"from":"x","message_id":"2","message_type":"ack"}`)}},

	{"ack", `{"message_type":"ack","from":"tokA","message_id":"d-000017"}`, Frame{Kind: Ack, MessageType: "ack", From: "tokA", MessageID: "d-000017"}},
	{"ack with a new token", `{"message_type":"ack","from":"tokA","message_id":"d","registration_id":"tokA2"}`,
		Frame{Kind: Ack, MessageType: "ack", From: "tokA", MessageID: "d", RegistrationID: "tokA2"}},
	{"ack without from", `{"message_type":"ack","message_id":"d","registration_id":7}`, Frame{Kind: Ack, MessageType: "ack", MessageID: "d"}},
	{"nack", `{"message_type":"nack","from":"tokB","message_id":"d","error":"DEVICE_UNREGISTERED","error_description":""}`,
		Frame{Kind: Nack, MessageType: "nack", From: "tokB", MessageID: "d", Code: "DEVICE_UNREGISTERED"}},
	{"nack without description", `{"message_type":"nack","message_id":"d","error":"BAD_ACK"}`, Frame{Kind: Nack, MessageType: "nack", MessageID: "d", Code: "BAD_ACK"}},
	{"nack without id", `{"message_type":"nack","from":"t","error":"BAD_ACK"}`, Frame{Kind: Nack, MessageType: "nack", From: "t", Code: "BAD_ACK"}},
	{"nack of 2013", `{"message_type":"nack","message_id":"d","error":"InvalidJson : JSON_TYPE_ERROR : Field \"time_to_live\""}`,
		Frame{Kind: Nack, MessageType: "nack", MessageID: "d", Code: "InvalidJson", Description: `JSON_TYPE_ERROR : Field "time_to_live"`}},
	{"nack with a colon at once", `{"message_type":"nack","message_id":"d","error":"INVALID_JSON: x","error_description":"y"}`,
		Frame{Kind: Nack, MessageType: "nack", MessageID: "d", Code: "INVALID_JSON", Description: "y"}},
	{"nack without code frees its slot", `{"message_type":"nack","message_id":"d","error":400}`, Frame{Kind: Nack, MessageType: "nack", MessageID: "d"}},
	{"control", `{"message_type":"control","control_type":"CONNECTION_DRAINING"}`, Frame{Kind: Control, MessageType: "control", ControlType: ConnectionDraining}},
	{"unknown control", `{"message_type":"control","control_type":"X"}`, Frame{Kind: Control, MessageType: "control", ControlType: "X"}},
	{"receipt", `{"message_type":"receipt","from":"gcm.googleapis.com","message_id":"dr2:d-000017","category":"com.example.courier","time_to_live":0,` +
		`"data":{"message_status":"MESSAGE_SENT_TO_DEVICE","original_message_id":"d-000017","device_registration_id":"tokA","message_sent_timestamp":"1711000000123"}}`,
		Frame{Kind: Receipt, MessageType: "receipt", From: "gcm.googleapis.com", MessageID: "dr2:d-000017", Category: "com.example.courier",
			Receipt: ReceiptFields{"d-000017", "tokA", "MESSAGE_SENT_TO_DEVICE", time.UnixMilli(1711000000123)}}},
	{"receipt with little", `{"message_type":"receipt","message_id":"dr2:d","data":{"original_message_id":"d","message_sent_timestamp":1711000000123}}`,
		Frame{Kind: Receipt, MessageType: "receipt", From: "gcm.googleapis.com", MessageID: "dr2:d",
			Receipt: ReceiptFields{OriginalMessageID: "d", SentAt: time.UnixMilli(1711000000123)}}},
	{"receipt of a mad clock", `{"message_type":"receipt","message_id":"dr2:d","data":{"original_message_id":"d","message_sent_timestamp":"9223372036854775807"}}`,
		Frame{Kind: Receipt, MessageType: "receipt", From: "gcm.googleapis.com", MessageID: "dr2:d", Receipt: ReceiptFields{OriginalMessageID: "d"}}},
	{"unknown type", `{"message_type":"hello","from":"t","message_id":"1","x":[]}`, Frame{Kind: Unknown, MessageType: "hello", From: "t", MessageID: "1"}},
	{"type is no string", `{"message_type":7,"from":"t","message_id":"1"}`, Frame{Kind: Unknown, From: "t", MessageID: "1"}},
}

func TestDecode(t *testing.T) {
	for _, c := range payloads {
		t.Run(c.name, func(t *testing.T) {
			got, err := Decode([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// P1: what cannot be understood still says whom to ack, where that can be read;
// and nothing but an upstream or a receipt ever does.
var unusable = []struct{ name, in, from, id, reason string }{
	{"nothing", ``, "", "", "ends at byte 0"},
	{"no object", `[]`, "", "", "want an object"},
	{"text", `hello`, "", "", "want an object"},
	{"empty object", `{}`, "", "", "from is missing"},
	{"without from", `{"message_id":"1"}`, "", "1", "from is missing"},
	{"without id", `{"from":"t"}`, "t", "", "message_id is missing"},
	{"empty id", `{"from":"t","message_id":""}`, "t", "", "message_id is missing"},
	{"id is a number", `{"from":"t","message_id":42}`, "t", "", "message_id is a number, not a string"},
	{"from is an object", `{"from":{},"message_id":"1"}`, "", "1", "from is an object, not a string"},
	{"id nobody can give back", `{"from":"t","message_id":"\ud800"}`, "t", "", "half a surrogate pair"},
	{"data is an array", `{"from":"t","message_id":"1","data":[]}`, "t", "1", "data is an array, not an object"},
	{"data is a string", `{"from":"t","message_id":"1","data":"{}"}`, "t", "1", "data is a string, not an object"},
	{"category is a boolean", `{"from":"t","message_id":"1","category":true}`, "t", "1", "category is a boolean, not a string"},
	{"cut", `{"from":"t","message_id":"1","data":{"a":"b`, "t", "1", "ends at byte 43"},
	{"cut before the id", `{"data":{},"from":"t","message_id":"1`, "t", "", "ends at byte 37"},
	{"broken behind", `{"from":"t","message_id":"1"} x`, "t", "1", "want nothing more"},
	{"broken ack", `{"message_type":"ack","from":"t","message_id":"1",}`, "", "", "want a string"},
	{"broken nack", `{"from":"t","message_id":"1","message_type":"nack","error":tru}`, "", "", "want a value"},
	{"broken unknown", `{"from":"t","message_id":"1","message_type":"x",`, "", "", "ends at"},
	{"ack without id", `{"message_type":"ack","from":"t"}`, "", "", "message_id is missing"},
	{"receipt without data", `{"message_type":"receipt","from":"g","message_id":"dr2:1"}`, "g", "dr2:1", "data is missing"},
	{"receipt of odd data", `{"message_type":"receipt","message_id":"dr2:1","data":"x"}`, "gcm.googleapis.com", "dr2:1", "data is a string"},
	{"receipt without original", `{"message_type":"receipt","from":"g","message_id":"dr2:1","data":{}}`, "g", "dr2:1", "data.original_message_id is missing"},
	{"receipt without id", `{"message_type":"receipt","from":"g","data":{"original_message_id":"1"}}`, "g", "", "message_id is missing"},
	{"not UTF-8", "{\"from\":\"t\",\"message_id\":\"1\xff\"}", "", "", "not UTF-8"},
	{"raw control", "{\"from\":\"t\",\"message_id\":\"1\n\"}", "t", "", "control character"},
	{"odd escape", `{"from":"t","message_id":"\x"}`, "t", "", "want an escape"},
	{"short escape", `{"from":"t","message_id":"\u12"}`, "t", "", "want an escape"},
	{"leading zero", `{"a":01}`, "", "", "want ',' or '}'"},
	{"bare fraction", `{"a":.5}`, "", "", "want a value"},
	{"no fraction", `{"a":1.}`, "", "", "want a digit"},
	{"no exponent", `{"a":1e+}`, "", "", "want a digit"},
	{"nested for ever", `{"from":"t","message_id":"1","data":` + strings.Repeat(`[`, 1<<20), "t", "1", "nested deeper than 500"},
	{"as nested as may be, and an array", `{"from":"t","message_id":"1","data":` + strings.Repeat(`[`, maxDepth) + strings.Repeat(`]`, maxDepth) + `}`, "t", "1", "data is an array"},
}

func TestDecodeUnusable(t *testing.T) {
	for _, c := range unusable {
		t.Run(c.name, func(t *testing.T) {
			f, err := Decode([]byte(c.in))
			var bad *DecodeError
			if !errors.As(err, &bad) {
				t.Fatalf("got %+v, %v", f, err)
			}
			if bad.From != c.from || bad.MessageID != c.id || !strings.Contains(bad.Reason, c.reason) {
				t.Errorf("got %+v, want from %q, id %q, %q", bad, c.from, c.id, c.reason)
			}
		})
	}
}

// FuzzDecode holds the scanner to encoding/json.
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
				!strings.Contains(err.Error(), "surrogate") {
				t.Fatalf("refused: %v", err)
			}
			return
		}
		if broken {
			t.Fatalf("took what encoding/json refuses: %+v", got)
		}
		for _, c := range []struct{ name, got string }{
			{"message_type", got.MessageType}, {"from", got.From}, {"message_id", got.MessageID}, {"category", got.Category},
		} {
			w := oracle(t, want, c.name)
			if w == "!" || w == "" && got.Kind == Receipt || strings.Contains(w, "\uFFFD") {
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

// oracle is a string as encoding/json reads it: "" for none, "!" for another type.
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
