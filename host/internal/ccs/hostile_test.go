package ccs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
)

const head = `<message to="1@fcm.googleapis.com" from="devices@gcm.googleapis.com" type="normal"><gcm xmlns="google:mobile:data">`

// up is a stanza as CCS writes it, around any text.
func up(text string) string { return head + text + `</gcm></message>` }

func gcm(text string) string { return `<gcm xmlns="google:mobile:data">` + text + `</gcm>` }

const reason = `<error code="400" type="modify"><bad-request xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>`

const lastWord = `<stream:error><policy-violation xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error>`

// with is an upstream's text, in CCS's order, around any value of data.
func with(data string) string {
	return `{"category":"app","data":` + data + `,"message_id":"1","from":"bad"}`
}

func withID(id string) string {
	return `{"category":"app","data":{"a":"b"},"message_id":` + id + `,"from":"bad"}`
}

// hostile are upstreams that no plugin's author expects, by how they are acked.
var hostile = []struct {
	name, stanza string
	id           string // the ack's message_id; "": there is none
	fine         bool   // it is an upstream like others
}{
	{"U+FFFF", up(with("{\"a\":\"\uFFFF\"}")), `"1"`, false},
	{"U+FFFE by reference", up(with(`{"a":"&#xFFFE;"}`)), `"1"`, false},
	{"halves by reference", up(with(`{"a":"&#xD83D;&#xDE00;"}`)), `"1"`, false},
	{"lone &", up(with(`{"a":"x & y"}`)), `"1"`, false},
	{"& at the end", up(with(`{"a":"&"}`)), `"1"`, false},
	{"unknown entity", up(with(`{"a":"&nbsp;"}`)), `"1"`, false},
	{"Latin-1", up(with("{\"a\":\"caf\xe9\"}")), `"1"`, false},
	{"overlong UTF-8", up(with("{\"a\":\"\xc0\xbc\"}")), `"1"`, false},
	{"CESU-8", up(with("{\"a\":\"\xed\xa0\xbd\xed\xb8\x80\"}")), `"1"`, false},
	{"cut UTF-8", up(with("{\"a\":\"\xf0\x9f\"}")), `"1"`, false},
	{"NUL", up(with("{\"a\":\"\x00\"}")), `"1"`, false},
	{"U+000B", up(with("{\"a\":\"\x0b\"}")), `"1"`, false},
	{"ESC by reference", up(with(`{"a":"&#27;"}`)), `"1"`, false},
	{"NUL by reference", up(with(`{"a":"&#0;"}`)), `"1"`, false},
	{"past Unicode", up(with(`{"a":"&#x110000;"}`)), `"1"`, false},
	{"comment", up(with(`{"a":"b"<!-- x -->}`)), `"1"`, false},
	{"comment in the id", up(withID(`"4<!-- x -->2"`)), `"42"`, false},
	{"comment not ended", up(with(`{"a":"<!-- x"}`)), `"1"`, false},
	{"comment with an end tag", up(with(`{}<!-- </message> -->`)), `"1"`, false},
	{"instruction", up(with(`{"a":<?x y?>1}`)), `"1"`, false},
	{"instruction not ended", up(with(`{"a":"<?x"}`)), `"1"`, false},
	{"CDATA", up(`<![CDATA[` + with(`{"a":"</message>"}`) + `]]>`), `"1"`, true},
	{"CDATA in CDATA", up(`<![CDATA[<![CDATA[` + with(`{}`) + `]]>`), `"1"`, false},
	{"CDATA not ended", up(`<![CDATA[` + with(`{}`)), `"1"`, false},
	{"CDATA misspelt", up(with(`{"a":"<![CDAT[x]]"}`)), `"1"`, false},
	{"]]>", up(with(`{"a":"]]>"}`)), `"1"`, false},
	{"lone <", up(with(`{"a":"x < y"}`)), `"1"`, false},
	{"tags in a string", up(with(`{"a":"<b>x</b>"}`)), `"1"`, false},
	{"tags crossed", up(with(`{"a":"<b><i></b></i>"}`)), `"1"`, false},
	{"stream's end in a string", up(with(`{"a":"</stream:stream>"}`)), `"1"`, false},
	{"stream's end behind it", up(with(`{}`)) + `</stream:stream> x`, `"1"`, true},
	{"stream error in a string", up(with(`{"a":"` + lastWord + `"}`)), `"1"`, false},
	{"stream error behind an end tag", up(with(`{"a":"</gcm></message>` + lastWord + `"}`)), "", false},
	{"stream error behind end tags", up(with(`{"a":"</gcm></message>` + lastWord + `</stream:stream>"}`)), "", false},
	{"stream error behind any end tag", up(with(`{"a":"</b>` + lastWord + `"}`)), "", false},
	{"stream error behind it", up(with(`{}`)) + lastWord, `"1"`, true},
	{"empty stream error behind it", up(with(`{}`)) + `<stream:error/>`, `"1"`, true},
	{"end tag in a string", up(with(`{"a":"</gcm>"}`)), `"1"`, false},
	{"element in the payload", up(with(`{"a":<b/>1}`)), `"1"`, false},
	{"nested", up(strings.Repeat("<a>", 40) + with(`{}`) + strings.Repeat("</a>", 40)), `"1"`, false},
	{"payload not ended", head + with(`{}`) + `</message>`, `"1"`, false},
	{"message not ended", head + with(`{}`) + `</gcm>`, `"1"`, false},
	{"nothing ended", head + with(`{}`), `"1"`, false},
	{"attribute twice", `<message id="1" id="2"><gcm xmlns="google:mobile:data">` + with(`{}`) + `</gcm></message>`, `"1"`, false},
	{"attribute without quotes", `<message id=1><gcm xmlns="google:mobile:data">` + with(`{}`) + `</gcm></message>`, `"1"`, false},
	{"< in an attribute", `<message id="<"><gcm xmlns="google:mobile:data">` + with(`{}`) + `</gcm></message>`, `"1"`, false},
	{"quote not ended", `<message id="1><gcm xmlns="google:mobile:data">` + with(`{}`) + `</gcm></message>`, `"1"`, false},
	{"many attributes", `<message` + strings.Repeat(` a="b"`, 100) + `><gcm xmlns="google:mobile:data">` + with(`{}`) + `</gcm></message>`, `"1"`, false},
	{"undeclared prefix", `<message><data:gcm>` + with(`{}`) + `</data:gcm></message>`, `"1"`, false},
	{"another namespace", `<message><gcm xmlns="urn:other">` + with(`{}`) + `</gcm></message>`, `"1"`, false},
	{"another message", `<message xmlns="jabber:server"><gcm xmlns="google:mobile:data">` + with(`{}`) + `</gcm></message>`, `"1"`, false},
	{"gcm alone", `<gcm xmlns="google:mobile:data">` + with(`{}`) + `</gcm>`, `"1"`, false},
	{"space in front", `< message><gcm xmlns="google:mobile:data">` + with(`{}`) + `</gcm></message>`, `"1"`, false},
	{"text around", "hello" + up(with(`{}`)) + "\uFEFF\x00 bye", `"1"`, true},
	{"declaration", `<?xml version="1.0"?>` + up(with(`{}`)), `"1"`, true},
	{"DTD", `<!DOCTYPE a [<!ENTITY b "c">]>` + up(with(`{"a":"&b;"}`)), `"1"`, false},
	{"end tags", up(with(`{}`)) + `</gcm></message></a>`, `"1"`, true},
	{"odd elements", `<presence><x/></presence><a xmlns="urn:b"/>` + up(with(`{}`)) + `<stream:x/>`, `"1"`, true},
	{"BOM", up("\uFEFF" + with(`{}`)), `"1"`, false},

	{"half a pair", up(withID(`"x\ud83d"`)), `"x\ud83d"`, true},
	{"number", up(withID(`42`)), `42`, true},
	{"fraction", up(withID(`42.0`)), `42.0`, true},
	{"exponent", up(withID(`1e3`)), `1e3`, true},
	{"huge number", up(withID(strings.Repeat("9", 5000))), strings.Repeat("9", 5000), true},
	{"true", up(withID(`true`)), `true`, false},
	{"null", up(withID(`null`)), `null`, false},
	{"object", up(withID(`{"a":[1, 2]}`)), `{"a":[1, 2]}`, false},
	{"empty id", up(withID(`""`)), `""`, false},
	{"controls in the id", up(withID(`"\u0000\n\u2028\u007f"`)), `"\u0000\n\u2028\u007f"`, true},
	{"raw control in the id", up(withID("\"a\nb\"")), `"a\nb"`, false},
	{"id of 2 KB", up(withID(`"` + strings.Repeat("i", 2000) + `"`)), `"` + strings.Repeat("i", 2000) + `"`, true},
	{"id of 50 KB", up(withID(`"` + strings.Repeat("i", 50_000) + `"`)), `"` + strings.Repeat("i", 50_000) + `"`, true},
	{"id of 100 KB", up(withID(`"` + strings.Repeat("i", 100_000) + `"`)), "", true},
	{"unknown type", up(`{"message_type":"novelty","message_id":"1","from":"bad"}`), `"1"`, false},
	{"type is a number", up(`{"message_type":7,"message_id":"1","from":"bad"}`), `"1"`, false},
	{"broken data", up(with(`{"a":tru}`)), `"1"`, false},
	{"broken number", up(with(`{"a":01}`)), `"1"`, false},
	{"data is a string", up(with(`"x"`)), `"1"`, false},
	{"nested JSON", up(with(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000))), `"1"`, false},
	{"from twice", up(`{"from":"other","message_id":"0","message_id":"1","from":"bad"}`), `"1"`, true},
	{"no id", up(`{"from":"bad","data":{}}`), "", false},
	{"no JSON", up(`hello`), "", false},
	{"ids of the device's", up(`{"data":{"from":"bad","message_id":"1","x":tru}}`), "", false},
	{"too large", up(with(`"` + strings.Repeat("x", 2<<20) + `"`)), `"1"`, false},
	{"too large, quoted", up(with(`{"a":"` + strings.Repeat(`\",\"from\":\"v\"`, 100_000) + `"}`)), `"1"`, false},
	{"too large, ids in front", up(`{"from":"bad","message_id":7,"data":"` + strings.Repeat("x", 2<<20) + `"}`), `7`, false},
	{"too large and broken", up(with(`{"a":"&` + strings.Repeat("x", 2<<20) + `"}`)), `"1"`, false},
	{"too large, not ended", head + with(`"`+strings.Repeat("x", 2<<20)+`"`) + `</gcm>`, `"1"`, false},
	{"too large, no id", up(`{"from":"bad","data":"` + strings.Repeat("x", 2<<20) + `"}`), "", false},
	{"no payload", `<message/>`, "", false},

	{"MESSAGE", `<MESSAGE>` + gcm(with(`{}`)) + `</MESSAGE>`, `"1"`, false},
	{"Message and GCM", `<Message><GCM xmlns="google:mobile:data">` + with(`{}`) + `</GCM></Message>`, `"1"`, false},
	{"message and GCM", `<message><x:GCM xmlns:x="google:mobile:data">` + with(`{}`) + `</x:GCM></message>`, `"1"`, false},
	{"MESSAGE, broken", `<MESSAGE>` + gcm(with(`{"a":"&"}`)) + `</MESSAGE>`, `"1"`, false},
	{"MESSAGE, no id", `<MESSAGE>` + gcm(`{"from":"bad"}`) + `</MESSAGE>`, "", false},
	{"MESSAGE, no JSON", `<MESSAGE>` + gcm(`hello`) + `</MESSAGE>`, "", false},
	{"MESSAGE, too large", `<MESSAGE>` + gcm(with(`"`+strings.Repeat("x", 2<<20)+`"`)) + `</MESSAGE>`, `"1"`, false},
	{"MESSAGE without gcm", `<MESSAGE>` + with(`{}`) + `</MESSAGE>`, `"1"`, false},
	{"unknown element", `<note xmlns="urn:a"><b>` + gcm(with(`{}`)) + `</b></note>`, `"1"`, false},
	{"unknown element, no id", `<note>` + gcm(`{"from":"bad"}`) + `</note>`, "", false},
	{"unknown element without gcm", `<note>` + with(`{}`) + `</note>`, `"1"`, false},
	{"iq", `<iq type="set" id="q">` + gcm(with(`{}`)) + `</iq>`, `"1"`, false},
	{"iq, a result", `<iq type="result" id="q"><query xmlns="urn:a">` + gcm(with(`{}`)) + `</query></iq>`, `"1"`, false},
	{"iq, an error", `<iq type="error" id="q">` + gcm(with(`{}`)) + `</iq>`, `"1"`, false},
	{"iq, broken", `<iq type="set" id="q">` + gcm(with(`{"a":"&"}`)) + `</iq>`, `"1"`, false},
	{"iq, no id", `<iq type="set" id="q">` + gcm(`{"from":"bad"}`) + `</iq>`, "", false},
	{"iq, too large", `<iq type="set" id="q">` + gcm(with(`"`+strings.Repeat("x", 2<<20)+`"`)) + `</iq>`, `"1"`, false},
	{"presence", `<presence>` + gcm(with(`{}`)) + `</presence>`, `"1"`, false},
	{"error", `<message type="error">` + gcm(with(`{}`)) + `</message>`, `"1"`, false},
	{"error, with an id and a reason", `<message type="error" id="x">` + gcm(with(`{}`)) + reason + `</message>`, "", false},
	{"error, with a reason, broken", `<message type="error">` + gcm(with(`{"a":"&"}`)) + reason + `</message>`, "", false},
	{"error, with a reason, too large", `<message type="error">` + gcm(with(`"`+strings.Repeat("x", 2<<20)+`"`)) + reason + `</message>`, "", false},
	{"error, broken", `<message type="error">` + gcm(with(`{"a":"&"}`)) + `</message>`, `"1"`, false},
	{"error, ids in front", `<message type="error">` + gcm(`{"from":"bad","message_id":"1","data":{"a":tru}}`) + `</message>`, `"1"`, false},
	{"error, unknown type", `<message type="error">` + gcm(`{"from":"bad","message_id":"1","message_type":"novelty"}`) + `</message>`, `"1"`, false},
	{"error, no id", `<message type="error">` + gcm(`{"from":"bad","data":{}}`) + `</message>`, "", false},
	{"error, too large", `<message type="error">` + gcm(with(`"`+strings.Repeat("x", 2<<20)+`"`)) + `</message>`, `"1"`, false},
}

// P1, P10: whatever comes as one device's message, once or twice in a row, the messages
// of others after it are handled on the same connection. It is acked too if its names
// are known; if not, it is reported as a hole.
func TestOneMessageIsNoOutage(t *testing.T) {
	if len(hostile) < 60 {
		t.Fatal("the table has shrunk")
	}
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			simulate(t, ccssim.Options{}, nil, func(w *world) {
				bad := ccssim.Upstream{From: "bad", MessageID: "none", Bytes: []byte(c.stanza)}
				if c.id != "" {
					bad.AckID = json.RawMessage(c.id)
				}
				want, start := 0, time.Now()
				for _, times := range []int{1, 2} {
					for range times {
						if _, err := w.srv.Send(bad); err != nil {
							t.Fatal(err)
						}
						if c.id != "" {
							want++
						}
					}
					for range 200 {
						w.srv.Upstream("good", "app", nil)
						want++
					}
					w.until("all acks", func(n ccssim.Counts) bool { return n.Acked == uint64(want) })
				}
				if d := time.Since(start); d > 10*time.Second {
					t.Errorf("the others waited %v", d)
				}
				if n := w.srv.Counts(); n.Logins != 1 || n.StreamErrors > 0 {
					t.Errorf("it ended the connection: %+v", n)
				}
				good, fine := 0, 0
				for _, in := range w.inbox.seen {
					switch {
					case in.Upstream.From == "good" && in.Unusable == "":
						good++
					case in.Unusable == "":
						fine++
					case len(in.Upstream.Raw) == 0:
						t.Error("a dead letter without its bytes")
					}
				}
				if good != 400 || (fine == 3) != c.fine {
					t.Errorf("%d of 400 good ones were stored, and it %d times as a message", good, fine)
				}
				st := w.s.Status()
				if holes := st.Connections[0].Unackable; (holes == 3) != (c.id == "") || (holes == 0) != (c.id != "") {
					t.Errorf("%d holes", holes)
				}
				w.legal()
			})
		})
	}
}

// A stream error that nothing follows is CCS's, even if the connection stays open. A
// keepalive counts as nothing.
func TestLastWord(t *testing.T) { // P10
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Inject(lastWord)
		time.Sleep(time.Second)
		if n := w.srv.Inject(up(with(`{}`))); n != 1 {
			t.Fatal("it was believed before the rest could come")
		}
		w.until("the ack", func(n ccssim.Counts) bool { return w.inbox.count() == 1 })
		w.srv.Inject(lastWord + " ")
		time.Sleep(time.Second)
		w.srv.Inject(" ")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := w.s.Status().LastError; err == nil || !strings.Contains(err.Error(), "policy-violation") {
			t.Errorf("it was not believed: %v", err)
		}
	})
}

// P4: an upstream in a stanza of type "error" is no answer to a downstream, even if the
// device chose the id of the only one in flight.
func TestUpstreamIsNoRefusal(t *testing.T) {
	for _, stanza := range []string{
		`<message type="error">` + gcm(`{"from":"bad","message_id":"d-1","data":{}}`) + reason + `</message>`,
		`<message type="error">` + gcm(`{"from":"bad","data":{}}`) + reason + `</message>`,
		`<message type="error">` + gcm(`{"from":"bad","message_id":"d-1","data":{"a":"&"}}`) + reason + `</message>`,
		`<message type="error">` + gcm(`{"data":"`+strings.Repeat("x", 2<<20)+`","message_id":"d-1","from":"bad"}`) + reason + `</message>`,
	} {
		simulate(t, ccssim.Options{AckDelay: ccssim.Range{Min: 10 * time.Second}}, nil, func(w *world) {
			w.outbox.send(1, 1, "tokA")
			time.Sleep(time.Second)
			w.srv.Inject(stanza)
			time.Sleep(15 * time.Second)
			w.outbox.look(func(b *outbox) {
				if len(b.refused)+len(b.nacked) > 0 || len(b.acked) != 1 {
					t.Errorf("%.80s: refused %v, nacked %v, acked %v", stanza, b.refused, b.nacked, b.acked)
				}
			})
		})
	}
}

// P10: elements that are no messages and carry no payload are unknown stanzas, and no
// holes.
func TestOtherElementsAreNoHoles(t *testing.T) {
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		for _, stanza := range []string{
			`<note/>`, `<note>{"a":1}</note>`, `<iq type="set" id="1"><x xmlns="urn:a">{"from":"a"}</x></iq>`, `<presence><status>{"from":"a","message_id":"b"}</status></presence>`,
			`<message type="error" id="x">` + gcm(`{"to":"tokA","message_id":"1","message_type":"ack"}`) + reason + `</message>`,
			`<message type="error">` + gcm(`{"to":"tokA","message_id":"gone"}`) + reason + `</message>`,
		} {
			w.srv.Inject(stanza)
		}
		time.Sleep(time.Second)
		if st := w.s.Status(); st.Connections[0].Unackable > 0 || st.Broken > 0 || st.UnknownStanzas != 2 || w.inbox.count() > 0 {
			t.Errorf("%+v", st)
		}
	})
}

// P6: two ids that look the same to a plugin stay different, as they are for CCS.
func TestOddIdsAreTold(t *testing.T) {
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		ids := []string{`"42"`, `42`, `42.0`, `"x\ud83d"`, `"x\ud83e"`}
		for _, id := range ids {
			w.srv.Send(ccssim.Upstream{From: "bad", MessageID: "none", AckID: json.RawMessage(id), Stanza: up(withID(id))}) //nolint:errcheck // it has a from
		}
		w.until("acks", func(n ccssim.Counts) bool { return n.Acked == uint64(len(ids)) })
		var texts, names []string
		for _, in := range w.inbox.seen {
			texts, names = append(texts, in.Upstream.MessageID), append(names, in.Names)
		}
		if want := []string{"42", "42", "42.0", `x\ud83d`, `x\ud83e`}; !slices.Equal(texts, want) {
			t.Errorf("plugins see %q, want %q", texts, want)
		}
		slices.Sort(names)
		if names = slices.Compact(names); len(names) != len(ids) {
			t.Errorf("told apart by %q", names)
		}
		w.legal()
	})
}

// P10: of two payloads in a stanza each is its own message.
func TestTwoPayloads(t *testing.T) {
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		two := up(`{"from":"a","message_id":"1"}</gcm><gcm xmlns="google:mobile:data">{"from":"b","message_id":"2"}`)
		w.srv.Send(ccssim.Upstream{From: "a", MessageID: "1", Stanza: two}) //nolint:errcheck // it has a from
		w.srv.Send(ccssim.Upstream{From: "b", MessageID: "2", Stanza: " "}) //nolint:errcheck // as above
		w.until("acks", func(n ccssim.Counts) bool { return n.Acked == 2 })
		w.legal()
	})
}

// P10: upstreams that can't be acked are logged long before CCS stops, with their device
// if it is known.
func TestHolesAreWarnedOf(t *testing.T) {
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		for range 60 {
			w.srv.Inject(up(`{"from":"culprit","data":{}}`))
		}
		time.Sleep(time.Second)
		log := w.log.String()
		for _, n := range []int{1, 10, 25, 50} {
			if !strings.Contains(log, fmt.Sprintf("count=%d device=culprit", n)) {
				t.Errorf("no warning at %d:\n%s", n, log)
			}
		}
		if st := w.s.Status(); st.Connections[0].Unackable != 60 || st.Recent[0].From != "culprit" {
			t.Errorf("status %+v", st)
		}
	})
}
