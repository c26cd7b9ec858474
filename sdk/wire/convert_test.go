package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"balhost/sdk/message"

	"google.golang.org/protobuf/proto"
)

// carried is m as the other side gets it.
func carried[M proto.Message](t *testing.T, m M) M {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got := m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	return got.(M)
}

// filled gives every field of v a value of its own, so that a field that the
// conversions forget is seen. It knows the kinds that package message uses.
func filled(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.UnixMilli(1700000000000 + int64(*n))
		return
	case *json.RawMessage:
		*x = json.RawMessage(fmt.Sprintf(`{"n":"%d"}`, *n))
		return
	case **time.Duration:
		*x = message.TTL(time.Duration(*n) * time.Second)
		return
	case *message.Target:
		*x = message.Token(fmt.Sprint("tok", *n))
		return
	case *message.OutcomeStatus:
		*x = message.Expired
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("s", *n))
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Interface:
		v.Set(reflect.ValueOf(json.RawMessage(fmt.Sprintf(`{"n":"%d"}`, *n))))
	case reflect.Struct:
		for i := range v.NumField() {
			filled(t, v.Field(i), n)
		}
	default:
		t.Fatalf("package message has a new kind of field, %s: teach this test and the conversions", v.Type())
	}
}

func fill[T any](t *testing.T) T {
	var v T
	n := 0
	filled(t, reflect.ValueOf(&v).Elem(), &n)
	return v
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\ngot  %+v\nwant %+v", got, want)
	}
}

// Every field of every word crosses the wire, and nothing comes from nothing.
func TestConversions(t *testing.T) {
	u := fill[message.Upstream](t)
	same(t, UpstreamFromProto(carried(t, UpstreamToProto(&u)), uint32(u.Attempt)), u)
	o := fill[message.Outcome](t)
	same(t, OutcomeFromProto(carried(t, OutcomeToProto(&o)), uint32(o.Attempt)), o)
	r := fill[message.Receipt](t)
	same(t, ReceiptFromProto(carried(t, ReceiptToProto(&r)), uint32(r.Attempt)), r)
	for _, d := range []message.Checked{
		fill[message.Checked](t), {},
		{To: message.Topic("news"), Options: message.Options{TTL: message.TTL(0)}}, // 0 is not unset
		{To: message.Condition("'a' in topics")}, {To: message.FID("cX-_22")},
	} {
		same(t, DownstreamFromProto(carried(t, DownstreamToProto(d))), d.Downstream())
	}
	for _, s := range []message.OutcomeStatus{message.Acked, message.Failed, message.Expired, message.Canceled, 0} {
		same(t, OutcomeFromProto(OutcomeToProto(&message.Outcome{Status: s}), 0).Status, s)
	}
}

// Data crosses once, as a part of the payload; where it is none, by itself.
func TestDataWithinTheRawPayload(t *testing.T) {
	for _, c := range []struct {
		name, raw, data string
		twice           bool
	}{
		{"a part", `{"data":{"k":"v"},"x":1}`, `{"k":"v"}`, false},
		{"also elsewhere", `{"data2":{"k":"v"},"data":{"k":"v"}}`, `{"k":"v"}`, false},
		{"no part", `{"data":{ "k":"v"}}`, `{"k":"v"}`, true},
		{"no raw", ``, `{"k":"v"}`, true},
		{"none", `{}`, ``, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := message.Upstream{Raw: raw([]byte(c.raw)), Data: raw([]byte(c.data))}
			p := UpstreamToProto(&u)
			if (len(p.Data) > 0) != c.twice {
				t.Errorf("data on the wire: %q", p.Data)
			}
			same(t, UpstreamFromProto(carried(t, p), 0), u)
			p.SpellOut() // for a plugin without the capability
			if string(p.Data) != c.data || p.DataEnd != 0 || string(p.Raw) != c.raw {
				t.Errorf("spelled out: %v", p)
			}
			same(t, UpstreamFromProto(carried(t, p), 0), u)
		})
	}
	// The place is that of the slice, where it is one, and not of its like before it.
	u := message.Upstream{Raw: json.RawMessage(`{"a":{"k":"v"},"data":{"k":"v"}}`)}
	u.Data = u.Raw[22:31]
	if p := UpstreamToProto(&u); p.DataStart != 22 || p.DataEnd != 31 {
		t.Errorf("data of a slice from 22 to 31: from %d to %d", p.DataStart, p.DataEnd)
	}
	// P10: bounds that lie.
	for _, p := range []*Upstream{{Raw: []byte("abc"), DataStart: 2, DataEnd: 4}, {Raw: []byte("abc"), DataStart: 3, DataEnd: 1}, {DataEnd: math.MaxUint32}} {
		if got := UpstreamFromProto(p, 1).Data; got != nil {
			t.Errorf("%v: data %q", p, got)
		}
	}
}

// P10: text that is no UTF-8 can't break a frame, and numbers can't overflow.
func TestConversionsOfWhatIsWrong(t *testing.T) {
	bad := "\xff\xfe"
	u := UpstreamToProto(&message.Upstream{Session: bad, From: bad, Category: bad, MessageID: bad, Raw: json.RawMessage(bad)})
	o := OutcomeToProto(&message.Outcome{MessageID: bad, Group: bad, To: message.Token(bad), Code: bad, Description: bad, NewToken: bad})
	r := ReceiptToProto(&message.Receipt{OriginalMessageID: bad, Device: bad, Category: bad, Status: bad})
	for _, m := range []proto.Message{u, o, r, NewReply(1, errors.New(bad))} {
		carried(t, m)
	}
	if !utf8.ValidString(u.Device) {
		t.Errorf("from %q", u.Device)
	}
	for _, s := range []int64{math.MaxInt64, math.MinInt64} {
		ttl := *DownstreamFromProto(&Downstream{Options: &Options{TtlS: &s}}).Options.TTL
		if (ttl > 0) != (s > 0) || ttl.Abs() < 100*365*24*time.Hour {
			t.Errorf("%d s became %v", s, ttl)
		}
	}
}

func TestCheckManifest(t *testing.T) {
	good := func() *Manifest {
		return &Manifest{Name: "echo", Version: "1", Categories: []string{"com.example.echo", "*"}, Order: "key:data.room", Upstream: true}
	}
	unordered := good() // that is "device"
	unordered.Order = ""
	for _, m := range []*Manifest{good(), unordered} {
		if err := CheckManifest("echo", m); err != nil {
			t.Error(err)
		}
	}
	for want, change := range map[string]func(*Manifest){
		"has no name":            func(m *Manifest) { m.Name = "" },
		`calls itself "ecco"`:    func(m *Manifest) { m.Name = "ecco" },
		"version of 200 bytes":   func(m *Manifest) { m.Version = strings.Repeat("1", 200) },
		"no Upstream handler":    func(m *Manifest) { m.Upstream = false },
		"claims 1001 categories": func(m *Manifest) { m.Categories = make([]string, 1001) },
		`category ""`:            func(m *Manifest) { m.Categories = []string{""} },
		`category " a"`:          func(m *Manifest) { m.Categories = []string{" a"} },
		`category "*" twice`:     func(m *Manifest) { m.Categories = []string{"*", "*"} },
		`order "key:"`:           func(m *Manifest) { m.Order = "key:" },
		`order "key:data."`:      func(m *Manifest) { m.Order = "key:data." },
		`order "strict"`:         func(m *Manifest) { m.Order = "strict" },
		"order of 261 bytes":     func(m *Manifest) { m.Order = "key:" + strings.Repeat("a", 257) },
	} {
		m := good()
		change(m)
		if err := CheckManifest("echo", m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
	for _, name := range []string{".hidden", "a.b", "_x", "a/b", "a b", "-x", strings.Repeat("x", 65), "é"} {
		if err := CheckManifest(name, &Manifest{Name: name, Order: "none"}); err == nil {
			t.Errorf("name %q passed", name)
		}
	}
	if err := CheckManifest("echo", nil); err == nil {
		t.Error("no manifest passed")
	}
}

func BenchmarkUpstreamToProto(b *testing.B) {
	token, data := strings.Repeat("tok:", 38), `{"n":"1234","pad":"`+strings.Repeat("x", 60)+`"}`
	payload := json.RawMessage(`{"from":"` + token + `","message_id":"m-1234","category":"com.example.bench","data":` + data + `}`)
	u := message.Upstream{ID: "01HF7YAT3B0123456789ABCDEF", Session: "main", From: token, Category: "com.example.bench", MessageID: "m-1234", Raw: payload}
	u.Data = payload[len(payload)-len(data)-1 : len(payload)-1]
	b.ReportAllocs()
	for b.Loop() {
		UpstreamToProto(&u)
	}
}
