package admin

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/certtest"
)

// A command on the host's machine knows the host by the certificate in the config's file: this
// very one, expired or not, and no other of the same CA.
func TestClientKnowsItsHost(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ca := certtest.NewAuthority(t, "CA")
	ca.Write(t, at("ca.pem"))
	ca.Issue(t, "host", at("own.crt"), at("own.key"), time.Now().AddDate(0, 0, -1))
	ca.Issue(t, "other", at("other.crt"), at("other.key"), time.Now().AddDate(0, 1, 0))
	for name, want := range map[string]string{"own": "", "other": "it does not show the certificate in " + at("other.crt"), "none": "no such file"} {
		s := serve(t, &host{}, Options{TLS: TLS{CertFile: at("own.crt"), KeyFile: at("own.key")}, Tokens: testTokens})
		c, err := Address{Listen: s.Addr(), Token: "s3cret", Own: at(name + ".crt")}.Client()
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Status(t.Context())
		c.Close()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		until, warnings := s.Certificate(time.Now())
		if until.IsZero() || len(warnings) != 1 || !strings.Contains(warnings[0], "has expired on") {
			t.Errorf("%s %q", until, warnings)
		}
	}
	if _, err := Listen(Options{Listen: "127.0.0.1:0", TLS: TLS{CertFile: at("own.crt"), KeyFile: at("other.key")}}); err == nil || !strings.Contains(err.Error(), "can't be used together") {
		t.Errorf("%v", err)
	}
}

// Who asks without TLS where there is some, or with TLS where there is none, is told.
func TestClientSaysWhichScheme(t *testing.T) {
	dir, ca := t.TempDir(), certtest.NewAuthority(t, "CA")
	cert, key := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	ca.Issue(t, "host", cert, key, time.Now().AddDate(0, 1, 0))
	secured, plain := serve(t, &host{}, Options{TLS: TLS{CertFile: cert, KeyFile: key}}), serve(t, &host{}, Options{})
	for address, want := range map[string]string{
		strings.TrimPrefix(secured.Addr(), httpsPrefix):              "write https://" + strings.TrimPrefix(secured.Addr(), httpsPrefix),
		httpPrefix + strings.TrimPrefix(secured.Addr(), httpsPrefix): "write https://" + strings.TrimPrefix(secured.Addr(), httpsPrefix),
		httpsPrefix + plain.Addr():                                   "speaks no TLS",
		httpPrefix + plain.Addr() + "/":                              "",
		secured.Addr():                                               "give the CA's certificate with --ca-file",
	} {
		if _, err := client(t, secured, "").Status(t.Context()); err == nil {
			t.Fatal("a certificate of nobody's CA is taken")
		}
		c := NewClient(address, "")
		_, err := c.Status(t.Context())
		c.Close()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
