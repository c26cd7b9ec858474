package fcmv1

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The platform's own credentials, from a file that the environment names. It is read
// for each token, so that it may be replaced. Sheet A11.
func TestADC(t *testing.T) {
	var asked atomic.Int64
	var refuse atomic.Bool
	server, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if refuse.Load() {
			w.WriteHeader(400)
			w.Write([]byte(`{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}`))
	}, nil)
	path := filepath.Join(t.TempDir(), "adc.json")
	if err := os.WriteFile(path, []byte(keyFile(t, server.URL+"/token", "k1")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	s := New(Options{SenderID: project, Credentials: ADC, TLS: config, Outbox: newBox()})
	for n := range 2 {
		a, err := s.bearer.fetch(t.Context())
		if err != nil || a.token != "ya29.x" || time.Until(a.expires) < 50*time.Minute || asked.Load() != int64(n+1) {
			t.Errorf("%v, %v, asked %d times", a, err, asked.Load())
		}
	}
	refuse.Store(true)
	if _, err := s.bearer.fetch(t.Context()); !fatal(err) || !strings.Contains(err.Error(), "Invalid JWT Signature") {
		t.Errorf("a refusal: fatal %v: %v", fatal(err), err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path+"x")
	if _, err := s.bearer.fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: %v", err)
	}
	s.close()
}

// An endpoint that hangs costs one goroutine, and no more wait than the caller has.
func TestADCHangs(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int64
	server, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-release:
		case <-r.Context().Done():
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}`))
	}, nil)
	path := filepath.Join(t.TempDir(), "adc.json")
	if err := os.WriteFile(path, []byte(keyFile(t, server.URL+"/token", "k1")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	s := New(Options{SenderID: project, Credentials: ADC, TLS: config, Outbox: newBox()})
	for _, says := range []string{"deadline exceeded", "the last try still hangs", "the last try still hangs"} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := s.bearer.fetch(ctx); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
		cancel()
	}
	until(t, "the endpoint is asked", func() bool { return asked.Load() > 0 }) // the first try may have got there later than it was given up
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
	close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if a, err := s.bearer.fetch(ctx); err != nil || a.token != "ya29.x" {
		t.Errorf("once it works again: %v, %v", a, err)
	}
	s.close()
}
