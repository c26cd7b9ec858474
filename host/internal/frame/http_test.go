package frame

import (
	"encoding/json"
	"strings"
	"testing"
)

// The bodies of the fact sheet, each as it stands there.
func TestBodiesAreThoseOfTheSheet(t *testing.T) {
	raws, wrong := SplitMessages([]byte(`{"messages":[{"message_id":"m1","category":"com.example.courier","from":"f","data":{"a":1},"time_to_live":3600}]}`))
	if wrong != nil || len(raws) != 1 {
		t.Fatal(wrong)
	}
	m, wrong := DecodeMessage(raws[0])
	if wrong != nil || m.MessageID != "m1" || m.Category != "com.example.courier" || m.From != "f" || string(m.Data) != `{"a":1}` || *m.TimeToLive != 3600 {
		t.Errorf("%+v, %v", m, wrong)
	}
	if raws, wrong = SplitMessages([]byte(` {"message_id":"m1"} `)); wrong != nil || len(raws) != 1 {
		t.Errorf("one: %s, %v", raws, wrong)
	}
	raws, wrong = SplitReceipts([]byte(`{"receipts":[{"original_message_id":"d-1","status":"MESSAGE_SENT_TO_DEVICE","timestamp":1790000000000}]}`))
	if wrong != nil || len(raws) != 1 {
		t.Fatal(wrong)
	}
	if r, wrong := DecodeReceipt(raws[0]); wrong != nil || r != (Receipt{OriginalMessageID: "d-1", Status: "MESSAGE_SENT_TO_DEVICE", Timestamp: 1790000000000}) {
		t.Errorf("%+v, %v", r, wrong)
	}
	b, err := json.Marshal(Results{[]Result{{MessageID: "m1", Status: Stored}, {MessageID: "m3", Status: Refused, Code: CodeInvalidJSON, Description: "data: …"}}})
	if want := `{"results":[{"message_id":"m1","status":"stored"},{"message_id":"m3","status":"refused","error":"INVALID_JSON","description":"data: …"}]}`; err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	if b, err := json.Marshal(Wrong(CodeNoRoom, "later")); err != nil || string(b) != `{"error":"NO_ROOM","description":"later"}` {
		t.Errorf("%s, %v", b, err)
	}
}

// What can't be stored is refused, and says why; the id is there if it could be read.
func TestBadMessages(t *testing.T) {
	for in, want := range map[string]string{
		`{"message_id":"m","data":[]}`:                                            CodeInvalidField,
		`{"message_id":"m","data":"x"}`:                                           CodeInvalidField,
		`{"message_id":"m","time_to_live":-1}`:                                    CodeInvalidField,
		`{"message_id":"m","time_to_live":1.5}`:                                   CodeInvalidJSON,
		`{"message_id":"m","time_to_live":"1"}`:                                   CodeInvalidJSON,
		`{"message_id":"m","from":7}`:                                             CodeInvalidJSON,
		`{"message_id":"m","data":{"a":"\udc00"}}`:                                CodeInvalidJSON,
		"{\"message_id\":\"m\",\"data\":{\"a\":\"\xff\"}}":                        CodeInvalidJSON,
		`{"message_id":"m","data":{"a":"` + strings.Repeat("x", MaxFrame) + `"}}`: CodeTooBig,
	} {
		if m, wrong := DecodeMessage([]byte(in)); wrong == nil || wrong.Code != want || m.MessageID != "m" {
			t.Errorf("%.60s: %+v, %v", in, m.MessageID, wrong)
		}
	}
	for _, in := range []string{`{}`, `{"message_id":""}`, `{"message_id":7}`, `null`, `[]`, ``, strings.Repeat("[", 1<<16)} {
		if _, wrong := DecodeMessage([]byte(in)); wrong == nil {
			t.Errorf("%.60s is taken", in)
		}
	}
	if m, wrong := DecodeMessage([]byte(`{"message_id":"m","data":null}`)); wrong != nil || m.Data != nil {
		t.Errorf("null: %s, %v", m.Data, wrong)
	}
	for _, in := range []string{`{"original_message_id":"d","status":"open"}`, `{"original_message_id":"d","status":"` + strings.Repeat("A", 65) + `"}`,
		`{"original_message_id":"d","status":"OPENED","timestamp":-1}`, `{"original_message_id":"d","status":"OPENED","timestamp":253402300800000}`, `{"status":"OPENED"}`} {
		if _, wrong := DecodeReceipt([]byte(in)); wrong == nil {
			t.Errorf("%s is taken", in)
		}
	}
}

// P10: no body makes the decoders panic; what they take makes an envelope that is JSON, has
// the same fields, and has them where Places says.
func FuzzSplitMessages(f *testing.F) {
	f.Add([]byte(`{"messages":[{"message_id":"m1","category":"c","from":"f","data":{"a":"é"},"time_to_live":3600},{}]}`))
	f.Add([]byte(`{"message_id":"\u003c\ud83d\ude00","from":"a\"b"}`))
	f.Add([]byte(`{"MESSAGES":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		raws, wrong := SplitMessages(b)
		if wrong == nil && (len(raws) == 0 || len(raws) > MaxBatch) {
			t.Fatalf("%d messages", len(raws))
		}
		for _, raw := range raws {
			m, wrong := DecodeMessage(raw)
			if wrong != nil {
				continue
			}
			text, places := m.Envelope()
			again, wrong := DecodeMessage(text)
			if len(text) > MaxFrame { // some texts are longer when they are written again
				continue
			}
			if wrong != nil || again.MessageID != m.MessageID || again.From != m.From || again.Category != m.Category || string(again.Data) != string(m.Data) {
				t.Fatalf("%q became %q: %v", raw, text, wrong)
			}
			if m.Data != nil && string(text[places.Data:places.Data+len(m.Data)]) != string(m.Data) || text[places.MessageID-1] != '"' || text[places.From-1] != '"' {
				t.Fatalf("%q: %+v", text, places)
			}
		}
	})
}

// P10: no body makes the decoders of receipts panic, or take what can't be one.
func FuzzSplitReceipts(f *testing.F) {
	f.Add([]byte(`{"receipts":[{"original_message_id":"d-1","status":"OPENED","timestamp":1790000000000},{"status":7}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		raws, _ := SplitReceipts(b)
		for _, raw := range raws {
			if r, wrong := DecodeReceipt(raw); wrong == nil && r.Check() != nil {
				t.Fatalf("%q: %v", raw, r.Check())
			}
		}
	})
}
