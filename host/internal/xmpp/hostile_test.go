package xmpp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

const header = `<stream:stream from="gcm.googleapis.com" id="9C41D0AA17E2B36F" version="1.0" xmlns:stream="http://etherx.jabber.org/streams" xmlns="jabber:client">`

const testMax = 4096

// hear reads a whole connection. It returns one line for each thing that came.
func hear(in io.Reader) []string {
	r := NewReader(in, testMax)
	if _, err := r.Header(); err != nil {
		return []string{"header: " + told(err)}
	}
	return hearStanzas(r)
}

func hearStanzas(r *Reader) (out []string) {
	for {
		element, err := r.Next()
		var large *TooLargeError
		if errors.As(err, &large) {
			out = append(out, fmt.Sprintf("too large: %d deep=%v", large.Size, large.Deep))
			continue
		}
		if err != nil {
			return append(out, told(err))
		}
		s, err := r.Parse(element)
		if err != nil {
			return append(out, told(err))
		}
		out = append(out, say(s))
	}
}

func say(s Stanza) string {
	text := s.Name.Local
	if s.Kind == Other {
		text = "other " + text
	}
	if s.Type != "" {
		text += " " + s.Type
	}
	if s.ID != "" {
		text += " #" + s.ID
	}
	if s.GCM != nil {
		text += ": " + string(s.GCM)
	}
	for _, b := range s.More {
		text += " and " + string(b)
	}
	if s.Odd != "" {
		text += " odd: " + s.Odd
	}
	if s.Err != nil {
		text += fmt.Sprintf(" %+v", *s.Err)
	}
	return text
}

// told shows of an error what a caller can use.
func told(err error) string {
	var fault Fault
	var stream *StreamError
	switch {
	case errors.As(err, &fault):
		return "fault " + fault.Condition()
	case errors.As(err, &stream):
		return "stream error " + stream.Condition + " " + stream.Text
	}
	return err.Error()
}

// gcm is a message around escaped text.
func gcm(text string) string {
	return `<message><gcm xmlns="google:mobile:data">` + text + `</gcm></message>`
}

const (
	after = `<message><gcm xmlns="google:mobile:data">{"after":1}</gcm></message></stream:stream>`
	cut   = "unexpected EOF"
)

var afterwards = []string{`message: {"after":1}`, ErrClosed.Error()}

// streams are inputs and what a reader hears. Each input is read whole, byte by
// byte, and cut in two at every place (a long one at every 97th place).
var streams = []struct {
	name, in string
	want     []string
}{
	{"nothing", "", []string{cut}},
	{"close", `</stream:stream>`, []string{ErrClosed.Error()}},
	{"close with space", "</stream:stream \n>", []string{ErrClosed.Error()}},
	{"close of another", `</message>`, []string{"fault not-well-formed"}},
	{"close without the prefix", `</stream>`, []string{"fault not-well-formed"}},
	{"close without name", `</>`, []string{"fault not-well-formed"}},
	{"cut in a tag", `<message id="`, []string{cut}},
	{"cut in text", gcm("{}")[:45], []string{cut}},
	{"cut in the close", `</stream:str`, []string{cut}},

	{"plain", gcm(`{"a":"b"}`) + after, append([]string{`message: {"a":"b"}`}, afterwards...)},
	{"keepalives", " " + gcm("{}") + " \n\r\t " + after, append([]string{"message: {}"}, afterwards...)},
	{"every attribute", `<message to="1@fcm.googleapis.com" from="devices@gcm.googleapis.com" type="normal" id='7'><gcm xmlns="google:mobile:data">{}</gcm></message>`,
		[]string{"message normal #7: {}", cut}},
	{"data: prefix", `<message><data:gcm xmlns:data="google:mobile:data">{}</data:gcm></message>`, []string{"message: {}", cut}},
	{"another prefix", `<message><x:gcm xmlns:x='google:mobile:data' >{}</x:gcm></message>`, []string{"message: {}", cut}},
	{"prefix from the message", `<message xmlns:d="google:mobile:data"><d:gcm>{}</d:gcm></message>`, []string{"message: {}", cut}},
	{"prefixed message", `<c:message xmlns:c="jabber:client"><gcm xmlns="google:mobile:data">{}</gcm></c:message>`, []string{"message: {}", cut}},
	{"namespace again", `<message xmlns="jabber:client"><gcm xmlns="google:mobile:data">{}</gcm></message>`, []string{"message: {}", cut}},
	{"another namespace", `<message xmlns="jabber:server"><gcm xmlns="google:mobile:data">{}</gcm></message>`, []string{"other message", cut}},
	{"gcm of no namespace", `<message><gcm>{}</gcm></message>`, []string{"message", cut}},
	{"data: means something else", `<message><data:gcm xmlns:data="urn:x">{}</data:gcm></message>`, []string{"message", cut}},
	{"prefix nobody declared", `<message><data:gcm>{}</data:gcm></message>`, []string{"fault bad-namespace-prefix"}},
	{"language, as Prosody adds it", `<message xml:lang='en'><gcm xmlns='google:mobile:data'>{}</gcm></message>`, []string{"message: {}", cut}},
	{"space around", "<message >\n <gcm  xmlns = \"google:mobile:data\" >\n{}\n</gcm>\n</message>", []string{"message: \n{}\n", cut}},
	{"two payloads", `<message><gcm xmlns="google:mobile:data">{}</gcm><gcm xmlns="google:mobile:data">[]</gcm></message>`, []string{"message: {} and []", cut}},
	{"empty payload", gcm("") + `<message><gcm xmlns="google:mobile:data"/></message>`, []string{"message: ", "message: ", cut}},
	{"no payload", `<message/><message></message>`, []string{"message", "message", cut}},
	{"element inside", gcm(`{"a":<b/>1}`), []string{`message: {"a":1} odd: an element inside the payload: b`, cut}},
	{"presence", `<presence/>`, []string{"presence", cut}},
	{"ping", `<iq type="get" id="c2s1" to="gcm.googleapis.com"><ping xmlns="urn:xmpp:ping"/></iq>`, []string{"iq get #c2s1", cut}},
	{"unknown element", `<a xmlns="urn:b"><c>d</c></a>` + after, append([]string{"other a"}, afterwards...)},

	{"five entities", gcm(`&amp;&lt;&gt;&quot;&apos;`), []string{`message: &<>"'`, cut}},
	{"references", gcm(`&#65;&#x42;&#x1F600;&#9;&#x00000000000000000000000000000000000000043;`), []string{"message: AB\U0001F600\tC", cut}},
	{"CDATA", gcm(`{"a":<![CDATA["<&>]]]]><![CDATA[>"]]>}`), []string{`message: {"a":"<&>]]>"}`, cut}},
	{"CDATA that looks like a reference", gcm(`<![CDATA[&#xD800;&x;]]>`), []string{`message: &#xD800;&x;`, cut}},
	{"CDATA after brackets", gcm(`<![CDATA[a]]b]]]]]>`), []string{`message: a]]b]]]`, cut}},
	{"emoji and Chinese", gcm(`{"a":"漢字 😀"}`), []string{`message: {"a":"漢字 😀"}`, cut}},
	{"half a surrogate, escaped in JSON", gcm(`"\ud800"`), []string{`message: "\ud800"`, cut}},
	{"line ends", gcm("a\r\nb\rc\n&#13;d"), []string{"message: a\nb\nc\n\rd", cut}},
	{"brackets", gcm(`[[1]] ]] > ]]&gt;`), []string{`message: [[1]] ]] > ]]>`, cut}},
	{"tags in attributes", `<message id="a>b/>"><gcm xmlns="google:mobile:data">{}</gcm></message>`, []string{"message #a>b/>: {}", cut}},
	{"quotes in attributes", `<message id="it's"><x a='"'/></message>`, []string{"message #it's", cut}},
	{"reference in an attribute", `<message id="a&amp;b&#x21;"/>`, []string{"message #a&b!", cut}},

	{"comment", `<message><!-- x --></message>`, []string{"fault restricted-xml"}},
	{"comment between", `<!-- x -->` + after, []string{"fault restricted-xml"}},
	{"instruction", `<message><?x y?></message>`, []string{"fault restricted-xml"}},
	{"instruction between", `<?x y?>`, []string{"fault restricted-xml"}},
	{"DTD", `<message><!DOCTYPE a [<!ENTITY b "c">]></message>`, []string{"fault restricted-xml"}},
	{"DTD between", `<!DOCTYPE html>` + after, []string{"fault restricted-xml"}},
	{"bomb", `<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>` + gcm("&c;"), []string{"fault restricted-xml"}},
	{"declaration between", `<?xml version="1.0"?>` + after, []string{"fault restricted-xml"}},
	{"comment in the payload", gcm(`{}<!-- x -->`), []string{"fault restricted-xml"}},
	{"instruction in the payload", gcm(`{}<?x?>`), []string{"fault restricted-xml"}},
	{"comment in an unknown element", `<a xmlns="urn:b"><!----></a>`, []string{"fault restricted-xml"}},
	{"entity", gcm(`&nbsp;`), []string{"fault restricted-xml"}},
	{"entity that was declared nowhere", `<message id="&lol9;"/>`, []string{"fault restricted-xml"}},
	{"CDATA between", `<![CDATA[x]]>`, []string{"fault not-well-formed"}},
	{"CDATA misspelt", gcm(`<![CDATX[x]]>`), []string{"fault not-well-formed"}},

	{"text between", "hello" + after, []string{"fault not-well-formed"}},
	{"text between two", gcm("{}") + "hello" + after, []string{"message: {}", "fault not-well-formed"}},
	{"BOM between", "\uFEFF" + after, []string{"fault not-well-formed"}},
	{"NUL between", "\x00" + after, []string{"fault not-well-formed"}},
	{"HTTP", "HTTP/1.1 400 Bad Request\r\n", []string{"fault not-well-formed"}},
	{"bare ampersand", gcm(`a & b`), []string{"fault not-well-formed"}},
	{"ampersand at the end", gcm(`&`), []string{"fault not-well-formed"}},
	{"unescaped <", gcm(`a < b`), []string{"fault not-well-formed"}},
	{"]]> in text", gcm(`a ]]> b`), []string{"fault not-well-formed"}},
	{"NUL", gcm("\x00"), []string{"fault not-well-formed"}},
	{"NUL by reference", gcm("&#0;"), []string{"fault not-well-formed"}},
	{"control", gcm("\x1b"), []string{"fault not-well-formed"}},
	{"control by reference", gcm("&#x1b;"), []string{"fault not-well-formed"}},
	{"control in an attribute", "<message id='\x01'/>", []string{"fault not-well-formed"}},
	{"not UTF-8", gcm("\xff"), []string{"fault not-well-formed"}},
	{"overlong UTF-8", gcm("\xc0\xbc"), []string{"fault not-well-formed"}},
	{"CESU-8", gcm("\xed\xa0\xbd\xed\xb8\x80"), []string{"fault not-well-formed"}},
	{"surrogate by reference", gcm("&#xD800;"), []string{"fault not-well-formed"}},
	{"surrogate by reference in an attribute", "<message id='&#xDfff;'/>", []string{"fault not-well-formed"}},
	{"U+FFFE", gcm("\uFFFE"), []string{"fault not-well-formed"}},
	{"U+FFFF by reference", gcm("&#65535;"), []string{"fault not-well-formed"}},
	{"U+FFFE by reference", gcm("&#xFFFE;"), []string{"fault not-well-formed"}},
	{"surrogate pair by reference", gcm("&#xD83D;&#xDE00;"), []string{"fault not-well-formed"}},
	{"NUL in CDATA", gcm("<![CDATA[\x00]]>"), []string{"fault not-well-formed"}},
	{"control in CDATA", gcm("<![CDATA[\x1b]]>"), []string{"fault not-well-formed"}},
	{"not UTF-8 in CDATA", gcm("<![CDATA[\xff]]>"), []string{"fault not-well-formed"}},
	{"CESU-8 in CDATA", gcm("<![CDATA[\xed\xa0\xbd\xed\xb8\x80]]>"), []string{"fault not-well-formed"}},
	{"U+FFFE in CDATA", gcm("<![CDATA[\uFFFE]]>"), []string{"fault not-well-formed"}},
	{"NUL in an attribute", "<message id='\x00'/>", []string{"fault not-well-formed"}},
	{"NUL by reference in an attribute", "<message id='&#0;'/>", []string{"fault not-well-formed"}},
	{"not UTF-8 in an attribute", "<message id='\xff'/>", []string{"fault not-well-formed"}},
	{"U+FFFE in an attribute", "<message id='\uFFFE'/>", []string{"fault not-well-formed"}},
	{"NUL in a name", "<mess\x00age/>", []string{"fault not-well-formed"}},
	{"not UTF-8 in a name", "<mess\xffage/>", []string{"fault not-well-formed"}},
	{"NUL in an unknown element", "<a xmlns='urn:b'>\x00</a>", []string{"fault not-well-formed"}},
	{"not UTF-8 in an unknown element", "<a xmlns='urn:b'>\xff</a>", []string{"fault not-well-formed"}},
	{"surrogate by reference in an unknown element", "<a xmlns='urn:b'>&#xD800;</a>", []string{"fault not-well-formed"}},
	{"]]> in an unknown element", "<a xmlns='urn:b'>]]></a>", []string{"fault not-well-formed"}},
	{"character cut by a tag", "<message><gcm xmlns='google:mobile:data'>\xf0\x9f</gcm></message>", []string{"fault not-well-formed"}},
	{"past Unicode", gcm("&#x110000;"), []string{"fault not-well-formed"}},
	{"reference without digits", gcm("&#;&#x;"), []string{"fault not-well-formed"}},
	{"&x9;", gcm("&x9;"), []string{"fault restricted-xml"}},
	{"sign in a reference", gcm("&#+65;"), []string{"fault not-well-formed"}},
	{"end tags crossed", `<message><a><b></a></b></message>`, []string{"fault not-well-formed"}},
	{"end tag of another name", `<message></massage>`, []string{"fault not-well-formed"}},
	{"end tag of the payload missing", `<message><gcm xmlns="google:mobile:data">{}</message>`, []string{"fault not-well-formed"}},
	{"end tag of another case", `<message></Message>`, []string{"fault not-well-formed"}},
	{"end tag of another prefix", `<message><a:gcm xmlns:a="google:mobile:data" xmlns:b="google:mobile:data"></b:gcm></message>`, []string{"fault not-well-formed"}},
	{"end tag with attribute", `<message></message id="1">`, []string{"fault not-well-formed"}},
	{"attribute twice", `<message id="1" id="2"/>`, []string{"fault not-well-formed"}},
	{"attribute twice by prefix", `<message xmlns:a="u:u" xmlns:b="u:u" a:x="1" b:x="2"/>`, []string{"fault not-well-formed"}},
	{"attribute without quotes", `<message id=1/>`, []string{"fault not-well-formed"}},
	{"attribute without value", `<message id/>`, []string{"fault not-well-formed"}},
	{"< in an attribute", `<message id="<"/>`, []string{"fault not-well-formed"}},
	{"quote never closed", `<message id="1>` + after, []string{"fault not-well-formed"}},
	{"< in a tag", `<message <a/>`, []string{"fault not-well-formed"}},
	{"slash in a tag", `<message / >`, []string{"fault not-well-formed"}},
	{"no name", `<>`, []string{"fault not-well-formed"}},
	{"space before the name", `< message/>`, []string{"fault not-well-formed"}},
	{"name that starts with a digit", `<1message/>`, []string{"fault not-well-formed"}},
	{"name with two colons", `<a:b:c xmlns:a="u:u"/>`, []string{"fault not-well-formed"}},

	{"stream error", `<stream:error><invalid-xml xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error></stream:stream>`,
		[]string{"stream error invalid-xml "}},
	{"stream error with text", `<stream:error><text xmlns="urn:ietf:params:xml:ns:xmpp-streams">bye</text><system-shutdown xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error>`,
		[]string{"stream error system-shutdown bye"}},
	{"stanza error", `<message id="x7" type="error" to="4@gcm.googleapis.com/w1"><gcm xmlns="google:mobile:data">{"to":"tokA"}</gcm>
 <error code="400" type="modify"><bad-request xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>
  <text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">InvalidJson: JSON_PARSING_ERROR</text></error></message>` + after,
		append([]string{`message error #x7: {"to":"tokA"} {Code:400 Type:modify Condition:bad-request Text:InvalidJson: JSON_PARSING_ERROR}`}, afterwards...)},
	{"stanza error without error", `<message id="x8" type="error"><gcm xmlns="google:mobile:data">{}</gcm></message>`,
		[]string{"message error #x8: {} {Code: Type: Condition: Text:}", cut}},

	{"too large", gcm(strings.Repeat("x", testMax)) + after, append([]string{"too large: 4153 deep=false"}, afterwards...)},
	{"as large as may be", gcm(strings.Repeat("x", testMax-57)) + after,
		append([]string{"message: " + strings.Repeat("x", testMax-57)}, afterwards...)},
	{"one byte more", gcm(strings.Repeat("x", testMax-56)) + after, append([]string{"too large: 4097 deep=false"}, afterwards...)},
	{"too large, in pieces of all kinds", `<message id="` + strings.Repeat("i", testMax) + `"><a/><![CDATA[` + strings.Repeat("]]", testMax) + `<b>]]><c>d</c></message>` + after,
		append([]string{"too large: 12340 deep=false"}, afterwards...)},
	{"too large and broken", `<message>` + strings.Repeat("x", testMax) + `<a></b>` + after, []string{"fault not-well-formed"}},
	{"too large and cut", `<message>` + strings.Repeat("x", 2*testMax), []string{cut}},
	{"as deep as may be", nest(MaxDepth) + after, append([]string{"other a"}, afterwards...)},
	{"too deep", nest(MaxDepth+1) + after, append([]string{fmt.Sprintf("too large: %d deep=true", 7*(MaxDepth+1))}, afterwards...)},
	{"too deep by an empty element", strings.Repeat("<a>", MaxDepth) + "<b/>" + strings.Repeat("</a>", MaxDepth) + after,
		append([]string{fmt.Sprintf("too large: %d deep=true", 7*MaxDepth+4)}, afterwards...)},
}

func nest(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }

// P10: the same bytes mean the same, however TCP cuts them. If they end at any
// place, the reader hears what came before, and then the end.
func TestStreams(t *testing.T) {
	for _, c := range streams {
		t.Run(c.name, func(t *testing.T) {
			all := header + c.in
			check := func(how string, in io.Reader) {
				t.Helper()
				if got := hear(in); fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Fatalf("%s:\n got %q\nwant %q", how, got, c.want)
				}
			}
			check("whole", strings.NewReader(all))
			check("byte by byte", iotest.OneByteReader(strings.NewReader(all)))
			check("the last bytes with EOF", iotest.DataErrReader(strings.NewReader(all)))
			step := 1
			if len(c.in) > 2000 {
				step = 97
			}
			for i := len(header); i < len(all); i += step {
				check(fmt.Sprintf("cut at %q", all[len(header):i]), io.MultiReader(strings.NewReader(all[:i]), strings.NewReader(all[i:])))
				got := hear(strings.NewReader(all[:i]))
				whole := fmt.Sprint(got) == fmt.Sprint(c.want) // it ended with a fault, a stream error or the close
				if n := len(got) - 1; !whole && (got[n] != cut || n > len(c.want) || !slices.Equal(got[:n], c.want[:n])) {
					t.Fatalf("ends after %q: heard %q of %q", all[len(header):i], got, c.want)
				}
			}
		})
	}
}

// A read that fails by its deadline loses nothing. The next one goes on.
func TestNextGoesOnAfterReadError(t *testing.T) {
	all := header + gcm("{}") + "</stream:stream>"
	late := errors.New("deadline exceeded")
	for i := range all {
		r := NewReader(io.MultiReader(strings.NewReader(all[:i]), iotest.ErrReader(late), strings.NewReader(all[i:])), testMax)
		var got []string
		var failed int
		for len(got) < 3 && failed < 2 {
			var err error
			if len(got) == 0 {
				_, err = r.Header()
			} else {
				_, err = r.Next()
			}
			if errors.Is(err, late) {
				failed++
				// io.MultiReader stays at a reader that fails: put the rest in place.
				r.r = strings.NewReader(all[i:])
				continue
			}
			got = append(got, fmt.Sprint(err))
		}
		if want := []string{"<nil>", "<nil>", ErrClosed.Error()}; failed != 1 || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("late at %d: got %q and %d late reads", i, got, failed)
		}
	}
}

func TestReaderThatGivesNothing(t *testing.T) {
	r := NewReader(nothing{}, testMax)
	if _, err := r.Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

func TestSpacesAreCounted(t *testing.T) {
	r := NewReader(iotest.OneByteReader(strings.NewReader(header+" "+gcm("{ }")+" \n"+gcm("{}"))), testMax)
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	hearStanzas(r)
	if r.Spaces() != 3 {
		t.Errorf("counted %d, want 3", r.Spaces())
	}
}

func TestHeader(t *testing.T) {
	sound := header[:len(header)-1]
	for _, c := range []struct{ name, in, want string }{
		{"as CCS", header, "<nil>"},
		{"declaration", "<?xml version='1.0'?>\n" + header, "<nil>"},
		{"declaration and encoding", `<?xml version="1.0" encoding="UTF-8" ?>` + header, "<nil>"},
		{"space before", " \n" + header, "<nil>"},
		{"another prefix", `<str:stream xmlns:str="http://etherx.jabber.org/streams" xmlns="jabber:client" a=">">`, "<nil>"},
		{"next to nothing", `<stream xmlns="http://etherx.jabber.org/streams">`, "<nil>"},
		{"nothing", "", cut},
		{"cut", sound, cut},
		{"cut in the declaration", "<?xml version='1.0'", cut},
		{"its own end", sound + "/>", "fault not-well-formed"},
		{"no namespace", `<stream>`, "fault invalid-namespace"},
		{"another namespace", `<stream:stream xmlns:stream="urn:x">`, "fault invalid-namespace"},
		{"prefix nobody declared", `<stream:stream>`, "fault invalid-namespace"},
		{"another element", `<html>`, "fault invalid-namespace"},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "fault not-well-formed"},
		{"TLS", "\x15\x03\x01\x00\x02\x02\x46", "fault not-well-formed"},
		{"another encoding", `<?xml version="1.0" encoding="latin1"?>` + header, "fault not-well-formed"},
		{"DTD", `<!DOCTYPE a>` + header, "fault restricted-xml"},
		{"DTD after the declaration", `<?xml version="1.0"?><!DOCTYPE a>` + header, "fault restricted-xml"},
		{"two declarations", `<?xml version="1.0"?><?xml version="1.0"?>` + header, "fault restricted-xml"},
		{"instruction that looks like a declaration", `<?xml-stylesheet x?>` + header, "fault restricted-xml"},
		{"instruction", `<?php x?>` + header, "fault restricted-xml"},
		{"without end", sound + strings.Repeat(" ", 2*maxHeader), "fault policy-violation"},
		{"declaration without end", "<?xml" + strings.Repeat(" ", 2*maxHeader), "fault policy-violation"},
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
		} {
			t.Run(c.name+"/"+how, func(t *testing.T) {
				_, err := NewReader(wrap(strings.NewReader(c.in)), testMax).Header()
				got := "<nil>"
				if err != nil {
					got = told(err)
				}
				if got != c.want {
					t.Errorf("got %s, want %s (%v)", got, c.want, err)
				}
			})
		}
	}
}

func TestHeaderFields(t *testing.T) {
	h, err := NewReader(strings.NewReader(header), testMax).Header()
	if want := (Header{ID: "9C41D0AA17E2B36F", From: "gcm.googleapis.com", Version: "1.0"}); err != nil || h != want {
		t.Errorf("got %+v, %v", h, err)
	}
}

// The prefixes that the stream's header declares are valid in every element.
func TestHeaderPrefixes(t *testing.T) {
	in := `<s:stream xmlns:s="http://etherx.jabber.org/streams" xmlns:c="jabber:client" xmlns:d="google:mobile:data">` +
		`<c:message><d:gcm>{}</d:gcm></c:message><message/><s:error><conflict xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></s:error>`
	want := []string{"message: {}", "other message", "stream error conflict "}
	if got := hear(strings.NewReader(in)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The fast and the slow path agree on every case, and each of them is used.
func TestFastAndSlowAgree(t *testing.T) {
	fast, slow := 0, 0
	for _, c := range streams {
		r := NewReader(strings.NewReader(header+c.in), testMax)
		if _, err := r.Header(); err != nil {
			t.Fatal(err)
		}
		for {
			element, err := r.Next()
			if err != nil {
				break
			}
			if agree(t, r, element) {
				fast++
			} else {
				slow++
			}
		}
	}
	if fast < 20 || slow < 20 {
		t.Errorf("%d elements on the fast path and %d on the slow one", fast, slow)
	}
}

// agree fails if the fast path and encoding/xml read an element differently.
func agree(t *testing.T, r *Reader, element []byte) (fast bool) {
	t.Helper()
	text := string(element)
	want, wantErr := r.parseAny(bytes.Clone(element))
	got, fast, gotErr := r.parseFast(element)
	switch {
	case !fast && string(element) != text:
		t.Fatalf("fast path left %q but changed it to %q", text, element)
	case !fast:
	case gotErr != nil || wantErr != nil:
		if gotErr == nil || wantErr == nil || told(gotErr) != told(wantErr) {
			t.Fatalf("%q:\nfast %v\nslow %v", text, gotErr, wantErr)
		}
	case say(got) != say(want) || got.From != want.From || got.To != want.To || got.Kind != want.Kind:
		t.Fatalf("%q:\nfast %+v\nslow %+v", text, got, want)
	}
	return fast
}
