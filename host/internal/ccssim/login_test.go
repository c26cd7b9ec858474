package ccssim

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/xmpp"
)

func TestLogin(t *testing.T) {
	s := newServer(t, Options{Senders: map[string]string{"77": "other"}})
	for _, tt := range []struct {
		cid, key string
		ok       bool
	}{
		{DefaultSenderID + "@gcm.googleapis.com", DefaultServerKey, true},
		{DefaultSenderID + "@fcm.googleapis.com", DefaultServerKey, true},
		{DefaultSenderID, DefaultServerKey, true},
		{"77@gcm.googleapis.com", "other", true},
		{"77@gcm.googleapis.com", DefaultServerKey, false},
		{DefaultSenderID + "@gcm.googleapis.com", "", false},
		{DefaultSenderID + "@fcm-xmpp.googleapis.com", DefaultServerKey, false},
		{"1@gcm.googleapis.com", DefaultServerKey, false},
	} {
		c, err := loginAs(t, pipe(s), tt.cid, tt.key)
		if tt.ok && err != nil {
			t.Errorf("%s: %v", tt.cid, err)
		}
		if tt.ok {
			continue
		}
		var denied *xmpp.AuthError
		if !errors.As(err, &denied) || denied.Condition != "not-authorized" {
			t.Errorf("%s with key %q: %v, want not-authorized", tt.cid, tt.key, err)
		}
		c.over() // there is no second try
	}
	equal(t, "denied", s.Counts().Denied, 4)
	equal(t, "logins", s.Counts().Logins, 4)
	for _, l := range s.Transcript() {
		if strings.Contains(l.Stanza, "<auth x") {
			t.Errorf("a credential is in the transcript: %s", l.Stanza)
		}
	}
}

func TestTLSAndCAOutliveARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "sim-ca.pem")
	var first []byte
	for range 2 {
		s, err := NewServer(Options{CAFile: file})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first, err = os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
		}
		equal(t, "CA", string(s.CAPEM()), string(first))
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(first)
		for _, name := range []string{"localhost", "127.0.0.1"} {
			nc, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: roots, ServerName: name})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := loginAs(t, nc, s.SenderID()+"@gcm.googleapis.com", s.Key()); err != nil {
				t.Error(err)
			}
		}
		if nc, err := tls.Dial("tcp", s.Addr(), &tls.Config{ServerName: "localhost"}); err == nil {
			nc.Close()
			t.Error("a client without the CA trusts the simulator")
		}
		s.Close()
	}
	info, err := os.Stat(strings.TrimSuffix(file, ".pem") + ".key")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("CA key: %v %v, want mode 0600", info, err)
	}
	os.Remove(strings.TrimSuffix(file, ".pem") + ".key")
	if _, err := NewServer(Options{CAFile: file}); err == nil || !strings.Contains(err.Error(), "no key beside it") {
		t.Errorf("certificate without key: %v", err)
	}
	key := filepath.Join(t.TempDir(), "server.key") // the key of somebody who misspelt the certificate's name
	if err := os.WriteFile(key, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ca := range []string{strings.TrimSuffix(key, ".key") + ".pem", key} {
		if _, err := NewServer(Options{CAFile: ca}); err == nil {
			t.Errorf("%s: no error", ca)
		}
	}
	if text, err := os.ReadFile(key); err != nil || string(text) != "mine" {
		t.Errorf("key: %q, %v", text, err)
	}
}

func TestIQ(t *testing.T) {
	c := login(t, newServer(t, Options{}))
	for _, tt := range []struct{ child, kind string }{
		{`<ping xmlns="urn:xmpp:ping"/>`, "result"},
		{`<session xmlns="urn:ietf:params:xml:ns:xmpp-session"/>`, "result"},
		{`<query xmlns="jabber:iq:roster"/>`, "error"},
	} {
		c.write(`<presence/><iq type="get" id="i7" to="gcm.googleapis.com">` + tt.child + `</iq>`)
		st := c.stanza()
		if st.Kind != xmpp.IQ || st.ID != "i7" || st.Type != tt.kind {
			t.Errorf("%s: got %+v, want iq %s", tt.child, st, tt.kind)
		}
	}
}

// A login that does not go on is ended. After the login a client may be silent for
// ever, and gets a space now and then.
func TestDeadlinesAndKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Keepalive: 10 * time.Second, LoginTimeout: 5 * time.Second})
		begin := time.Now()
		mute := pipe(s)
		if _, err := mute.Read(make([]byte, 1)); err == nil || time.Since(begin) != 5*time.Second {
			t.Errorf("silent login ended after %v with %v", time.Since(begin), err)
		}
		c := login(t, s)
		c.silent(25*time.Second + time.Millisecond)
		equal(t, "spaces", c.r.Spaces(), 2)
		c.write(" ") // a client's own keepalive
		c.downstream(`{"to":"t","message_id":"m"}`)
		equal(t, "after the silence", c.payload()["message_type"], any("ack"))
		s.Close()
	})
}

func TestStreamEnds(t *testing.T) {
	for _, tt := range []struct{ write, condition string }{
		{"</stream:stream>", ""},
		{"<message><gcm xmlns=\"google:mobile:data\">{a & b}</gcm></message>", "invalid-xml"},
		{"<!-- no comments -->", "invalid-xml"},
		{"<message>" + strings.Repeat("x", 70<<10) + "</message>", "policy-violation"},
	} {
		s := newServer(t, Options{})
		c := login(t, s)
		c.write(tt.write)
		_, err := c.read()
		var se *xmpp.StreamError
		switch {
		case tt.condition == "" && !errors.Is(err, xmpp.ErrClosed):
			t.Errorf("after the client's end of stream: %v", err)
		case tt.condition != "" && (!errors.As(err, &se) || se.Condition != tt.condition):
			t.Errorf("%.60q: %v, want stream error %s", tt.write, err, tt.condition)
		}
	}
}
