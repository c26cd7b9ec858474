// Package serviceaccount reads the key file of a Google service account, by which a
// host proves to FCM who it is. It keeps P10 for that file: a wrong or half file is
// one error that says what to do, and no error shows the key. It starts nothing.
// Start at [Parse].
package serviceaccount

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// Key is what a key file says. It never prints its private key.
// Spec: fcm-v1-and-gateway.md A11.
type Key struct {
	ProjectID    string
	ClientEmail  string // who signs
	PrivateKeyID string // may be ""
	TokenURI     string // where tokens come from
	Private      *rsa.PrivateKey
}

// String names the account.
func (k Key) String() string { return "service account " + k.ClientEmail }

// GoString names the account for %#v.
func (k Key) GoString() string { return k.String() }

// MarshalText names the account for encoding/json and for loggers.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// file is the key file's JSON. It has more fields, which nobody needs.
type file struct {
	Type         string `json:"type"`
	ProjectID    string `json:"project_id"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"` // PEM
	ClientEmail  string `json:"client_email"`
	TokenURI     string `json:"token_uri"`

	// These are of other files that people take for a key file.
	App       json.RawMessage `json:"project_info"` // google-services.json
	Installed json.RawMessage `json:"installed"`    // an OAuth client of a desktop app
	Web       json.RawMessage `json:"web"`          // an OAuth client of a web server
}

// download says where a right key file comes from.
const download = "download a key file in the Firebase console: Project settings, Service accounts, Generate new private key"

// projectID is wider than Google's rule for new projects: old ones have a domain and a
// colon. It stands in a URL's path.
var projectID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$`)

// Parse reads the text of a key file. The error completes a sentence that names the
// file or the config's key: "is not JSON …".
func Parse(text string) (Key, error) {
	f, err := decode(text)
	if err != nil {
		return Key{}, err
	}
	if err := f.kind(); err != nil {
		return Key{}, err
	}
	if err := f.whole(); err != nil {
		return Key{}, err
	}
	private, err := privateKey(f.PrivateKey)
	if err != nil {
		return Key{}, err
	}
	return Key{ProjectID: f.ProjectID, ClientEmail: f.ClientEmail, PrivateKeyID: f.PrivateKeyID, TokenURI: f.TokenURI, Private: private}, nil
}

// decode reads the JSON. Its errors are in its own words, because encoding/json's may
// show a part of the text.
func decode(text string) (f file, err error) {
	err = json.Unmarshal([]byte(text), &f)
	syntax, isSyntax := errors.AsType[*json.SyntaxError](err)
	typed, isTyped := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case err == nil:
		return f, nil
	case strings.TrimSpace(text) == "":
		return f, errors.New("is empty: " + download)
	case isTyped && typed.Field != "":
		return f, fmt.Errorf("has no text in %q: %s", typed.Field, download)
	case isTyped:
		return f, errors.New("is JSON, but no object: " + download)
	case !strings.HasPrefix(strings.TrimSpace(text), "{"):
		return f, errors.New("is not JSON, so it is no key file of a service account: " + download)
	case isSyntax && breaksText(text, int(syntax.Offset)):
		return f, fmt.Errorf("is not JSON: line %d ends inside a text, as when a shell or a copy turns the \\n of the private key into line breaks: give the file as it was downloaded", line(text, int(syntax.Offset)-1))
	case isSyntax:
		return f, fmt.Errorf("is not JSON at line %d: is it only a part of the file? Give the file as it was downloaded", line(text, int(syntax.Offset)))
	}
	return f, errors.New("is not JSON: " + download)
}

// breaksText reports whether a syntax error is about a line break: encoding/json
// refuses one only in a string.
func breaksText(text string, offset int) bool {
	return offset > 0 && offset < len(text) && (text[offset-1] == '\n' || text[offset-1] == '\r')
}

func line(text string, offset int) int {
	return 1 + strings.Count(text[:min(max(offset, 0), len(text))], "\n")
}

// kind is an error that names what else the file is.
func (f file) kind() error {
	switch {
	case f.Type == "service_account":
		return nil
	case f.App != nil:
		return errors.New("is the app's google-services.json, which allows no sending: " + download)
	case f.Installed != nil || f.Web != nil:
		return errors.New("is an OAuth client's secret, not a service account's key: " + download)
	case f.Type == "":
		return errors.New(`has no "type": "service_account", so it is no key file of a service account: ` + download)
	case f.Type == "authorized_user", f.Type == "external_account", f.Type == "external_account_authorized_user", f.Type == "impersonated_service_account":
		return fmt.Errorf(`has the type %q, not "service_account": write credentials = "adc" and name the file by GOOGLE_APPLICATION_CREDENTIALS`, f.Type)
	}
	return fmt.Errorf(`has the type %.40q, not "service_account": %s`, f.Type, download)
}

// whole is an error for what is missing or can't be.
func (f file) whole() error {
	var missing []string
	for _, field := range []struct{ name, value string }{
		{"project_id", f.ProjectID}, {"client_email", f.ClientEmail}, {"private_key", f.PrivateKey}, {"token_uri", f.TokenURI},
	} {
		if strings.TrimSpace(field.value) == "" {
			missing = append(missing, field.name)
		}
	}
	switch {
	case missing != nil:
		return fmt.Errorf("has no %s, so it is half a key file: give the file as it was downloaded", strings.Join(missing, ", no "))
	case !projectID.MatchString(f.ProjectID):
		return fmt.Errorf("has a project_id that can't be one, %.40q: give the file as it was downloaded", f.ProjectID)
	}
	return f.tokenURI()
}

// tokenURI is an error if a signed assertion can't be sent to the URL. It goes out
// unencrypted only to this machine, which tests need.
func (f file) tokenURI() error {
	u, err := url.Parse(f.TokenURI)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("has a token_uri that is no URL: Google's is https://oauth2.googleapis.com/token")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("has the token_uri %.100q, which is not https: Google's is https://oauth2.googleapis.com/token", f.TokenURI)
}

// leastBits is the shortest RSA key that crypto/rsa signs with. Google's have 2048 bits.
const leastBits = 1024

// privateKey reads the PEM. Copies in the environment often have the two characters \n
// in place of a line break; they are read as line breaks. Spec: fcm-v1-and-gateway.md A11.
func privateKey(text string) (*rsa.PrivateKey, error) {
	text = strings.NewReplacer(`\r\n`, "\n", `\n`, "\n").Replace(text)
	block, _ := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, errors.New("has a private_key that is no whole PEM block (-----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----): give the file as it was downloaded")
	case block.Type != "PRIVATE KEY" && block.Type != "RSA PRIVATE KEY":
		return nil, fmt.Errorf("has a private_key that is a PEM block of type %.40q, not PRIVATE KEY: %s", block.Type, download)
	}
	var parsed any
	var err error
	if block.Type == "PRIVATE KEY" {
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	} else {
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	private, isRSA := parsed.(*rsa.PrivateKey)
	switch {
	case err != nil: // its text says nothing that helps here
		return nil, errors.New("has a private_key that can't be read, although it is PEM: a part of it is missing or changed; give the file as it was downloaded")
	case !isRSA:
		return nil, errors.New("has a private_key that is not an RSA key: " + download)
	case private.N.BitLen() < leastBits:
		return nil, fmt.Errorf("has a private_key of %d bits, which is too short: %s", private.N.BitLen(), download)
	}
	return private, nil
}
