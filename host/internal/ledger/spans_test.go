package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// What is traced is read back with its span, and a record without one has not a byte more.
func TestSpansInRecords(t *testing.T) {
	is := &entry.TraceSpan{Trace: [16]byte{1, 15: 2}, ID: [8]byte{3, 7: 4}, Hops: 5}
	raw := []byte(`{"from":"phone","data":{"k":"v"}}`)
	checked, err := message.Downstream{MessageID: "m1", Session: "1", To: message.Token("phone")}.Checked()
	if err != nil {
		t.Fatal(err)
	}
	checked.Session = "1"
	at := time.Unix(1, 0)
	for name, body := range map[string]any{
		"upstream": &message.Upstream{Session: "1", From: "phone", Raw: raw, Data: raw[24:31], Received: time.UnixMilli(0)},
		"outcome":  &message.Outcome{Session: "1", MessageID: "m1", To: message.Token("phone"), Status: message.Acked},
		"timer":    &timer{Timer: message.Timer{Session: "1", Key: "k", Due: at}, plugin: "echo", span: is},
	} {
		e := envelope{plugin: "echo", body: body, trace: is}
		if name == "upstream" {
			e.plugin = ""
		}
		with := appendEnvelope(nil, e)
		r := reader{b: with[1:]}
		if got := readEnvelope(&r); r.done() != nil || !cmp.Equal(got.trace, is) || !cmp.Equal(got.heading().trace, is) {
			t.Errorf("%s: %+v, %v", name, got.trace, r.done())
		}
		r = reader{b: with[1:]}
		if h := readHeading(&r); r.done() != nil || !cmp.Equal(h.trace, is) || h.session != "1" {
			t.Errorf("heading of %s: %+v, %v", name, h, r.done())
		}
		if e.trace = nil; name == "timer" {
			body.(*timer).span = nil
		}
		without := appendEnvelope(nil, e)
		r = reader{b: without[1:]}
		if got := readEnvelope(&r); r.done() != nil || got.trace != nil || len(with)-len(without) != spanBytes {
			t.Errorf("%s without: %+v, %v, %d bytes less", name, got.trace, r.done(), len(with)-len(without))
		}
	}
	p := parcel{accepted: at, expires: at, owner: "echo", trace: is, message: &checked}
	content := appendContent(nil, &checked)
	with := appendParcel(nil, p, content)
	r := reader{b: with[1:]}
	if got := readParcel(&r); r.done() != nil || !cmp.Equal(got.trace, is) || got.owner != "echo" {
		t.Errorf("downstream: %+v, %v", got, r.done())
	}
	p.trace = nil
	if n := len(with) - len(appendParcel(nil, p, content)); n != spanBytes {
		t.Errorf("a downstream without has %d bytes less", n)
	}
	s := summary{kind: entry.Upstream, session: "1", trace: is.Trace, messageID: "m1"}
	for range 2 {
		b := appendSummary(nil, 1, &summary{}, &s)
		r := reader{b: b, format: formatLife, key: make([]byte, 17)}
		got := r.summaries()
		if len(got) != 1 || got[0].trace != s.trace || got[0].messageID != "m1" {
			t.Errorf("summary: %+v", got)
		}
		s.trace = [16]byte{}
	}
}
