package serviceaccount

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// made is a key file as Google writes one, as a map, and its key.
func made(t *testing.T) (map[string]any, *rsa.PrivateKey) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"type": "service_account", "project_id": "courier-7", "private_key_id": "9f01", "private_key": inPEM(t, "PRIVATE KEY", private),
		"client_email": "balhost@courier-7.iam.gserviceaccount.com", "client_id": "1", "auth_uri": "https://accounts.google.com/o/oauth2/auth",
		"token_uri": "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com",
	}, private
}

func inPEM(t *testing.T, kind string, private any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if key, ok := private.(*rsa.PrivateKey); ok && kind == "RSA PRIVATE KEY" {
		der, err = x509.MarshalPKCS1PrivateKey(key), nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func text(t *testing.T, file map[string]any) string {
	t.Helper()
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParse(t *testing.T) {
	file, private := made(t)
	with := func(key string, value any) string {
		changed := maps.Clone(file)
		changed[key] = value
		return text(t, changed)
	}
	whole := inPEM(t, "PRIVATE KEY", private)
	for name, src := range map[string]string{
		"as it was downloaded":         text(t, file),
		"with a line break at its end": text(t, file) + "\n",
		"an environment's \\n":         with("private_key", strings.ReplaceAll(whole, "\n", `\n`)),
		"an environment's \\r\\n":      with("private_key", strings.ReplaceAll(whole, "\n", `\r\n`)),
		"PKCS #1":                      with("private_key", inPEM(t, "RSA PRIVATE KEY", private)),
	} {
		k, err := Parse(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if k.ProjectID != "courier-7" || k.ClientEmail != "balhost@courier-7.iam.gserviceaccount.com" || k.PrivateKeyID != "9f01" ||
			k.TokenURI != "https://oauth2.googleapis.com/token" || !k.Private.Equal(private) {
			t.Errorf("%s: %v", name, k)
		}
	}
	if k, err := Parse(with("token_uri", "http://127.0.0.1:2/token")); err != nil || k.TokenURI != "http://127.0.0.1:2/token" {
		t.Errorf("a test's token_uri: %v", err)
	}
}

// A wrong or half key file is one clear error, and no error shows the key. // P10
func TestParseRefuses(t *testing.T) {
	file, private := made(t)
	whole := inPEM(t, "PRIVATE KEY", private)
	with := func(key string, value any) string {
		changed := maps.Clone(file)
		changed[key] = value
		return text(t, changed)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(whole, "\n")
	for _, tc := range []struct{ name, src, want string }{
		{"nothing", " \n", "is empty: download a key file in the Firebase console"},
		{"a server key", "AAAAx9:APA91bF", "is not JSON, so it is no key file"},
		{"the PEM alone", whole, "is not JSON, so it is no key file"},
		{"a list", "[]", "is JSON, but no object"},
		{"half a file", text(t, file)[:300], "is not JSON at line 5: is it only a part of the file?"},
		{"line breaks in a text", strings.ReplaceAll(text(t, file), `\n`, "\n"), "line 5 ends inside a text"},
		{"a number", with("client_email", 7), `has no text in "client_email"`},
		{"google-services.json", `{"project_info": {"project_number": "1"}, "client": []}`, "is the app's google-services.json"},
		{"an OAuth client", `{"installed": {"client_id": "x", "client_secret": "hunter2"}}`, "is an OAuth client's secret"},
		{"a web client", `{"web": {"client_id": "x", "client_secret": "hunter2"}}`, "is an OAuth client's secret"},
		{"no type", with("type", ""), `has no "type"`},
		{"a user", with("type", "authorized_user"), `has the type "authorized_user", not "service_account": write credentials = "adc"`},
		{"workload identity", with("type", "external_account"), `write credentials = "adc"`},
		{"an unknown type", with("type", "gdch_service_account"), `has the type "gdch_service_account", not "service_account": download`},
		{"no project", with("project_id", ""), "has no project_id, so it is half a key file"},
		{"no email", with("client_email", " "), "has no client_email"},
		{"no key", with("private_key", ""), "has no private_key"},
		{"no token_uri", with("token_uri", ""), "has no token_uri"},
		{"hardly anything", `{"type": "service_account"}`, "has no project_id, no client_email, no private_key, no token_uri"},
		{"a path as project", with("project_id", "a/../b"), "has a project_id that can't be one"},
		{"no URL", with("token_uri", "oauth2.googleapis.com/token"), "has a token_uri that is no URL"},
		{"a URL with a password", with("token_uri", "https://me:hunter2@example.com"), "has a token_uri that is no URL"},
		{"not https", with("token_uri", "http://oauth2.googleapis.com/token"), "which is not https"},
		{"no PEM", with("private_key", "hunter2"), "has a private_key that is no whole PEM block"},
		{"a PEM without its end", with("private_key", whole[:len(whole)/2]), "has a private_key that is no whole PEM block"},
		{"a PEM without a line", with("private_key", strings.Join(append(lines[:3:3], lines[4:]...), "")), "has a private_key that can't be read"},
		{"a certificate", with("private_key", strings.ReplaceAll(whole, "PRIVATE KEY", "CERTIFICATE")), `of type "CERTIFICATE"`},
		{"an EC key", with("private_key", inPEM(t, "PRIVATE KEY", curve)), "is not an RSA key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, err := Parse(tc.src)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("want …%s…, got %v", tc.want, err)
			}
			if k != (Key{}) {
				t.Error("a key beside the error")
			}
			hidden := append([]string{"hunter2", "APA91"}, lines[1:len(lines)-2]...)
			for _, secret := range hidden {
				if strings.Contains(err.Error(), secret[:min(len(secret)-1, 20)]) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
}

// What a key prints is never its private part.
func TestKeyDoesNotPrint(t *testing.T) {
	file, private := made(t)
	k, err := Parse(text(t, file))
	if err != nil {
		t.Fatal(err)
	}
	inJSON, err := json.Marshal(map[string]any{"key": k, "pointer": &k})
	if err != nil {
		t.Fatal(err)
	}
	d := private.D.String()
	for _, got := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v %v", k, k, []Key{k}), fmt.Sprint(&k), string(inJSON)} {
		if strings.Contains(got, d[:20]) || strings.Contains(got, private.D.Text(16)[:20]) {
			t.Errorf("printed: %s", got)
		}
		if !strings.Contains(got, "balhost@courier-7") {
			t.Errorf("does not name the account: %s", got)
		}
	}
}

// No text makes the parser panic. // P10
func FuzzParse(f *testing.F) {
	f.Add(`{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"}`)
	f.Add("{\"a\":\"\n\"}")
	f.Fuzz(func(t *testing.T, src string) {
		if k, err := Parse(src); err == nil && (k.Private == nil || k.ProjectID == "") {
			t.Errorf("taken, but unusable: %v", k)
		}
	})
}
