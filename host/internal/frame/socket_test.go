package frame

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// The frames of the fact sheet, each as it stands there.
var sheet = []struct {
	text string
	want Frame
}{
	{`{"type":"hello","token":"T","from":"phone-1","category":"com.example","receive_max":20,"received":["d-1"]}`,
		Frame{Type: TypeHello, Token: "T", From: "phone-1", Category: "com.example", ReceiveMax: 20, Received: []string{"d-1"}}},
	{`{"type":"welcome","max_unacked":20,"ping":25,"time":1790000000000}`,
		Frame{Type: TypeWelcome, MaxUnacked: 20, PingSeconds: 25, Time: 1790000000000}},
	{`{"type":"upstream","message_id":"m1","data":{},"time_to_live":3600}`,
		Frame{Type: TypeUpstream, MessageID: "m1", Data: json.RawMessage("{}"), TimeToLive: seconds(3600)}},
	{`{"type":"ack","message_id":"m1"}`, Frame{Type: TypeAck, MessageID: "m1"}},
	{`{"type":"nack","message_id":"m1","error":"NO_ROOM","temporary":true,"retry_after":30}`,
		Frame{Type: TypeNack, MessageID: "m1", Error: "NO_ROOM", Temporary: true, RetryAfter: 30}},
	{`{"type":"downstream","message_id":"d-2","data":{"a":"b"},"collapse_key":"k","time_to_live":0,"attempt":1}`,
		Frame{Type: TypeDownstream, MessageID: "d-2", Data: json.RawMessage(`{"a":"b"}`), CollapseKey: "k", TimeToLive: seconds(0), Attempt: 1}},
	{`{"type":"receipt","original_message_id":"d-2","status":"OPENED","timestamp":1790000000000}`,
		Frame{Type: TypeReceipt, Original: "d-2", Status: "OPENED", Timestamp: 1790000000000}},
	{`{"type":"pong"}`, Frame{Type: TypePong}},
	{`{"type":"ping"}`, Frame{Type: TypePing}},
	{`{"type":"drain","retry_after":5}`, Frame{Type: TypeDrain, RetryAfter: 5}},
}

func seconds(n int64) *int64 { return &n }

// Both ends read and write what C3 says, and unknown fields and types do no harm.
func TestFramesAreThoseOfTheSheet(t *testing.T) {
	for _, c := range sheet {
		for _, in := range []string{c.text, " \n" + strings.Replace(c.text, "{", `{"new":[{"type":1}],`, 1) + " "} {
			if got, err := DecodeFrame([]byte(in)); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: %+v, %v", in, got, err)
			}
		}
		var got, want any
		b := c.want.Append(nil)
		if json.Unmarshal(b, &got) != nil || json.Unmarshal([]byte(c.text), &want) != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s was written as %s", c.text, b)
		}
	}
	if f, err := DecodeFrame([]byte(`{"type":"tomorrow"}`)); f.Type != "tomorrow" || err != nil {
		t.Errorf("an unknown type: %+v, %v", f, err)
	}
}

// A frame that can't be read is an error that says why; a wrong field does not hide the
// message's id, so that it can be refused.
func TestBadFrames(t *testing.T) {
	for in, want := range map[string]error{
		``: ErrNotJSON, `null`: ErrNotJSON, `[]`: ErrNotJSON, `"hello"`: ErrNotJSON, `{`: ErrNotJSON, `{} {}`: ErrNotJSON,
		`{"type":"upstream","message_id":"\ud800"}`: ErrHalf, `{"type":"hello","received":["a","\udc00"]}`: ErrHalf,
		`{}`: ErrNoType, `{"type":""}`: ErrNoType, "{\"type\":\"\xff\"}": ErrNotUTF8,
		strings.Repeat("[", 1<<16):                                     ErrDeep,
		`{"a":` + strings.Repeat(`{"a":`, maxDepth):                    ErrDeep,
		`{"data":` + strings.Repeat("[", 40) + strings.Repeat("]", 40): ErrNotJSON,
		`{"type":"` + strings.Repeat(`[\"`, 100) + `"} x`:              ErrNotJSON, // brackets in a text are no depth
	} {
		if _, err := DecodeFrame([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%.60s: %v, want %v", in, err, want)
		}
	}
	f, err := DecodeFrame([]byte(`{"type":"upstream","time_to_live":"1","message_id":"m"}`))
	bad := new(FieldError)
	if !errors.As(err, &bad) || bad.Field != "time_to_live" || f.MessageID != "m" || f.Type != TypeUpstream {
		t.Errorf("a wrong field: %+v, %v", f, err)
	}
}

// odd are frames that are nearly as most devices write them.
var odd = []string{
	`{"type":"ack","message_id":"a","message_id":"b"}`, `{"type":"ack","Message_ID":"a"}`, `{"type":"ack","message_id":"\u0061"}`,
	`{"type":"ack","message_id":null}`, `{"type":"ack","message_id":""}`, `{"type":"ack","message_id":"","message_id":"b"}`,
	`{"type":"upstream","data":{"a":}}`, `{"type":"upstream","data":{]}`, `{"type":"upstream","data":{"a":[1,{"b":"}"}]},"category":"c"}`,
	`{"type":"upstream","data":{},"data":{"a":1}}`, `{"type":"upstream","data":null}`, `{"type":"upstream","data":{"a":1,"a":2}}`,
	`{"type":"upstream","time_to_live":0}`, `{"type":"upstream","time_to_live":01}`, `{"type":"upstream","time_to_live":9223372036854775808}`,
	`{"type":"upstream","time_to_live":1.0}`, `{"type":"upstream","time_to_live":-1}`, `{"type":"upstream","time_to_live":1e3}`,
	`{"type":"ack",}`, `{"type":"ack"},`, `{"type":"ack"}}`, `{"type":"ack"`, `{,"type":"ack"}`, `{"type":"ack","message_id":"�"}`,
	"{\"type\":\"ack\",\"message_id\":\"\n\"}", `{"type":"receipt","original_message_id":"d","status":"OPENED"}`,
	`{"type":"","type":"ack"}`, `{"type":"tomorrow","data":{"x":{"y":["{"]}}}`,
}

// The quick way reads nothing in another way than encoding/json does, and reads what most
// devices write.
func TestQuickFrames(t *testing.T) {
	for _, text := range odd {
		if quick, ok := quick([]byte(text)); ok {
			if slow, err := decode([]byte(text)); err != nil || !reflect.DeepEqual(quick, slow) {
				t.Errorf("%s: %+v, and the slow way %+v, %v", text, quick, slow, err)
			}
		}
	}
	for _, text := range []string{
		`{"type":"upstream","message_id":"m1","data":{"a":"b\\","c":["d"]},"time_to_live":3600,"category":"com.example"}`,
		`{"type":"ack","message_id":"m1"}`, `{"type":"pong"}`, `{"type":"receipt","original_message_id":"d-2","status":"OPENED"}`,
	} {
		if _, ok := quick([]byte(text)); !ok {
			t.Errorf("%s is not read in the quick way", text)
		}
	}
}

// What Append writes of any texts is read back as it was.
func TestFrameTextsSurvive(t *testing.T) {
	for _, s := range []string{"a", `"`, `\`, "\n", "日本", "\u2028", "<&>", strings.Repeat("x", 4096)} {
		want := Frame{Type: TypeNack, MessageID: s, Original: s, Status: s, CollapseKey: s, Error: s, Description: s,
			Category: s, From: s, Token: s, AppCheck: s, Received: []string{s, s}}
		if got, err := DecodeFrame(want.Append(nil)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
}

// P10: no bytes make DecodeFrame panic, and what it takes can be written and read again.
func FuzzDecodeFrame(f *testing.F) {
	for _, c := range sheet {
		f.Add([]byte(c.text))
	}
	for _, text := range odd {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err := DecodeFrame(b)
		if err != nil {
			return
		}
		if slow, err := decode(b); err != nil || !reflect.DeepEqual(one, slow) {
			t.Fatalf("%q: %+v, and the slow way %+v, %v", b, one, slow, err)
		}
		again, err := DecodeFrame(one.Append(nil))
		if err != nil || again.Type != one.Type || again.MessageID != one.MessageID || string(again.Data) != string(one.Data) ||
			len(again.Received) != len(one.Received) {
			t.Errorf("%q: %+v, then %+v, %v", b, one, again, err)
		}
	})
}

func BenchmarkDecodeUpstream(b *testing.B) {
	in := []byte(`{"type":"upstream","message_id":"01J0000000000000000000","data":{"text":"hello there","room":"lobby"},"time_to_live":3600}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeFrame(in); err != nil {
			b.Fatal(err)
		}
	}
}
