package fcm

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"balhost/host/internal/xmpp"
	"balhost/sdk/message"
)

func TestAppendDownstream(t *testing.T) {
	for _, c := range []struct {
		name string
		in   message.Checked
		ttl  *time.Duration
		want string
	}{
		{"least", message.Checked{To: message.Token("tokA"), MessageID: "d"}, nil, `{"to":"tokA","message_id":"d"}`},
		{"topic", message.Checked{To: message.Topic("news"), MessageID: "d"}, nil, `{"to":"/topics/news","message_id":"d"}`},
		{"condition", message.Checked{To: message.Condition("'a' in topics && 'b' in topics"), MessageID: "d"}, nil,
			`{"condition":"'a' in topics \u0026\u0026 'b' in topics","message_id":"d"}`},
		{"payload as it came", message.Checked{To: message.Token("t"), MessageID: "d", Data: raw(`{ "k":"<&>\ud800" }`), Notification: raw(`{"title":"é"}`)}, nil,
			`{"to":"t","message_id":"d","data":{ "k":"<&>\ud800" },"notification":{"title":"é"}}`},
		{"empty payload", message.Checked{To: message.Token("t"), MessageID: "d", Data: raw(""), Notification: json.RawMessage(nil)}, nil, `{"to":"t","message_id":"d"}`},
		{"every option", message.Checked{To: message.Token("t"), MessageID: "d", Options: message.Options{Priority: message.PriorityHigh,
			CollapseKey: "ride", DryRun: true, ReceiptRequested: true, ContentAvailable: true, MutableContent: true}}, message.TTL(time.Hour),
			`{"to":"t","message_id":"d","collapse_key":"ride","priority":"high","time_to_live":3600,"content_available":true,"mutable_content":true,"delivery_receipt_requested":true,"dry_run":true}`},
		{"TTL 0 is not unset", message.Checked{To: message.Token("t"), MessageID: "d"}, message.TTL(0), `{"to":"t","message_id":"d","time_to_live":0}`},
		{"TTL rounds down", message.Checked{To: message.Token("t"), MessageID: "d"}, message.TTL(1999 * time.Millisecond), `{"to":"t","message_id":"d","time_to_live":1}`},
		{"TTL never under 0", message.Checked{To: message.Token("t"), MessageID: "d"}, message.TTL(-time.Hour), `{"to":"t","message_id":"d","time_to_live":0}`},
		{"what remains counts", message.Checked{To: message.Token("t"), MessageID: "d", Options: message.Options{TTL: message.TTL(time.Hour)}}, message.TTL(time.Minute),
			`{"to":"t","message_id":"d","time_to_live":60}`},
		{"host's own fields stay here", message.Checked{To: message.Token("t"), MessageID: "d", Group: "g", Session: "s", Context: raw(`{"secret":1}`)}, nil, `{"to":"t","message_id":"d"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := AppendDownstream([]byte("x"), c.in, c.ttl)
			if string(got) != "x"+c.want {
				t.Errorf("got %s\nwant x%s", got, c.want)
			}
			if !json.Valid(got[1:]) {
				t.Error("it is not JSON")
			}
		})
	}
}

func TestAppendAck(t *testing.T) {
	if got := string(AppendAck(nil, Name{Text: "gcm.googleapis.com"}, Name{Text: "dr2:d-000017"})); got != `{"to":"gcm.googleapis.com","message_id":"dr2:d-000017","message_type":"ack"}` {
		t.Error(got)
	}
}

// P1: the ack gives back every id as it came. The ack's text is plain XML text.
func FuzzAck(f *testing.F) {
	for _, s := range []string{"42", "\x00\x1f\"\\/", "<&>]]>", "é漢😀\u2028\uFFFD", "\uFFFE\uFFFF", "\x7f"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, to, id string) {
		ack := AppendAck(nil, Name{Text: to}, Name{Text: id})
		if strings.ContainsAny(string(ack), "<>&\uFFFE\uFFFF") || !utf8.Valid(ack) {
			t.Fatalf("XML cannot carry %q", ack)
		}
		var got struct{ To, Message_id, Message_type string }
		if err := json.Unmarshal(ack, &got); err != nil || got.Message_type != "ack" {
			t.Fatalf("%s: %v", ack, err)
		}
		if utf8.ValidString(to) && utf8.ValidString(id) && (got.To != to || got.Message_id != id) {
			t.Fatalf("%s gives %q, %q", ack, got.To, got.Message_id)
		}
		if to == "" || id == "" || !utf8.ValidString(to) || !utf8.ValidString(id) {
			return
		}
		again, err := Decode(AppendAck(nil, Name{Text: to}, Name{Text: id}))
		if err != nil || again.Kind != Ack || again.MessageID.Text != id {
			t.Fatalf("Decode reads %+v, %v", again, err)
		}
	})
}

func BenchmarkAppendAck(b *testing.B) {
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		AppendAck(dst, Name{Text: "APA91bH-0123456789-0123456789-0123456789"}, Name{Text: "1234"})
	}
}

// P1: a name is given back as it came, whatever JSON value it is. A character
// that XML can't carry becomes an escape.
func TestAckGivesBackTheToken(t *testing.T) {
	for _, c := range []struct{ token, want string }{
		{`"1"`, `"1"`}, {`"A\/é"`, `"A/é"`}, {`42`, `42`}, {`42.0`, `42.0`}, {`1e3`, `1e3`}, {`-0`, `-0`},
		{`true`, `true`}, {`null`, `null`}, {`{"a":[1, 2]}`, `{"a":[1, 2]}`}, {`""`, `""`},
		{`"x\ud83d"`, `"x\ud83d"`}, {`"\ude00\ud83d"`, `"\ude00\ud83d"`}, {`"\ud83d<&>"`, `"\ud83d\u003c\u0026\u003e"`},
		{"\"\x0b\"", `"\u000b"`}, {"\"\n\"", `"\u000a"`}, {"\"\uFFFF\"", `"\uffff"`}, {"\"\u2028\"", "\"\u2028\""},
		{"\"\xe9\"", `"é"`}, {"\"\xed\xa0\xbd\xed\xb8\x80\"", `"\ud83d\ude00"`}, {"\"\xc0\x80\"", `"\u0000"`}, {"\"\xc0\xbc\"", `"\u003c"`},
		{strings.Repeat("9", 5000), strings.Repeat("9", 5000)}, {"{\"a\n\":\n1}", "{\"a\\u000a\":\n1}"},
	} {
		for _, b := range []string{`{"from":"t","message_id":` + c.token + `}`, `{"data":{"a":tru},"message_id":` + c.token + ` , "from":"t"}`} {
			f, err := Decode([]byte(b))
			n := f.MessageID
			if bad := (*DecodeError)(nil); errors.As(err, &bad) {
				n = bad.MessageID
			}
			got := string(appendName(nil, n))
			if got != c.want && got != appendQuoted(c.want) || !json.Valid([]byte(got)) || !utf8.ValidString(n.Text) {
				t.Errorf("%s is given back as %s, want %s", b, got, c.want)
			}
			if _, err := xmpp.AppendMessage(nil, "", []byte(got)); err != nil {
				t.Errorf("%s: %v", b, err)
			}
		}
	}
}

// appendQuoted is want as an ack writes it for a Name with Text alone.
func appendQuoted(want string) string {
	var s string
	if json.Unmarshal([]byte(want), &s) != nil {
		return ""
	}
	return string(appendString(nil, s))
}
