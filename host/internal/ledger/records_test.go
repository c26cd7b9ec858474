package ledger

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/host/internal/fcm"
	"balhost/sdk/message"
)

// roundTrip seals what was appended and reads it back, with every field set.
func roundTrip[T any](t *testing.T, what string, want T, record []byte, read func(*reader) T) {
	t.Helper()
	key := []byte{kindSent, 'k', 'e', 'y'} // of a kind that has each format
	if what == "tally" {
		key[0] = kindMeta
	}
	record = sealRecord(record, 0, key)
	r, err := unseal(key, record)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	got := read(&r)
	if err := r.done(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if diff := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Errorf("%s (-written +read):\n%s", what, diff)
	}
	if _, err := unseal([]byte("other"), record); err == nil {
		t.Errorf("%s: taken for another key's record", what)
	}
	for cut := range record { // no panic, and never whole
		if r, err := unseal(key, sealRecord(append([]byte(nil), record[:cut]...), 0, key)); err == nil && cut < len(record)-crcSize {
			if read(&r); r.done() == nil && cut > 0 && what != "value" && what != "summaries" {
				t.Errorf("%s: cut to %d bytes it is still whole", what, cut)
			}
		}
	}
}

// TestRecords: what is written is what is read, field by field.
func TestRecords(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	id, other := ulid.MustParse("01HF7YAT3B0123456789ABCDEF"), ulid.MustParse("01HF7YAT3B0123456789ABCDXX")
	events := map[string]envelope{
		"upstream": {id: id, body: &message.Upstream{
			Session: "main", From: "tokA", Category: "com.example", MessageID: "7", Data: json.RawMessage(`{"a":"b"}`),
			Raw: json.RawMessage(`{"from":"tokA","data":{"a":"b"},"message_id":"7"}`), Received: ulid.Time(id.Time()),
		}},
		"upstream without data": {id: id, body: &message.Upstream{Session: "s", Raw: json.RawMessage(`{}`), Received: ulid.Time(id.Time())}},
		"outcome": {id: id, plugin: "p", group: 5, body: &message.Outcome{
			Session: "main", MessageID: "d", Group: "g", To: message.Condition("'a' in topics"), Status: message.Failed,
			Code: "C", Description: "D", NewToken: "N", Attempts: 3, Context: json.RawMessage(`1`),
		}},
		"outcome of an FID that is gone":  {id: id, plugin: "p", body: &message.Outcome{Session: "main", MessageID: "d", To: message.FID("cX"), Status: message.Failed, Gone: true}},
		"outcome of a token that is gone": {id: id, plugin: "p", body: &message.Outcome{Session: "main", MessageID: "d", To: message.Token("cX"), Status: message.Failed, Gone: true}},
		"outcome of an FID":               {id: id, plugin: "p", body: &message.Outcome{Session: "main", MessageID: "d", To: message.FID("cX"), Status: message.Expired}},
		"receipt": {id: id, plugin: "p", group: 5, body: &inboundReceipt{ccsID: "dr2:d", Receipt: message.Receipt{
			Session: "main", OriginalMessageID: "d", Device: "tokA", Category: "c", Status: "S", SentAt: at,
		}}},
		"timer": {id: id, plugin: "p", body: &timer{
			Timer:  message.Timer{Session: "main", Device: "tokA", Key: "k", Data: json.RawMessage(`1`), Due: at},
			plugin: "p", lane: entry.Lane{Kind: entry.Outcome, Hash: 6, Key: 7}, loose: true, cause: id,
		}},
	}
	for what, e := range events {
		roundTrip(t, what, e, appendEnvelope(nil, e), func(r *reader) envelope { return readEnvelope(r) })
		d := dead{seq: 9, died: at, attempts: 2, plugin: "p", reason: "because", event: e, tries: []attempt{{number: 2, note: "because"}}}
		roundTrip(t, "dead "+what, d, appendDead(nil, d, appendEnvelope(nil, e)[1:]), func(r *reader) dead { return readDead(r) })
	}
	m := &message.Checked{
		To: message.Topic("news"), Data: json.RawMessage(`{"a":"b"}`), Notification: json.RawMessage(`{"title":"t"}`),
		Group: "g", MessageID: "d", Session: "main", Context: json.RawMessage(`{}`), NotBefore: at.UTC(), Replace: "r",
		Options: message.Options{
			TTL: message.TTL(time.Hour), Priority: message.PriorityHigh, CollapseKey: "k", DryRun: true, ReceiptRequested: true,
			ContentAvailable: true, MutableContent: true, Android: json.RawMessage(`1`), APNS: json.RawMessage(`2`), Webpush: json.RawMessage(`3`),
		},
	}
	for _, m := range []*message.Checked{m, {To: message.FID("cX"), MessageID: "d", Session: "s"}, {To: message.Token("cX"), MessageID: "d", Session: "s"}, {MessageID: "d", Session: "s", Options: message.Options{TTL: message.TTL(0)}}, {MessageID: "d", Session: "s", Replace: "r"}} {
		p := parcel{cause: other, notBefore: m.NotBefore.Local(), tell: true, accepted: at, expires: at.Add(time.Hour), owner: "p", message: m}
		roundTrip(t, "parcel", p, appendParcel(nil, p, appendContent(nil, m)), readParcel)
	}
	past := []attempt{
		{number: 1, began: at.UnixNano(), took: time.Second, version: "1.0", note: "busy"},
		{number: 2, via: "ccs", code: "UNAVAILABLE"},
	}
	st := tries{attempts: 4, due: at.UnixNano(), note: "busy", past: past}
	roundTrip(t, "tries", st, appendTries(nil, st), readTries)
	se := sent{seq: 8, content: digest{1, 2}, target: 6, group: 5, owner: "p"}
	roundTrip(t, "sent", se, appendSent(nil, se), readSent)
	tn := timerName{at: dueAt{due: 4, seq: 5}, event: 6}
	roundTrip(t, "timer name", tn, appendTimerName(nil, tn), readTimerName)
	v := value{version: 3, json: json.RawMessage(`{"x":1}`)}
	roundTrip(t, "value", v, appendValue(nil, v), readValue)
	ta := tally{
		at: at, commit: 1, replaces: 19, seq: 2, lastID: id, lowEvents: 3, lowSent: 4, purgedTo: 5, finished: 6, outcomes: 7, values: 8,
		counts: entry.Counts{Accepted: 9, Handled: 10, Died: 11, Sent: 12, Acked: 13, Failed: 14, Expired: 15, Canceled: 20, Events: 16, Downstreams: 17, Dead: 18, Timers: 21, Erased: 22},
	}
	roundTrip(t, "tally", ta, appendTally(nil, ta, at), readTally)
	all := []summary{
		{kind: entry.Upstream, id: id, attempts: 1, lane: 2, device: 2, target: "tokA", session: "main", category: "c", plugin: "p", messageID: "7"},
		{
			kind: entry.Upstream, id: id, attempts: 3, lane: 3, device: 3, session: "main", category: "c", plugin: "q", version: "1.2", messageID: "8",
			began: 7_000, took: time.Millisecond, past: past, made: 3, madeFrom: 4, madeTo: 9,
		},
		{
			seq: 4, status: message.Failed, attempts: 2, lane: 3, device: 6, target: "/topics/t", session: "main", plugin: "q", via: "ccs", messageID: "d", code: "C", detail: "D",
			accepted: -9_000, began: 6_000, took: time.Second, cause: other, receipt: true, told: true,
		},
		{seq: 5, status: message.Expired, accepted: 1_000, session: "main", plugin: "q", messageID: "e"},
		{kind: entry.Outcome, id: id, attempts: 1, lane: 8, device: 6, target: "tok", session: "other", plugin: "q", messageID: "d"},
		{kind: entry.Timer, id: other, attempts: 1, lane: 8, session: "other", plugin: "q", messageID: "key", cause: id},
	}
	record, last := []byte{formatLife}, summary{}
	for _, s := range all {
		record = appendSummary(record, 0, &last, &s)
		last = s.after(&last)
	}
	roundTrip(t, "summaries", all, record, (*reader).summaries)
}

// The places that came with an upstream save the search for its fields, and are
// believed nowhere: with none, and with wrong ones, the record reads the same.
func TestPlacesAreLookedAt(t *testing.T) {
	u, noted := decoded(t, `{"from":"7","data":{"message_id":"7"},"message_id":"7","category":"c\u0061t"}`)
	wrong := entry.Places{From: 1, Category: 1 << 40, MessageID: len(u.Raw), Data: -5}
	for what, places := range map[string]entry.Places{"noted": noted, "none": {}, "wrong": wrong} {
		record := appendEnvelope(nil, envelope{body: u, places: places})
		roundTrip(t, what, envelope{body: u}, record, readEnvelope)
		if what == "noted" {
			r := reader{b: record[1:]}
			r.u8()
			r.id()
			r.text() // the session
			r.text() // the payload
			if at := r.uvarint() - 2; int(at) != noted.From {
				t.Errorf("from is stored as what stands at %d, noted was %d", at, noted.From)
			}
		}
		if o := (&acceptOp{upstream: u, places: places}); o.measure() != len(u.Raw)+len(u.From)+len(u.Category)+len(u.MessageID)+len(u.Session) {
			t.Errorf("%s: measures %d bytes", what, o.measure())
		}
	}
}

func decoded(t testing.TB, payload string) (*message.Upstream, entry.Places) {
	t.Helper()
	f, err := fcm.Decode([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return &message.Upstream{
		Session: "main", From: f.From.Text, Category: f.Category, MessageID: f.MessageID.Text,
		Data: f.Data, Raw: json.RawMessage(payload), Received: ulid.Time(0),
	}, f.Places
}

// BenchmarkEnvelope is what the ledger does with an upstream's bytes, of the size
// that BenchmarkUpstream of the command has, with its fields' places and without.
func BenchmarkEnvelope(b *testing.B) {
	u, noted := decoded(b, `{"from":"`+strings.Repeat("tok:", 38)+`","message_id":"m-1234","data":{"n":"1234","pad":"`+strings.Repeat("x", 60)+`"},"category":"com.example.bench"}`)
	for name, places := range map[string]entry.Places{"noted": noted, "searched": {}} {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				o := acceptOp{upstream: u, places: places}
				o.size = o.measure()
				buf = appendEnvelope(buf[:0], envelope{body: o.upstream, places: o.places})
			}
		})
	}
}
