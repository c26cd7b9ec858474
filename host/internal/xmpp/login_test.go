package xmpp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// server is a server that answers each write with the next reply.
type server struct {
	replies [4]string // to the first header, to auth, to the second header, to bind
	heard   []string
	out     bytes.Buffer
}

func (s *server) Write(b []byte) (int, error) {
	s.out.WriteString(s.replies[len(s.heard)])
	s.heard = append(s.heard, string(b))
	return len(b), nil
}

func (s *server) Read(b []byte) (int, error) { return s.out.Read(b) }

const (
	mechanisms = `<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>X-OAUTH2</mechanism><mechanism>X-GOOGLE-TOKEN</mechanism><mechanism>PLAIN</mechanism></mechanisms></stream:features>`
	success    = `<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>`
	canBind    = `<stream:features><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/><session xmlns="urn:ietf:params:xml:ns:xmpp-session"/></stream:features>`
	bound      = `<iq type="result" id="bind"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><jid>482@gcm.googleapis.com/w1</jid></bind></iq>`
	bare       = `<stream:stream xmlns:stream="http://etherx.jabber.org/streams" xmlns="jabber:client">`
	secret     = "demo-server-key"
)

var someone = Credentials{Domain: "gcm.googleapis.com", AuthCID: "482@gcm.googleapis.com", Password: secret, Resource: "w1"}

func logIn(replies [4]string, wrap func(io.Reader) io.Reader) (string, *server, *Reader, error) {
	s := &server{replies: replies}
	r := NewReader(wrap(s), testMax)
	jid, err := Login(s, r, someone)
	return jid, s, r, err
}

var chunkings = map[string]func(io.Reader) io.Reader{
	"whole":        func(r io.Reader) io.Reader { return r },
	"byte by byte": iotest.OneByteReader,
	"halves":       iotest.HalfReader,
}

// The login works with every kind of server in ccs-protocol.md §1.2. A stanza that
// follows the login at once is not lost.
func TestLogin(t *testing.T) {
	const jid = "482@gcm.googleapis.com/w1"
	pretty := strings.NewReplacer("><", ">\n  <")
	for _, c := range []struct {
		name    string
		replies [4]string
	}{
		{"as CCS", [4]string{header + mechanisms, success, header + canBind, bound}},
		{"no id, from, version", [4]string{bare + mechanisms, success, bare + canBind, bound}},
		{"declaration", [4]string{`<?xml version="1.0"?>` + header + mechanisms, success, "<?xml version='1.0'?>\n" + header + canBind, bound}},
		{"pretty", [4]string{header + "\n" + pretty.Replace(mechanisms), "\n" + success + "\n", header + " \n" + pretty.Replace(canBind), "\n" + pretty.Replace(bound)}},
		{"unknown features", [4]string{header + strings.Replace(mechanisms, "<mech", `<starttls xmlns="urn:ietf:params:xml:ns:xmpp-tls"/><mech`, 1), success,
			header + strings.Replace(canBind, "<bind", `<sm xmlns="urn:xmpp:sm:3"/><bind`, 1), bound}},
		{"no features but bind", [4]string{header + mechanisms, success, header + `<stream:features/>`, bound}},
		{"bind result without id", [4]string{header + mechanisms, success, header + canBind, strings.Replace(bound, ` id="bind"`, "", 1)}},
		{"bind result of another id", [4]string{header + mechanisms, success, header + canBind, strings.Replace(bound, `"bind"`, `"x"`, 1)}},
		{"bind result without jid", [4]string{header + mechanisms, success, header + canBind, `<iq type="result" id="bind"/>`}},
		{"success with data", [4]string{header + mechanisms, `<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl">=</success>`, header + canBind, bound}},
		{"other prefixes", [4]string{strings.NewReplacer("stream:", "str:", "xmlns:stream", "xmlns:str").Replace(header + mechanisms), `<s:success xmlns:s="urn:ietf:params:xml:ns:xmpp-sasl"/>`, header + canBind, bound}},
		{"noise", [4]string{header + `<presence/>` + mechanisms, `<presence/> ` + success, header + `<a xmlns="b"/>` + canBind, `<iq type="get" id="1"><ping xmlns="urn:xmpp:ping"/></iq>` + bound}},
		{"second header sent early", [4]string{header + mechanisms, success + header + canBind, "", bound}},
	} {
		for how, wrap := range chunkings {
			t.Run(c.name+"/"+how, func(t *testing.T) {
				replies := c.replies
				replies[3] += " " + gcm("{}")
				got, s, r, err := logIn(replies, wrap)
				if err != nil || got != jid {
					t.Fatalf("got %q, %v", got, err)
				}
				if rest := hearStanzas(r); fmt.Sprint(rest) != "[message: {} unexpected EOF]" {
					t.Errorf("after the login came %q", rest)
				}
				blob := base64.StdEncoding.EncodeToString([]byte("\x00482@gcm.googleapis.com\x00" + secret))
				open := `<stream:stream to="gcm.googleapis.com" version="1.0" xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams">`
				want := []string{open, `<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">` + blob + `</auth>`, open,
					`<iq type="set" id="bind"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><resource>w1</resource></bind></iq>`}
				if fmt.Sprint(s.heard) != fmt.Sprint(want) {
					t.Errorf("wrote %q\nwant %q", s.heard, want)
				}
			})
		}
	}
}

// Only wrong credentials need a person.
func TestTemporaryDenial(t *testing.T) { // Spec: RFC 6120 §6.5.12
	for condition, temporary := range map[string]bool{"temporary-auth-failure": true, "not-authorized": false, "account-disabled": false, "": false} {
		if e := (&AuthError{Condition: condition}); e.Temporary() != temporary {
			t.Errorf("%q: temporary %v", condition, e.Temporary())
		}
	}
}

func TestLoginDenied(t *testing.T) {
	failure := func(inner string) string {
		return `<failure xmlns="urn:ietf:params:xml:ns:xmpp-sasl">` + inner + `</failure></stream:stream>`
	}
	for _, c := range []struct {
		name    string
		replies [4]string
		want    any    // what errors.As finds; nil: only the text counts
		text    string // part of the error's
	}{
		{"wrong key", [4]string{header + mechanisms, failure(`<not-authorized/>`)}, new(*AuthError), "not-authorized; check sender_id and server_key"},
		{"with text", [4]string{header + mechanisms, failure(`<account-disabled/><text xml:lang="en">gone</text>`)}, new(*AuthError), "account-disabled (gone)"},
		{"failure without condition", [4]string{header + mechanisms, failure("")}, new(*AuthError), "no condition"},
		{"challenge", [4]string{header + mechanisms, `<challenge xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>`}, new(*AuthError), "unexpected challenge"},
		{"no PLAIN", [4]string{header + strings.Replace(mechanisms, "PLAIN", "SCRAM-SHA-1", 1)}, new(*AuthError), "SCRAM-SHA-1"},
		{"no mechanisms", [4]string{header + canBind}, nil, ErrNoLogin.Error()},
		{"wrong domain", [4]string{header + `<stream:error><host-unknown xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error>`}, new(*StreamError), "host-unknown"},
		{"another client", [4]string{header + `<stream:error><conflict xmlns="urn:ietf:params:xml:ns:xmpp-streams"/><text xmlns="urn:ietf:params:xml:ns:xmpp-streams">Replaced by new connection</text></stream:error>`},
			new(*StreamError), "conflict (Replaced by new connection); another client logs in as this sender: does a second balhost run with it?"},
		{"another host", [4]string{header + `<stream:error><see-other-host xmlns="urn:ietf:params:xml:ns:xmpp-streams"> [2001:db8::1]:5235 </see-other-host></stream:error>`},
			new(*StreamError), "see-other-host; it names [2001:db8::1]:5235, which is not followed: set the session's address"},
		{"a long text", [4]string{header + mechanisms, failure(`<aborted/><text>` + strings.Repeat("é", 900) + `</text>`)}, new(*AuthError), "aborted (" + strings.Repeat("é", 150) + "…)"},
		{"bind rejected", [4]string{header + mechanisms, success, header + canBind, `<iq type="error" id="bind"><error type="cancel"><not-allowed xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></iq>`}, new(*StanzaError), "not-allowed"},
		{"closed", [4]string{header + mechanisms, `</stream:stream>`}, nil, ErrClosed.Error()},
		{"cut", [4]string{header + mechanisms, `<succ`}, nil, "unexpected EOF"},
		{"silent", [4]string{}, nil, "unexpected EOF"},
		{"no XMPP", [4]string{"SSH-2.0-OpenSSH_9.2\r\n"}, new(*SyntaxError), "is this an XMPP port?"},
		{"comment in features", [4]string{header + strings.Replace(mechanisms, "<mech", "<!-- --><mech", 1)}, new(*RestrictedError), "a comment"},
		{"message first", [4]string{header + mechanisms, success, header + canBind, gcm("{}") + bound}, new(*SyntaxError), "before the login has ended"},
		{"noise for ever", [4]string{header + strings.Repeat("<presence/>", 100)}, new(*SyntaxError), "no answer"},
		{"too large", [4]string{header + nest(20) + mechanisms}, new(*TooLargeError), "skipped"},
	} {
		for how, wrap := range chunkings {
			t.Run(c.name+"/"+how, func(t *testing.T) {
				_, _, _, err := logIn(c.replies, wrap)
				if err == nil || !strings.Contains(err.Error(), c.text) {
					t.Fatalf("got %v, want %q in it", err, c.text)
				}
				if c.want != nil && !errors.As(err, c.want) {
					t.Errorf("got %#v, want a %T", err, c.want)
				}
				if strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "482@gcm.googleapis.com") {
					t.Errorf("the error must name the sender and not the key: %v", err)
				}
			})
		}
	}
}

// What we write is escaped. A text that XML cannot carry is an error.
func TestLoginEscapes(t *testing.T) {
	s := &server{replies: [4]string{header + mechanisms, success, header + canBind, bound}}
	c := someone
	c.Domain, c.Resource = `a"<&>`, `<r&>`
	if _, err := Login(s, NewReader(s, testMax), c); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.heard[0], `<stream:stream to="a&#34;&lt;&amp;&gt;" `) || !strings.Contains(s.heard[3], `<resource>&lt;r&amp;&gt;</resource>`) {
		t.Errorf("wrote %q", s.heard)
	}
	c.Resource = "\x00"
	if _, err := Login(&server{replies: s.replies}, NewReader(strings.NewReader(header+mechanisms+success+header+canBind+bound), testMax), c); err == nil {
		t.Error("a resource that XML cannot carry was taken")
	}
}

func TestCredentialsHideThePassword(t *testing.T) {
	for _, f := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if s := fmt.Sprintf(f, someone); strings.Contains(s, secret) {
			t.Errorf("%s prints %s", f, s)
		}
	}
}

func TestWrite(t *testing.T) {
	message, err := AppendMessage([]byte("x"), `a"b`, []byte(`{"a":"& < > ' ]]>"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, got, want string }{
		{"message", string(message), `x<message id="a&#34;b"><gcm xmlns="google:mobile:data">{"a":"&amp; &lt; &gt; ' ]]&gt;"}</gcm></message>`},
		{"ping", string(AppendPing(nil, "c2s1", "gcm.googleapis.com")), `<iq type="get" id="c2s1" to="gcm.googleapis.com"><ping xmlns="urn:xmpp:ping"/></iq>`},
		{"result", string(AppendIQResult(nil, `1&2`, "")), `<iq type="result" id="1&amp;2"/>`},
		{"error", string(AppendIQError(nil, "1", "a@b/c")), `<iq type="error" id="1" to="a@b/c"><error type="cancel"><service-unavailable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></iq>`},
		{"stream error", string(AppendStreamError(nil, "not-well-formed", "a < b")),
			`<stream:error><not-well-formed xmlns="urn:ietf:params:xml:ns:xmpp-streams"/><text xmlns="urn:ietf:params:xml:ns:xmpp-streams">a &lt; b</text></stream:error></stream:stream>`},
		{"stream error without text", string(AppendStreamError(nil, "restricted-xml", "")),
			`<stream:error><restricted-xml xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error></stream:stream>`},
		{"stream error, text nobody can write", string(AppendStreamError(nil, "restricted-xml", "\x00")),
			`<stream:error><restricted-xml xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error></stream:stream>`},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, c.got, c.want)
		}
	}
}

func TestParseIQAndFeatures(t *testing.T) {
	r := NewReader(strings.NewReader(header+mechanisms+canBind+bound+
		`<iq type="set"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><resource>w1</resource></bind></iq>`+
		`<iq type="get" id="1" from="gcm.googleapis.com"><ping xmlns="urn:xmpp:ping"/></iq>`+
		`<iq type="get" id="2"><query xmlns="jabber:iq:version"/></iq>`), testMax)
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	next := func() Stanza {
		element, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.Parse(element)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := next(); s.Kind != Features || fmt.Sprint(s.Mechanisms) != "[X-OAUTH2 X-GOOGLE-TOKEN PLAIN]" || s.Bind != nil {
		t.Errorf("mechanisms: %+v", s)
	}
	if s := next(); s.Kind != Features || s.Bind == nil || s.Mechanisms != nil {
		t.Errorf("bind feature: %+v", s)
	}
	if s := next(); s.Kind != IQ || s.Bind == nil || s.Bind.JID != "482@gcm.googleapis.com/w1" {
		t.Errorf("bind result: %+v", s)
	}
	if s := next(); s.Kind != IQ || s.Bind == nil || s.Bind.Resource != "w1" {
		t.Errorf("bind request: %+v", s)
	}
	if s := next(); s.Kind != IQ || !s.Ping || s.From != "gcm.googleapis.com" {
		t.Errorf("ping: %+v", s)
	}
	if s := next(); s.Kind != IQ || s.Ping || s.Bind != nil {
		t.Errorf("other iq: %+v", s)
	}
}
