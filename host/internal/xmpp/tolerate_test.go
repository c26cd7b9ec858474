package xmpp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// fromDevice is a message as CCS writes it, around escaped text.
func fromDevice(text string) string {
	return `<message to="482915730064@fcm.googleapis.com" from="devices@gcm.googleapis.com" type="normal"><gcm xmlns="google:mobile:data">` + text + `</gcm></message>`
}

// told behind what is broken, good messages are heard.
type listener struct {
	*Reader
	good   []string // payloads of valid messages
	broken []string // raw bytes of broken elements
	elses  int      // valid elements that are no message with a payload
}

// listen reads all of in, as a session does. For an element that does not end it calls Resync.
func listen(in io.Reader, limit int) *listener {
	l := &listener{Reader: NewReader(io.MultiReader(in, iotest.ErrReader(errLate)), limit)}
	if _, err := l.Header(); err != nil {
		panic(err)
	}
	l.Tolerate()
	for again := false; ; {
		element, err := l.Next()
		var bad *BrokenError
		var large *TooLargeError
		switch {
		case errors.Is(err, errLate):
			if again {
				return l
			}
			again = true
			l.Resync()
			continue
		case errors.As(err, &bad):
			l.broken = append(l.broken, string(bad.Raw))
		case errors.As(err, &large):
			l.broken = append(l.broken, err.Error())
		case err != nil:
			l.broken = append(l.broken, "END "+err.Error())
			return l
		default:
			raw := string(element)
			s, err := l.Parse(element)
			if string(element) != raw {
				panic("Parse changed the element")
			}
			switch {
			case err != nil:
				l.broken = append(l.broken, raw)
			case s.Kind == Message && s.GCM != nil && s.Odd == "":
				l.good = append(l.good, string(s.GCM))
			default:
				l.elses++
			}
		}
		again = false
	}
}

var errLate = errors.New("late")

// unended are elements whose end can't be seen at their last byte.
var unended = []struct{ name, in string }{
	{"start tag alone", `<message>`},
	{"cut in the start tag", `<message to="x"`},
	{"cut in an attribute", `<message to="x`},
	{"cut in a name", `<mess`},
	{"cut before the text", `<message><gcm xmlns="google:mobile:data">`},
	{"cut in the text", `<message><gcm xmlns="google:mobile:data">{"from":"t","message_id":"1`},
	{"cut in an end tag", `<message><gcm xmlns="google:mobile:data">{}</gcm></mess`},
	{"message not ended", `<message><gcm xmlns="google:mobile:data">{}</gcm>`},
	{"payload not ended", `<message><gcm xmlns="google:mobile:data">{}</message>`},
	{"CDATA not ended", fromDevice(`<![CDATA[{}`)},
	{"CDATA not ended, nor the rest", `<message><gcm xmlns="google:mobile:data"><![CDATA[{}`},
	{"comment not ended", fromDevice(`{}<!-- x`)},
	{"instruction not ended", fromDevice(`{}<?x`)},
	{"comment with an end tag", fromDevice(`{}<!-- </message> -->`)},
	{"instruction with an end tag", fromDevice(`{}<?x </message> ?>`)},
	{"quote not ended", `<message id="1>` + `<gcm xmlns="google:mobile:data">{}</gcm></message>`},
	{"end tag in an attribute", `<message id="</message>"><gcm xmlns="google:mobile:data">{}</gcm></message>`},
	{"unknown element not ended", `<a xmlns="urn:b">`},
	{"HTML", `<html><body>Bad gateway<br><p>`},
	{"message in a message", `<message><forwarded xmlns="urn:f"><message/></forwarded></message>`},
	{"tag in a tag", `<message <a/>`},
	{"slash", `<message/ >`},
	{"end tags too many", `</gcm></message></message>`},
	{"end tag malformed", `</message id="1">`},
	{"end tag cut", `</mess`},
	{"DTD", `<!DOCTYPE a [<!ENTITY b "c"><!ELEMENT d (e)>]>` + fromDevice(`&b;`)},
	{"declaration", `<?xml version="1.0"?>`},
	{"CDATA between", `<![CDATA[x]]>`},
	{"text of all kinds", "\uFEFF\x00 hello \xff ]]> & > "},
	{"lone <", `<`},
	{"many <", `<<<< <`},
}

// P10: all valid messages after one or two broken elements are heard, once each,
// however the bytes are cut.
func TestGoodBehindBroken(t *testing.T) {
	type bad struct{ name, in string }
	var all []bad
	for _, c := range unended {
		all = append(all, bad(c))
	}
	for _, c := range streams {
		if strings.Contains(c.in, "stream:") && !strings.HasSuffix(c.in, after) { // it ends the stream by itself
			continue
		}
		all = append(all, bad{c.name, strings.TrimSuffix(c.in, after)})
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			in, want := header, []string{`{"good":0}`}
			in += fromDevice(want[0]) + c.in
			if len(c.in) < 200 {
				in += "\n" + c.in
			}
			for i := range 3 {
				want = append(want, fmt.Sprintf(`{"good":%d}`, i+1))
				in += fromDevice(want[i+1])
			}
			check := func(how string, r io.Reader) {
				t.Helper()
				l := listen(r, testMax)
				var heard []string
				for _, g := range l.good {
					if strings.Contains(g, `"good"`) {
						heard = append(heard, g)
					}
				}
				if fmt.Sprint(heard) != fmt.Sprint(want) {
					t.Fatalf("%s: heard %q, broken %q", how, l.good, l.broken)
				}
			}
			check("whole", strings.NewReader(in))
			check("byte by byte", iotest.OneByteReader(strings.NewReader(in)))
			for i := len(header); i < len(in); i += 1 + len(in)/200 {
				check(fmt.Sprintf("cut at %d", i), io.MultiReader(strings.NewReader(in[:i]), strings.NewReader(in[i:])))
			}
		})
	}
}

// FuzzTolerance: whatever is between two valid messages, the second is heard. Every
// byte is part of a broken or a valid element.
func FuzzTolerance(f *testing.F) { // P10
	for _, c := range unended {
		f.Add([]byte(c.in))
	}
	seed(f)
	f.Fuzz(func(t *testing.T, bad []byte) {
		if bytes.Contains(bad, []byte("stream:")) {
			return
		}
		in := header + fromDevice(`{"good":1}`) + string(bad) + fromDevice(`{"good":2}`) + fromDevice(`{"good":3}`)
		l := listen(strings.NewReader(in), testMax)
		g := l.good
		if len(g) < 3 || g[0] != `{"good":1}` || g[len(g)-2] != `{"good":2}` || g[len(g)-1] != `{"good":3}` {
			t.Fatalf("%q: heard %q, broken %q", bad, g, l.broken)
		}
		for _, b := range l.broken {
			Salvage([]byte(b))
		}
	})
}

func TestSalvage(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"sound", fromDevice(`{"a":"&lt;"}`), `message normal "": {"a":"<"}`},
		{"prefix and id", `<message id='7' type='error'><data:gcm xmlns:data="google:mobile:data">{}`, `message error "7": {}`},
		{"another namespace", `<message><gcm xmlns="urn:x">{}</gcm></message>`, `message  "": {}`},
		{"no gcm element", `<message><body>{"a":1}</body></message>`, `message  "": <body>{"a":1}</body>`},
		{"two", `<message><gcm>1</gcm><gcm>2</gcm></message>`, `message  "": 1 2`},
		{"comment", fromDevice(`{"a":"4<!-- x -->2"}`), `message normal "": {"a":"42"}`},
		{"instruction", fromDevice(`{"a":<?x y?>2}`), `message normal "": {"a":2}`},
		{"CDATA", fromDevice(`{"a":<![CDATA["&lt;<"]]>}`), `message normal "": {"a":"&lt;<"}`},
		{"CDATA without end", fromDevice(`<![CDATA[{"a":1}`), `message normal "": {"a":1}`},
		{"lone <", fromDevice(`{"a":"x < y"}`), `message normal "": {"a":"x < y"}`},
		{"tags in a string", fromDevice(`{"a":"<b>x</b>"}`), `message normal "": {"a":"<b>x</b>"}`},
		{"end tag in a string", fromDevice(`{"a":"</gcm>","b":1}`), `message normal "": {"a":"</gcm>","b":1}`},
		{"lone &", fromDevice(`{"a":"x & y &; &#; &amp;"}`), `message normal "": {"a":"x & y &; &#; &"}`},
		{"entity", fromDevice(`{"a":"&nbsp;&lol9;"}`), `message normal "": {"a":"&nbsp;&lol9;"}`},
		{"halves", fromDevice(`{"a":"&#xD83D;&#56832;&#11;&#xFFFF;"}`), `message normal "": {"a":"\ud83d\ude00\u000b\uffff"}`},
		{"bytes", fromDevice("{\"a\":\"\xff\x0b\uFFFF\"}"), "message normal \"\": {\"a\":\"\xff\x0b\uFFFF\"}"},
		{"end tags missing", `<message><gcm xmlns="google:mobile:data">{}`, `message  "": {}`},
		{"quote not ended", `<message id="1><gcm xmlns="google:mobile:data">{}</gcm></message>`, `message  "": {}`},
		{"attribute twice", `<message id="1" id="2"><gcm xmlns="google:mobile:data">{}</gcm></message>`, `message  "1": {}`},
		{"no element", `{"a":1}`, `  "": {"a":1}`},
		{"nothing", ``, `  "": `},
		{"a gcm alone", `<gcm xmlns="google:mobile:data">{}</gcm>`, `gcm  "": {}`},
	} {
		r := Salvage([]byte(c.in))
		got := fmt.Sprintf("%s %s %q: %s", r.Name, r.Type, r.ID, bytes.Join(r.Payloads, []byte(" ")))
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// P10: the time grows only with the length.
func TestToleranceTakesItsTime(t *testing.T) {
	const n = 256 << 10
	for _, parts := range [][]string{
		{"<!--"}, {"<![CDATA["}, {"<?"}, {"<gcm ", "<"}, {"<gcm>"}, {"</"}, {"</gcm"}, {"<message", " "}, {"<message>", " "}, {"<message >"}, {"<message><", "<gcm "},
		{"<message></b>", "<!--"}, {"<message></b>", "</message"}, {"<message></b>", "<message ", "x"}, {"<message></b>", " ", "<iq"}, {"<a>"}, {"&"}, {"&#1"}, {"<message ", " type="},
		{"<message></b>", "<message>", " ", "<gc"}, {"<message></b>", "<![CDATA[", "]"}, {">", "<"},
	} {
		var b strings.Builder
		b.WriteString("<message>")
		for _, p := range parts {
			b.WriteString(strings.Repeat(p, n/len(p)/len(parts)))
		}
		start := time.Now()
		l := listen(strings.NewReader(header+b.String()+fromDevice(`{"good":1}`)), 2*n)
		d := time.Since(start)
		Salvage([]byte(b.String()))
		if s := time.Since(start) - d; d > 10*time.Second || s > 10*time.Second { // some 10 ms
			t.Errorf("%q: reading took %v, salvaging %v", parts, d, s)
		}
		if g := l.good; len(g) == 0 || g[len(g)-1] != `{"good":1}` {
			t.Errorf("%q: heard %q, with %d broken", parts, g, len(l.broken))
		}
	}
}

// TestTooLargeKeepsItsEnds: both ends of a skipped element are kept, and nothing else. // P10
func TestTooLargeKeepsItsEnds(t *testing.T) {
	const limit = 64 << 10
	for _, middle := range []string{strings.Repeat("x", 3*limit), strings.Repeat("x", limit), "&" + strings.Repeat("x", 3*limit)} {
		whole := fromDevice("BEGIN" + middle + "END")
		for name, in := range map[string]io.Reader{
			"whole": strings.NewReader(header + whole), "bytewise": iotest.OneByteReader(strings.NewReader(header + whole)),
		} {
			r := NewReader(in, limit)
			if _, err := r.Header(); err != nil {
				t.Fatal(err)
			}
			r.Tolerate()
			var large *TooLargeError
			if _, err := r.Next(); !errors.As(err, &large) {
				t.Fatalf("%s: %v", name, err)
			}
			if n := limit / 4; string(large.Head) != whole[:n] || string(large.Tail) != whole[len(whole)-n:] || large.Size != int64(len(whole)) {
				t.Errorf("%s: %d bytes, kept are %d and %d: %.100q", name, large.Size, len(large.Head), len(large.Tail), large.Tail)
			}
			if n := len(r.buf); n > 4*limit {
				t.Errorf("the buffer has %d bytes", n)
			}
		}
	}
}
