package fcmsim

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// account is the service account whose key signs for bearer tokens.
type account struct {
	key   *rsa.PrivateKey
	keyID string
	email string
}

// keyMark begins the ids of the simulator's keys. A file with another key is never
// written over.
const keyMark = "balhost-sim-"

// keyFile is a service account's key file, as Google's console gives it.
// Spec: fcm-v1-and-gateway.md A11.
type keyFile struct {
	Type         string `json:"type"`
	ProjectID    string `json:"project_id"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"`
	ClientEmail  string `json:"client_email"`
	ClientID     string `json:"client_id"`
	AuthURI      string `json:"auth_uri"`
	TokenURI     string `json:"token_uri"`
	Universe     string `json:"universe_domain"`
}

// processKey is the key of all servers of a process that have no key file: to make
// one takes long.
var processKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// newAccount makes a project's account with a key, or with that of processKey.
func newAccount(project string, key *rsa.PrivateKey) (*account, error) {
	if key == nil {
		var err error
		if key, err = processKey(); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	return &account{key, keyMark + hex.EncodeToString(sum[:14]), "firebase-adminsdk-sim@" + project + ".iam.gserviceaccount.com"}, nil
}

// openAccount takes the key that an earlier run left in file, or makes one.
func openAccount(project, file string) (*account, error) {
	if file == "" {
		return newAccount(project, nil)
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		return newAccount(project, key)
	} else if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	var f keyFile
	if err := json.Unmarshal(b, &f); err != nil || !strings.HasPrefix(f.PrivateKeyID, keyMark) {
		return nil, fmt.Errorf("key file %s holds something else than a simulator's key: name another file", file)
	}
	block, _ := pem.Decode([]byte(f.PrivateKey))
	if block == nil {
		return nil, fmt.Errorf("key file %s holds no private key: delete it", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("key file %s holds no RSA key: delete it", file)
	}
	return newAccount(project, key)
}

// json is the account's key file.
func (a *account) json(project, tokenURI string) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(keyFile{
		Type: "service_account", ProjectID: project, PrivateKeyID: a.keyID,
		PrivateKey:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		ClientEmail: a.email, ClientID: "100000000000000000001", AuthURI: "https://accounts.google.com/o/oauth2/auth",
		TokenURI: tokenURI, Universe: "googleapis.com",
	}, "", "  ")
	return string(b) + "\n", err
}

// ServiceAccount is the JSON text of a key file, as Google's console gives it. Its
// token_uri is this server.
func (s *Server) ServiceAccount() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keyJSON
}

// RotateKey gives the account a new key, and returns its key file's text. From now
// on the token endpoint refuses the old one; bearer tokens stay good. Options.KeyFile
// is written again.
func (s *Server) RotateKey() (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	a, err := newAccount(s.opts.Project, key)
	if err != nil {
		return "", err
	}
	if err := s.useAccount(a); err != nil {
		return "", err
	}
	return s.ServiceAccount(), nil
}

// useAccount makes a the server's account, and writes its key file.
func (s *Server) useAccount(a *account) error {
	text, err := a.json(s.opts.Project, s.tokenURI())
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.account, s.keyJSON = a, text
	s.mu.Unlock()
	if s.opts.KeyFile == "" {
		return nil
	}
	return replaceFile(s.opts.KeyFile, text)
}

// replaceFile puts text in the place of a file at once, so that nobody reads half of it.
func replaceFile(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("make folder of key file: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	_, err = tmp.WriteString(text)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("write key file: %w", err)
	}
	return nil
}

// verify checks a JWT's signature. Spec: RFC 7515 with RS256.
func (a *account) verify(signed, signature string) bool {
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	sum := sha256.Sum256([]byte(signed))
	return err == nil && rsa.VerifyPKCS1v15(&a.key.PublicKey, crypto.SHA256, sum[:], sig) == nil
}
