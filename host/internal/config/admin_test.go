package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Tokens have roles and names; what is wrong with one is said without showing it.
func TestTokens(t *testing.T) {
	env := func(name string) (string, bool) { return name + " has 16 bytes", name != "NOT_SET" }
	admin := func(block string) (Config, error) {
		return Parse("config.hcl", []byte(least+"admin {\n"+block+"\n}"), env)
	}
	cfg, err := admin(`token "ops@night" {
  role   = "operate"
  secret = env("OP")
}
token "grafana" {
  role   = "read"
  secret = env("GRAFANA")
}
listen = "0.0.0.0:8765"`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Token{{"ops@night", "operate", "OP has 16 bytes"}, {"grafana", "read", "GRAFANA has 16 bytes"}}
	if !slices.Equal(cfg.Admin.Tokens, want) || cfg.Admin.Best() != want[0].Secret || len(cfg.Admin.Secrets()) != 2 {
		t.Errorf("%+v", cfg.Admin.Tokens)
	}
	if w := cfg.Admin.Warnings(); len(w) != 2 || !strings.Contains(w[0], `token "ops@night"`) || !strings.Contains(w[1], "plain HTTP") {
		t.Errorf("%q", w)
	}
	if cfg, err := admin(`listen = "unix:a.sock"`); err != nil || len(cfg.Admin.Warnings()) > 0 {
		t.Errorf("a unix socket: %q %v", cfg.Admin.Warnings(), err)
	}
	for _, tc := range []struct{ block, want string }{
		{"token \"a\" {\n secret = \"hunter2\"\n}", `token "a" has no role`},
		{"token \"a\" {\n role = \"read\"\n}", `token "a" has no secret`},
		{"token \"a\" {\n role = \"root\"\n secret = \"hunter2\"\n}", `"root" is not one of read, operate, admin`},
		{"token \"a\" {\n role = \"read\"\n secret = \"\"\n}", "is empty"},
		{"token \"a b\" {\n role = \"read\"\n secret = \"hunter2\"\n}", `"a b" can't be the name of a token`},
		{"token = \"hunter2\"\ntoken \"a\" {\n role = \"read\"\n secret = \"hunter2\"\n}", `the token "a" is the same as token`},
		{"token \"a\" {\n role = \"read\"\n secret = \"hunter2\"\n}\ntoken \"b\" {\n role = \"read\"\n secret = \"hunter2\"\n}", `the tokens "a" and "b" are the same`},
		{"token \"a\" {\n role = \"read\"\n secret = \"hunter2\"\n}\ntoken \"a\" {\n role = \"read\"\n secret = \"hunter3\"\n}", `token "a" already has a block`},
	} {
		_, err := admin(tc.block)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v", tc.block, err)
		}
	}
}

// A command does not need the tokens of others.
func TestLoadAdminNeedsOnlyItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.hcl")
	src := `admin {
  listen = "10.0.0.1:8765"
  token "others" {
    role   = "admin"
    secret = env("NOT_SET_HERE")
  }
  token "watch" {
    role   = "read"
    secret = "0123456789abcdef"
  }
}`
	if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := LoadAdmin(path)
	if err != nil || a.Best() != "0123456789abcdef" {
		t.Errorf("%+v %v", a, err)
	}
}

// The admin block's certificate is looked at before anything starts; plain HTTP that others
// can reach is told of tls. A command that reads only this block needs no key.
func TestAdminTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, "localhost")
	for name, text := range map[string]string{"a.crt": cert, "a.key": key, "text": "nothing"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	admin := func(block string) (Config, error) {
		return Parse(filepath.Join(dir, "config.hcl"), []byte(least+"admin {\n"+block+"\n}"), noEnv)
	}
	const token, files = "token = \"0123456789abcdef\"\n", "cert_file = \"a.crt\"\nkey_file = \"a.key\"\n"
	cfg, err := admin("listen = \"0.0.0.0:8765\"\n" + token + "tls {\n" + files + "client_ca_file = \"a.crt\"\n}")
	if err != nil {
		t.Fatal(err)
	}
	if a, at := cfg.Admin, dir+"/a."; a.CertFile != at+"crt" || a.KeyFile != at+"key" || a.ClientCAFile != at+"crt" || len(a.Warnings()) > 0 {
		t.Errorf("%+v %q", a, a.Warnings())
	}
	if cfg, err := admin("listen = \"0.0.0.0:8765\"\n" + token); err != nil || len(cfg.Admin.Warnings()) != 1 || !strings.Contains(cfg.Admin.Warnings()[0], "tls {") {
		t.Errorf("%v %q", err, cfg.Admin.Warnings())
	}
	for _, tc := range []struct{ block, want string }{
		{`listen = "0.0.0.0:8765"`, "needs a token: token = env(\"BALHOST_ADMIN_TOKEN\"); give it a block tls {"},
		{"listen = \"0.0.0.0:8765\"\ntls {\n" + files + "}", "needs a token"},
		{"listen = \"unix:a.sock\"\ntls {\n" + files + "}", "listens on a unix socket"},
		{"tls {}", "tls in the admin block has no cert_file"},
		{"tls {\n cert_file = \"a.crt\"\n key_file = \"a.crt\"\n}", "can't be used together"},
		{"tls {\n cert_file = \"none\"\n key_file = \"a.key\"\n}", "no such file"},
		{"tls {\n" + files + "client_ca_file = \"\"\n}", "client_ca_file: is empty"},
		{"tls {\n" + files + "client_ca_file = \"text\"\n}", "text has no certificate in PEM"},
		{"tls {\n" + files + "client_ca_file = \"none\"\n}", "no such file"},
		{"tls {\n cert_file = \"data/ledger/a.crt\"\n key_file = \"a.key\"\n}", "lies in the host's own folder"},
	} {
		if _, err := admin(tc.block); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.block, err)
		}
	}
	path := filepath.Join(dir, "other.hcl")
	if err := os.WriteFile(path, []byte("admin {\n tls {\n cert_file = \"a.crt\"\n key_file = \"secret.key\"\n}\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := LoadAdmin(path); err != nil || a.CertFile != filepath.Join(dir, "a.crt") {
		t.Errorf("%+v %v", a, err)
	}
}
