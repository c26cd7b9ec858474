package fcmv1

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// runBearer runs b until the test ends.
func runBearer(t *testing.T, b *bearer) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { b.run(ctx); close(ended) }() //nolint:errcheck // it never fails
	t.Cleanup(func() { cancel(); <-ended })
}

func quietly(string, error) {}

// One fetch serves any number that wait, and none waits while there is a token. Sheet A11, G 5.
func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(atomic.Int64)
		slow := func(ctx context.Context) (access, error) {
			time.Sleep(3 * time.Second)
			return tokens(n)(ctx)
		}
		b := newBearer(slow, quietly)
		runBearer(t, b)
		began := time.Now()
		var waiting sync.WaitGroup
		for range 100 {
			waiting.Go(func() {
				a, err := b.get(t.Context())
				if err != nil || a.token != "1" || time.Since(began) != 3*time.Second {
					t.Errorf("%v, %v after %v", a.token, err, time.Since(began))
				}
			})
		}
		waiting.Wait()
		first, _ := b.get(t.Context())
		for range 100 { // all of them are refused, and only one fetch follows
			b.drop(first)
		}
		second, err := b.get(t.Context())
		if err != nil || second.token != "2" {
			t.Fatalf("%v, %v", second, err)
		}
		b.drop(first) // of a request that was slow
		if a, _ := b.look(); a.token != "2" {
			t.Errorf("the new token went with the old: %v", a)
		}
		if fetches, misses := b.counts(); fetches != 2 || misses != 0 {
			t.Errorf("%d fetches, %d misses", fetches, misses)
		}
	})
}

// A token is replaced five minutes early, and the old one serves until it ends, however
// the fetch goes. Sheet G 13.
func TestOldTokenServesWhileTheNextIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var when []time.Duration
		n := new(atomic.Int64)
		var mu sync.Mutex // guards when
		var hangs atomic.Bool
		b := newBearer(func(ctx context.Context) (access, error) {
			mu.Lock()
			when = append(when, time.Since(began))
			mu.Unlock()
			if hangs.Load() {
				<-ctx.Done()
				return access{}, ctx.Err()
			}
			return tokens(n)(ctx)
		}, quietly)
		runBearer(t, b)
		synctest.Wait()
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		hangs.Store(true)
		time.Sleep(9 * time.Minute) // at 59
		synctest.Wait()
		mu.Lock()
		if len(when) < 3 || when[0] != 0 || when[1] != 55*time.Minute || when[2] < 55*time.Minute+b.limit {
			t.Errorf("fetched at %v", when)
		}
		mu.Unlock()
		if a, err := b.get(t.Context()); err != nil || a.token != "1" {
			t.Errorf("at 59 minutes: %v, %v", a.token, err)
		}
		if _, err := b.state(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the status says %v", err)
		}
		time.Sleep(2 * time.Minute) // at 61
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if a, err := b.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at 61 minutes: %v, %v", a.token, err)
		}
		hangs.Store(false)
		if a, err := b.get(t.Context()); err != nil || a.token != "2" {
			t.Errorf("once it works again: %v, %v", a.token, err)
		}
	})
}

// A token of five seconds is replaced in time, and not fetched all the time. Sheet G 5.
func TestShortLivedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n, life atomic.Int64
		life.Store(int64(5 * time.Second))
		b := newBearer(func(context.Context) (access, error) {
			n.Add(1)
			return access{token: "x", fetched: time.Now(), expires: time.Now().Add(time.Duration(life.Load()))}, nil
		}, quietly)
		runBearer(t, b)
		for range 60 {
			if a, err := b.get(t.Context()); err != nil || !a.expires.After(time.Now()) {
				t.Fatal(a, err)
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := n.Load(); n < 13 || n > 16 {
			t.Errorf("%d fetches in a minute", n)
		}
		life.Store(0)
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := b.state(); err == nil || n.Load() > 26 {
			t.Errorf("tokens that have expired: %v after %d fetches", err, n.Load())
		}
	})
}

// A token that is refused at once is fetched once a second at most.
func TestRefusedTokensAreNotFetchedAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(atomic.Int64)
		b := newBearer(tokens(n), quietly)
		runBearer(t, b)
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			a, _ := b.get(t.Context())
			b.drop(a)
		}
		if n := n.Load(); n > 12 {
			t.Errorf("%d fetches in 10 s", n)
		}
	})
}

// After a refusal that only a person can mend it is asked seldom, until hurry or use.
func TestFatalRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, n atomic.Int64
		var said []string // its reads and writes are in turns
		refuse := func(context.Context) (access, error) {
			asked.Add(1)
			return access{}, &refusal{status: 400, code: "invalid_grant", local: time.Now()}
		}
		b := newBearer(refuse, func(news string, cause error) { said = append(said, news) })
		runBearer(t, b)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := asked.Load(); n < 2 || n > 6 {
			t.Errorf("asked %d times in 10 minutes", n)
		}
		before := asked.Load()
		if !b.hurry() {
			t.Error("nothing waited")
		}
		synctest.Wait()
		if asked.Load() != before+1 {
			t.Errorf("hurry asked %d times", asked.Load()-before)
		}
		b.use(tokens(&n))
		if a, err := b.get(t.Context()); err != nil || a.token != "1" {
			t.Errorf("with the new key: %v, %v", a, err)
		}
		if said[0] != "no access token" || said[len(said)-1] != "" {
			t.Errorf("said %q", said)
		}
		if b.hurry() {
			t.Error("there is nothing to hurry")
		}
	})
}

// A new key ends a fetch by the old one that hangs.
func TestUseEndsAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(atomic.Int64)
		b := newBearer(func(ctx context.Context) (access, error) { <-ctx.Done(); return access{}, ctx.Err() }, quietly)
		runBearer(t, b)
		synctest.Wait()
		began := time.Now()
		b.use(tokens(n))
		if _, err := b.get(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// The token endpoint in all its moods: one clear error each, in bounded memory.
func TestTokenEndpoint(t *testing.T) {
	var mood atomic.Pointer[http.HandlerFunc]
	server, config := serve(t, func(w http.ResponseWriter, r *http.Request) { (*mood.Load())(w, r) }, nil)
	key := keyFile(t, server.URL+"/token", "k1")
	s := New(Options{SenderID: project, Credentials: key, TLS: config})
	fetch, err := s.fetcherOf(key)
	if err != nil {
		t.Fatal(err)
	}
	json400 := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400); w.Write([]byte(body)) }
	}
	at := func(off time.Duration, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
			w.WriteHeader(400)
			w.Write([]byte(body))
		}
	}
	const grant = `{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."}`
	for _, c := range []struct {
		name  string
		serve http.HandlerFunc
		says  []string
		fatal bool
	}{
		{"our clock is behind", at(3*time.Hour, grant), []string{"invalid_grant", "short-lived", "this machine's clock is ", "behind", "set the clock"}, true},
		{"our clock is ahead", at(-10*time.Minute, grant), []string{"invalid_grant", "this machine's clock is 10m", "ahead"}, true},
		{"the key is deleted", at(0, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`), []string{"Invalid JWT Signature", "the clocks agree", "the key k1", "sender@courier", "make a new key"}, true},
		{"the client is unknown", json400(`{"error":"invalid_client"}`), []string{"invalid_client", "may have been deleted"}, true},
		{"403", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403); w.Write([]byte(html)) }, []string{"HTTP 403", "not JSON", "check token_uri"}, true},
		{"404", func(w http.ResponseWriter, _ *http.Request) { http.NotFound(w, nil) }, []string{"HTTP 404", "check token_uri"}, true},
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, []string{"HTTP 500"}, false},
		{"429", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429); w.Write([]byte(`{}`)) }, []string{"HTTP 429"}, false},
		{"HTML", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(html)) }, []string{"HTTP 200", "not JSON"}, false},
		{"no token", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"expires_in":3599}`)) }, []string{"no usable access_token"}, false},
		{"a token that is no header", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"access_token":"a\r\nb"}`)) }, []string{"no usable access_token"}, false},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/login", http.StatusFound)
		}, []string{"HTTP 302"}, false},
		{"a gigabyte", func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < 1<<30 && r.Context().Err() == nil; i += 1 << 16 {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, []string{"not JSON"}, false},
		{"a hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, []string{"ask https://127.0.0.1"}, false},
		{"it repeats the assertion", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			w.Write([]byte(`{"error":"invalid_grant","error_description":"bad: ` + r.FormValue("assertion") + `"}`))
		}, []string{"bad: "}, true},
	} {
		mood.Store(&c.serve)
		limit := 30 * time.Second // a busy machine may need some of it
		if c.name == "a hang" {
			limit = time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		a, err := fetch(ctx)
		cancel()
		if err == nil || a.token != "" {
			t.Errorf("%s: %v, %v", c.name, a, err)
			continue
		}
		for _, say := range c.says {
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%s: %q is not in %q", c.name, say, err)
			}
		}
		if fatal(err) != c.fatal || len(err.Error()) > 1000 || strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("%s: fatal %v: %v", c.name, fatal(err), err)
		}
	}
	good := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || strings.Count(r.FormValue("assertion"), ".") != 2 {
			t.Errorf("asked with %v", r.Form)
		}
		w.Write([]byte(`{"access_token":"ya29.x-_~+/=","expires_in":3599,"token_type":"Bearer"}`))
	})
	mood.Store(&good)
	if a, err := fetch(t.Context()); err != nil || a.token != "ya29.x-_~+/=" || a.expires.Sub(a.fetched) != 3599*time.Second {
		t.Errorf("%v, %v", a, err)
	}
}
