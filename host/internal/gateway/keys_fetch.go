package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/credential"
	"balhost/host/internal/regular"
)

// How often keys are read. Spec: fcm-v1-and-gateway.md C4.
const (
	rereadKeys  = 2 * time.Second // a file: it is small, and links may lead to it from anywhere
	fetchLimit  = 10 * time.Second
	unknownWait = time.Minute // between two fetches because of an unknown kid
	freshLeast  = 5 * time.Minute
	freshMost   = 6 * time.Hour
	freshUsual  = time.Hour // where the answer does not say
)

// again is the wait after a fetch that failed.
var again = backoff.Policy{Min: time.Second, Max: time.Minute}

// keyClient fetches keys. It follows redirects, but to no place without encryption.
func keyClient() *http.Client {
	return &http.Client{
		Timeout: fetchLimit,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: true, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case r.URL.Scheme != "https":
				return errors.New("it redirects to a place without https")
			case len(via) > 3:
				return errors.New("it redirects more than 3 times")
			}
			return nil
		},
	}
}

// read takes the keys of a file, if its text is another one than before. A file that is
// half written is wrong until it is whole.
func (s *keySource) read() {
	text, err := regular.Read(s.where, credential.MaxJWKS)
	if err == nil {
		s.mu.Lock()
		same := s.text == string(text) && s.wrong == ""
		s.text = string(text)
		s.mu.Unlock()
		if same {
			return
		}
	}
	_ = s.take(text, err) // health says it
}

// fetchAll fetches the keys until ctx ends: when they are old, and when somebody uses one
// that is not there, at most once a minute.
func (s *keySource) fetchAll(ctx context.Context) {
	rnd := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	failed := 0
	for {
		fresh, err := s.fetch(ctx)
		began := time.Now()
		if failed++; err == nil {
			failed = 0
		} else {
			fresh = again.DelayAtLeast(failed, rnd)
		}
		due := time.NewTimer(fresh)
		select {
		case <-due.C:
		case <-s.asked:
			due.Stop()
			if !pause(ctx, min(unknownWait-time.Since(began), fresh)) {
				return
			}
		case <-ctx.Done():
			due.Stop()
			return
		}
	}
}

// pause waits for d. It reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// fetch takes the keys of the URL, and returns how long they are fresh.
func (s *keySource) fetch(ctx context.Context) (fresh time.Duration, err error) {
	select { // who asked before gets what comes now
	case <-s.asked:
	default:
	}
	text, fresh, err := s.get(ctx)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return fresh, s.take(text, err)
}

func (s *keySource) get(ctx context.Context) (text []byte, fresh time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.where, nil)
	if err != nil {
		return nil, 0, errors.New("it is no URL")
	}
	r.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(r)
	if err != nil {
		if outer := new(url.Error); errors.As(err, &outer) { // its text has the whole URL
			if err = outer.Err; outer.Timeout() {
				err = fmt.Errorf("it has not answered within %v", fetchLimit)
			}
		}
		return nil, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("the answer is HTTP status %d", resp.StatusCode)
	}
	text, err = io.ReadAll(io.LimitReader(resp.Body, credential.MaxJWKS+1))
	if err != nil {
		return nil, 0, fmt.Errorf("the answer is cut short: %w", err)
	}
	return text, freshness(resp.Header), nil
}

// freshness is how long an answer may be used. Spec: RFC 9111 §4.2.
func freshness(h http.Header) time.Duration {
	fresh := freshUsual
	for _, directive := range strings.Split(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return freshLeast
		case "max-age":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				fresh = time.Duration(n) * time.Second
			}
		}
	}
	if n, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		fresh -= time.Duration(n) * time.Second
	}
	return min(max(fresh, freshLeast), freshMost)
}
