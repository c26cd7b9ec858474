package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/status"
	"balhost/sdk/message"
)

// A gateway has a line that says what devices do at it. Its problems follow, with who
// was denied or limited last. One beside a transport counts in the session's row.
func TestStatusOfGateway(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		change func(*status.Session)
		want   []string
		not    string
	}{
		"alone": {func(*status.Session) {}, []string{
			"phones   127.0.0.1:8443  -     ready  -    6          7        -       9   3.2ms    8     -\n",
			"  phones: gateway at 127.0.0.1:8443: 2 devices connected, 3 of 10000 connections; up: 9 stored, 1 known already, 2 refused, 4 receipts; down: 8 sent, 5 acked, 6 in flight\n",
		}, "gateway: "},
		"not listening": {func(s *status.Session) { s.Address, s.Gateway.Address = "", "" }, []string{" not listening "}, ""},
		"beside fcm_v1": {func(s *status.Session) {
			s.Address, s.Transport, s.FCMv1 = "fcm.googleapis.com", message.FCMv1, &status.FCMv1{State: "ready", Token: true, Window: 400}
		}, []string{
			"phones   fcm.googleapis.com  -     ready  -    0/400      7        -       9   3.2ms    8     -\n", "0 connections\n", "  phones: gateway at 127.0.0.1:8443: ",
		}, "nothing comes up"},
		"beside ccs": {func(s *status.Session) {
			s.Address, s.Transport, s.Connections = "ccs:5235", message.CCS, []status.Connection{{Number: 1, State: "ready", Window: 100}}
		}, []string{"phones   ccs:5235  1     ready ", "  phones: gateway at 127.0.0.1:8443: "}, ""},
		"denied": {func(s *status.Session) {
			s.Gateway.Denied, s.Gateway.LastDenied, s.Gateway.LastDeniedAt = 2, "192.0.2.7: the token has expired", now.Add(-5*time.Second)
		}, []string{"  phones: gateway: 2 credentials were denied, the last 5s ago: 192.0.2.7: the token has expired\n"}, ""},
		"limited": {func(s *status.Session) {
			s.Gateway.Limited, s.Gateway.LastLimited, s.Gateway.LastLimitedAt = 1, "192.0.2.7: 50 connections", now.Add(-time.Minute)
		}, []string{"  phones: gateway: 1 connection, request or message was over a limit, the last 1m0s ago: 192.0.2.7: 50 connections\n"}, ""},
		"pages": {func(s *status.Session) {
			s.Gateway.Foreign, s.Gateway.LastForeign, s.Gateway.LastForeignAt = 2, "https://evil.example", now.Add(-time.Minute)
		}, []string{"  phones: gateway: 2 requests of web pages were refused, because their origins are not in cors_origins, the last 1m0s ago: https://evil.example\n"}, ""},
		"no category": {func(s *status.Session) {
			s.Gateway.NoCategory, s.Gateway.LastNoCategory, s.Gateway.LastNoCategoryAt = 1, "phone-1", now.Add(-time.Minute)
		}, []string{"  phones: gateway: 1 upstream had no category, so only a plugin with the category \"*\" gets such, the last 1m0s ago: phone-1\n"}, ""},
		"mute":     {func(s *status.Session) { s.Gateway.Mute = "address already in use" }, []string{" not listening ", "gateway: does not listen, and tries again: address already in use\n"}, ""},
		"no room":  {func(s *status.Session) { s.Gateway.NoRoom, s.Gateway.Returned = 3, 1 }, []string{"3 upstreams or receipts were not stored for now", "1 downstream was given back"}, ""},
		"expiring": {func(s *status.Session) { s.Gateway.CertUntil = now.Add(50 * time.Hour) }, []string{"its certificate expires in 2d2h\n"}, ""},
		"expired":  {func(s *status.Session) { s.Gateway.CertUntil = now.Add(-time.Hour) }, []string{"its certificate has expired 1h0m ago\n"}, ""},
		"fresh":    {func(s *status.Session) { s.Gateway.CertUntil = now.Add(90 * 24 * time.Hour) }, nil, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			s := status.Session{Name: "phones", SenderID: "1", Transport: message.Gateway, Address: "127.0.0.1:8443", Upstreams: 9, Downstreams: 8, Waiting: 7, AckP99: 3.21, Gateway: &status.Gateway{
				Address: "127.0.0.1:8443", Sockets: 2, Connections: 3, MaxConnections: 10000, Stored: 9, Duplicates: 1, Refused: 2, Receipts: 4, Downstreams: 8, Acked: 5, InFlight: 6,
			}}
			c.change(&s)
			var out strings.Builder
			if err := printSessions(&out, []status.Session{s}, now); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
			if c.not != "" && strings.Contains(out.String(), c.not) {
				t.Errorf("%q in\n%s", c.not, out.String())
			}
		})
	}
}

// check says who may come in at a gateway, with which certificate, and whether the keys
// by which it checks devices can be had. // P10
func TestCheckGateway(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("plugins", 0o755); err != nil {
		t.Fatal(err)
	}
	certificate(t, "gateway.example.com", time.Now().Add(72*time.Hour))
	write(t, "jwks.json", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`, 0o600)
	config := func(listen, jwks string) string {
		return fmt.Sprintf(`
session "phones" {
  sender_id = "739201846512"
  gateway {
    listen          = %q
    trusted_proxies = ["127.0.0.1"]
    tls {
      cert_file = "tls.crt"
      key_file  = "tls.key"
    }
    auth "jwt" {
      jwks = %q
    }
    auth "hmac" {
      secrets = { a = "hunter2", b = "hunter2" }
    }
    auth "static" {
      token = "hunter2"
    }
  }
}
`, listen, jwks)
	}
	write(t, "config.hcl", config("127.0.0.1:8443", "jwks.json"), 0o600)
	code, out, said := line(t, "check", "--online")
	for _, want := range []string{
		"phones   gateway    127.0.0.1:8443  up and down  -        -\n",
		"  phones: gateway at 127.0.0.1:8443, with a certificate for gateway.example.com until ",
		`  phones: auth jwt: the claim "sub" of your own login's tokens; 1 key of `,
		"  phones: auth hmac: the name of the key, of 2 secrets\n",
		"  phones: auth static: every device says who it is: for development\n",
		`note: session "phones": auth "static" lets everybody who has its token`,
		`tls.crt expires in 2d23h`,
	} {
		if !strings.Contains(out, want) || code != 0 {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, said)
		}
	}
	if strings.Contains(out+said, "hunter2") {
		t.Errorf("a secret is shown:\n%s%s", out, said)
	}

	write(t, "config.hcl", `
session "phones" {
  sender_id = "739201846512"
  gateway {
    listen          = "127.0.0.1:8443"
    trusted_proxies = ["127.0.0.1"]
    proxy_protocol  = true
    auth "static" {
      token = "hunter2"
    }
  }
}
`, 0o600)
	if code, out, said := line(t, "check"); code != 0 || !strings.Contains(out, "proxy_protocol without a tls block") {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
	write(t, "config.hcl", config("127.0.0.1:8443", "https://127.0.0.1:1/jwks"), 0o600)
	if code, out, said := line(t, "check"); code != 0 || !strings.Contains(out, "keys of https://127.0.0.1:1/jwks, not asked") {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
	code, out, said = line(t, "check", "--online", "--json")
	var f findings
	if err := json.Unmarshal([]byte(out), &f); err != nil || code != exitFailed || f.Sessions[0].Online != nil || f.Sessions[0].Gateway.Auth[0].KeySets[0].Problem == "" {
		t.Errorf("exit %d, %v\n%s%s", code, err, out, said)
	}
	if !strings.Contains(said, `session "phones": auth "jwt": the keys of https://127.0.0.1:1/jwks can't be used: `) {
		t.Errorf("it says %s", said)
	}

	certificate(t, "gateway.example.com", time.Now().Add(-time.Hour))
	if code, out, said := line(t, "check"); code != exitFailed || !strings.Contains(said, "has expired 1h0m ago: no device connects") {
		t.Errorf("exit %d\n%s%s", code, out, said)
	}
}

// certificate writes tls.crt and tls.key into the working folder.
func certificate(t *testing.T, name string, until time.Time) {
	t.Helper()
	certificateIn(t, ".", name, until)
}

func certificateIn(t *testing.T, dir, name string, until time.Time) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tls.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o600)
	write(t, filepath.Join(dir, "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})), 0o600)
}
