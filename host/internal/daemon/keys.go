package daemon

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"balhost/host/internal/credential"
	"balhost/host/internal/gateway"
	"balhost/host/internal/regular"
)

// KeySet is a set of public keys by which a gateway checks credentials.
type KeySet struct {
	Where   string `json:"where"`             // a path, or a URL without its query
	Keys    int    `json:"keys"`              // that can be used; 0: not looked at, or Problem says why
	Problem string `json:"problem,omitempty"` // why it can't be used

	full string // Where with the query
}

// KeySets are those of a rule. They are not loaded yet.
func KeySets(r credential.Rule) (sets []KeySet) {
	add := func(where, otherwise string) {
		if where = cmp.Or(where, otherwise); where != "" {
			name, _, _ := strings.Cut(where, "?") // a URL's query may be secret
			sets = append(sets, KeySet{Where: name, full: where})
		}
	}
	switch r.Kind {
	case credential.JWT:
		add(r.JWKS, "")
	case credential.Firebase:
		add(r.JWKS, gateway.FirebaseJWKS)
	}
	if r.AppCheck != nil {
		add(r.AppCheck.JWKS, gateway.AppCheckJWKS)
	}
	return sets
}

// Remote reports whether the set is behind a URL.
func (k *KeySet) Remote() bool { return strings.Contains(k.full, "://") }

// Load gets the set, from a URL by client and within 15 s, and counts its keys.
func (k *KeySet) Load(ctx context.Context, client *http.Client) {
	ctx, cancel := context.WithTimeoutCause(ctx, openTime, fmt.Errorf("no answer within %s", openTime))
	defer cancel()
	text, err := k.read(ctx, client)
	if err == nil {
		var set *credential.Set
		if set, err = credential.ParseJWKS(text); err == nil {
			k.Keys = set.Len()
		}
	}
	if err != nil {
		k.Problem = err.Error()
	}
}

func (k *KeySet) read(ctx context.Context, client *http.Client) ([]byte, error) {
	if !k.Remote() {
		return regular.Read(k.full, credential.MaxJWKS)
	}
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, k.full, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(ask)
	if wrong, ok := errors.AsType[*url.Error](err); ok { // it repeats the URL
		return nil, wrong.Err
	} else if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s", answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, credential.MaxJWKS+1))
}

func (k KeySet) String() string {
	switch {
	case k.Problem != "":
		return fmt.Sprintf("the keys of %s can't be used", k.Where)
	case k.Keys == 0:
		return fmt.Sprintf("keys of %s, not asked", k.Where)
	case k.Keys == 1:
		return "1 key of " + k.Where
	}
	return fmt.Sprintf("%d keys of %s", k.Keys, k.Where)
}

// Certificate is what a listener's certificate says: for which names, from when and until
// when it is valid.
func Certificate(certFile, keyFile string) (names []string, from, until time.Time, err error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, from, until, err
	}
	leaf := cert.Leaf
	names = append(names, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names, leaf.NotBefore, leaf.NotAfter, nil
}
