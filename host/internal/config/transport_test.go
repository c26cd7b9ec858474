package config

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The form of older versions is one problem for each session. It shows the whole session
// as it is to be written, which can be pasted as it stands.
func TestOlderForm(t *testing.T) {
	for _, tc := range []struct{ name, src, want string }{{
		name: "all of it",
		src: `session "main" { # the old form
  address         = "127.0.0.1:5236" # the simulator
  sender_id       = "482915730064"
  server_key      = env("BALHOST_SERVER_KEY", "simulator")
  connections     = 1
  ack_warn        = "100ms"
  connect_backoff {
    min = "1s"
  }
  tls {
    ca_file     = "sim-ca.pem"
    server_name = "localhost"
  }
}
`,
		want: `config.hcl:1,1-15: session "main" has keys of ccs directly in it; they stand in a block ccs now: write it as below
    session "main" {
      sender_id = "482915730064"

      ccs {
        address     = "127.0.0.1:5236"
        server_key  = env("BALHOST_SERVER_KEY", "simulator")
        connections = 1
        ack_warn    = "100ms"

        connect_backoff {
          min = "1s"
        }

        tls {
          ca_file     = "sim-ca.pem"
          server_name = "localhost"
        }
      }
    }`,
	}, {
		name: "a secret in it",
		src:  "session \"main\" {\n  sender_id = \"1\"\n  address = \"ccs:1\"\n  server_key = \"hunter2\"\n}\n",
		want: `config.hcl:1,1-15: session "main" has keys of ccs directly in it; they stand in a block ccs now: write it as below
    session "main" {
      sender_id = "1"

      ccs {
        address    = "ccs:1"
        server_key = "…" # as it is now; better: env("NAME") or file("path")
      }
    }`,
	}, {
		name: "beside its block",
		src:  "session \"main\" {\n  sender_id = \"1\"\n  window = 7\n  ccs {\n    address = \"ccs:1\"\n    server_key = env(\"K\", \"k\")\n  }\n}\n",
		want: `config.hcl:1,1-15: session "main" has keys outside of its block ccs: window: write it as below
    session "main" {
      sender_id = "1"

      ccs {
        window     = 7
        address    = "ccs:1"
        server_key = env("K", "k")
      }
    }`,
	}, {
		name: "fcm_v1's",
		src:  "session \"main\" {\n  sender_id = \"1\"\n  credentials = \"adc\"\n  connections = 2\n}\n",
		want: `config.hcl:1,1-15: session "main" has keys of fcm_v1 directly in it; they stand in a block fcm_v1 now: write it as below
    session "main" {
      sender_id = "1"

      fcm_v1 {
        credentials = "…" # as it is now; better: env("NAME") or file("path")
        connections = 2
      }
    }`,
	}} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("config.hcl", []byte(tc.src), noEnv)
			if err == nil {
				t.Fatal("taken")
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			problem := err.(*Error).Problems[0]
			if text := strings.Replace(problem.Write, `"…"`, `"adc"`, 1); problem.Write == "" {
				t.Error("nothing to write")
			} else if _, err := Parse("config.hcl", []byte(text), noEnv); err != nil {
				t.Errorf("what to write is refused: %v", err)
			}
		})
	}
}

// What else is wrong with the older form is reported with it.
func TestOlderFormIsChecked(t *testing.T) {
	_, err := Parse("config.hcl", []byte("session \"a\" {\n  address = 5\n  adress = \"x\"\n}\nsession \"b\" {\n  window = 0\n}\n"), noEnv)
	for _, want := range []string{
		`1,1-12: session "a" has keys of ccs directly in it`, `1,1-12: session "a" has no sender_id`, `1,1-12: session "a" has no server_key`,
		"2,3-14: address: want a string in quotes, not a number", `3,3-9: Unsupported argument: An argument named "adress" is not expected here.`,
		`5,1-12: session "b" has keys of ccs directly in it`, "6,3-13: window: 0 is out of range",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want …%s…, got\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "write it as below"); n != 2 {
		t.Errorf("%d times what to write, for two sessions", n)
	}
}

// Commands that ask a running host, which may be older, and those that need the ledger
// alone, read either form.
func TestPartsOfEitherForm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.hcl")
	for _, sessions := range []string{least, fcm(""), "session \"main\" {\n  sender_id = \"1\"\n  address = \"ccs:1\"\n  server_key = env(\"NOT_SET_HERE\")\n  tls {\n    ca_file = \"ca.pem\"\n  }\n}\n"} {
		if err := os.WriteFile(path, []byte(sessions+"data_dir = \"d\"\nadmin {\n  listen = \"127.0.0.1:1\"\n}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if admin, err := LoadAdmin(path); err != nil || admin.Listen != "127.0.0.1:1" {
			t.Errorf("LoadAdmin: %+v %v of\n%s", admin, err, sessions)
		}
		if cfg, err := LoadData(path); err != nil || filepath.Base(cfg.DataDir) != "d" {
			t.Errorf("LoadData: %+v %v of\n%s", cfg, err, sessions)
		}
	}
}

// keyFile is the text of a service account's key file.
func keyFile(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "courier-7", "client_email": "balhost@courier-7.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The file of credentials is known when they are a file's text, and only then.
func TestCredentialsFile(t *testing.T) {
	dir := t.TempDir()
	text := keyFile(t)
	if err := os.WriteFile(filepath.Join(dir, "sa.json"), []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"KEY": text, "AT": "sa.json", "ADC": ADC}[name]
		return v, ok
	}
	for expression, want := range map[string]struct{ text, file string }{
		`file("sa.json")`:      {text, filepath.Join(dir, "sa.json")},
		`(file("./sa.json"))`:  {text, filepath.Join(dir, "sa.json")},
		`"${file("sa.json")}"`: {text, filepath.Join(dir, "sa.json")},
		`file(env("AT"))`:      {text, filepath.Join(dir, "sa.json")},
		`env("KEY")`:           {text, ""},
		`"adc"`:                {ADC, ""},
		`env("ADC")`:           {ADC, ""},
	} {
		cfg, err := Parse(filepath.Join(dir, "config.hcl"), []byte(fcm("credentials = "+expression)), env)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
		} else if got := cfg.Sessions[0].FCMv1; got.Credentials.Reveal() != want.text || got.CredentialsFile != want.file {
			t.Errorf("%s: from %q, %d bytes; want from %q, %d bytes", expression, got.CredentialsFile, len(got.Credentials), want.file, len(want.text))
		}
	}
	for name, c := range map[string]struct{ expression, text, want string }{
		"half":    {`file("bad.json")`, text[:200], "credentials: " + filepath.Join(dir, "bad.json") + " is not JSON at line 1"},
		"another": {`file("bad.json")`, `{"project_info": {}}`, "is the app's google-services.json"},
		"empty":   {`file("bad.json")`, "", "bad.json is empty: download a key file"},
		"none":    {`file("none.json")`, "", "no such file or directory"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "bad.json"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Parse(filepath.Join(dir, "config.hcl"), []byte(fcm("credentials = "+c.expression)), env)
		wrong, ok := errors.AsType[*Error](err)
		if !ok || len(wrong.Problems) != 1 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want one problem …%s…, got %v", name, c.want, err)
		}
	}
}
