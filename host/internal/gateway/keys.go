package gateway

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"balhost/host/internal/credential"

	"golang.org/x/sync/errgroup"
)

// Where Google publishes its keys. Nobody who wrote this has asked them.
// Spec: fcm-v1-and-gateway.md C4.
const (
	FirebaseJWKS = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
	AppCheckJWKS = "https://firebaseappcheck.googleapis.com/v1/jwks"
)

// keyring has the auth rules of a gateway, and the public keys that they need.
type keyring struct {
	rules   []credential.Rule
	sources []credential.Sources // of each rule
	all     []*keySource
}

// newKeyring makes a keyring. The keys in files are there at once; the others come when it
// runs.
func newKeyring(rules []credential.Rule) *keyring {
	k := &keyring{rules: rules, sources: make([]credential.Sources, len(rules))}
	for i, r := range rules {
		switch r.Kind {
		case credential.JWT:
			k.sources[i].Tokens = k.source(r.JWKS)
		case credential.Firebase:
			k.sources[i].Tokens = k.source(cmp.Or(r.JWKS, FirebaseJWKS))
		}
		if r.AppCheck != nil {
			k.sources[i].AppCheck = k.source(cmp.Or(r.AppCheck.JWKS, AppCheckJWKS))
		}
	}
	return k
}

// source is where the keys at this place come from; one for all rules that name it.
func (k *keyring) source(where string) *keySource {
	for _, s := range k.all {
		if s.where == where {
			return s
		}
	}
	s := &keySource{where: where, client: keyClient(), asked: make(chan struct{}, 1)}
	if !s.remote() {
		s.read()
	}
	k.all = append(k.all, s)
	return s
}

// run keeps the keys fresh until ctx ends.
func (k *keyring) run(ctx context.Context) error {
	var g errgroup.Group
	for _, s := range k.all {
		g.Go(func() error { s.run(ctx); return nil })
	}
	return g.Wait()
}

// check says who shows s. It never waits.
func (k *keyring) check(s credential.Shown) (credential.Identity, error) {
	return credential.Check(k.rules, k.sources, s, time.Now())
}

// binds reports whether some devices say their from themselves, and it is bound to users.
func (k *keyring) binds() bool {
	return slices.ContainsFunc(k.rules, func(r credential.Rule) bool { return r.Kind == credential.Firebase })
}

// signs reports whether some devices sign the body of what they send.
func (k *keyring) signs() bool {
	return slices.ContainsFunc(k.rules, func(r credential.Rule) bool { return r.Kind == credential.HMAC })
}

// health says why some devices can't be let in, and what is wrong although they can.
func (k *keyring) health() (unready, warnings []string) {
	for _, s := range k.all {
		switch wrong, none := s.trouble(), s.set.Load() == nil; {
		case none:
			unready = append(unready, fmt.Sprintf("no keys from %s yet, so tokens that they sign get 503: %s", s.name(), cmp.Or(wrong, "they are being fetched")))
		case wrong != "":
			warnings = append(warnings, fmt.Sprintf("keys from %s: the old ones stay: %s", s.name(), wrong))
		}
	}
	return unready, warnings
}

// keySource keeps one set of public keys, from a file or an https URL.
type keySource struct {
	where  string
	client *http.Client
	set    atomic.Pointer[credential.Set] // nil: none has come yet
	asked  chan struct{}                  // has room for one: somebody uses a key that is not in set

	mu    sync.Mutex // guards what follows
	wrong string     // why the last reading brought nothing
	text  string     // of the file, as it was read last
}

// Find is that of [credential.Keys]. It does not wait: an unknown key is refused at once,
// and the keys are fetched again.
func (s *keySource) Find(kid, alg string) (crypto.PublicKey, error) {
	key, err := s.set.Load().Find(kid, alg)
	if errors.Is(err, credential.ErrUnknownKey) {
		select {
		case s.asked <- struct{}{}:
		default:
		}
	}
	return key, err
}

func (s *keySource) remote() bool { return strings.HasPrefix(s.where, "https://") }

// name is where it comes from, for people: a URL's query may be secret.
func (s *keySource) name() string {
	if !s.remote() {
		return s.where
	}
	short, _, _ := strings.Cut(s.where, "?")
	return short
}

func (s *keySource) trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrong
}

// take makes text the keys, or keeps the old ones.
func (s *keySource) take(text []byte, err error) error {
	var set *credential.Set
	if err == nil {
		set, err = credential.ParseJWKS(text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.wrong = err.Error()
		return err
	}
	s.wrong = ""
	s.set.Store(set)
	return nil
}

func (s *keySource) run(ctx context.Context) {
	if s.remote() {
		s.fetchAll(ctx)
		return
	}
	tick := time.NewTicker(rereadKeys)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.read()
		case <-ctx.Done():
			return
		}
	}
}
