package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/status"
)

// What those may not do who have a token of a low role, or none.

const wholeToken = "device-token-that-is-long-enough-to-be-one"

// secretive is a host whose answers have whole tokens of devices wherever they can.
func secretive() Functions {
	h := &host{}
	f := h.functions()
	stuck := status.StuckHandler{Event: "E", Device: wholeToken}
	f.Status = func() Status {
		return Status{
			Plugins:  []Plugin{{Name: "p", Work: status.Work{StuckHandlers: []status.StuckHandler{stuck}}}},
			Unusable: []status.Unusable{{From: wholeToken}},
		}
	}
	f.Stuck = func(context.Context) (StuckPage, error) { return StuckPage{Stuck: []Stuck{{StuckHandler: stuck}}}, nil }
	f.Dead = func(DeadQuery) (DeadPage, error) { return DeadPage{Dead: []entry.DeadLetter{{From: wholeToken}}}, nil }
	f.Retries = func(context.Context, string, int) (RetryPage, error) {
		return RetryPage{Retries: []Retry{{From: wholeToken}}}, nil
	}
	f.Series = func() Series { return Series{} }
	f.Erasing = func() Erasing { return Erasing{} }
	f.Ready = func() ([]string, []string) { return []string{"a secret reason"}, nil }
	f.Live = func() error { return errors.New("a secret reason") }
	return f
}

func secretiveAPI() (api, http.Handler) {
	a := testAPI(&host{})
	a.Functions = secretive()
	a.door.tokens = func() []Token {
		return []Token{{Name: "watch", Role: Read, Secret: "look"}, {Name: "night", Role: Operate, Secret: "act"}}
	}
	return a, guard{a.door, (&Server{api: a}).handler()}
}

func askAs(h http.Handler, token, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Who may only read gets no whole token of a device from any path that lists; who operates does.
func TestReadersGetNoWholeTokens(t *testing.T) {
	a, h := secretiveAPI()
	whole := 0
	for _, to := range a.routes() {
		path, is := strings.CutPrefix(to.pattern, "GET ")
		if !is || to.role != Read || to.media != "" || strings.Contains(path, "{") {
			continue
		}
		if w := askAs(h, "look", path); w.Code != 200 || strings.Contains(w.Body.String(), wholeToken[:20]) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if strings.Contains(askAs(h, "act", path).Body.String(), wholeToken) {
			whole++
		}
	}
	if whole < 5 {
		t.Errorf("%d paths show a whole token to who operates: the test looks at the wrong ones", whole)
	}
	s := a.Status()
	if got := a.statusFor(caller{role: Read}.with(httptest.NewRequest("GET", "/", nil))); got.Unusable[0].From == wholeToken || s.Unusable[0].From != wholeToken {
		t.Error("what the host keeps has changed")
	}
}

// A stranger learns whether the host is well, not why, and has the parts asked once a second.
func TestStrangersLearnLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := secretiveAPI()
		asked := 0
		ready := a.Ready
		a.Ready = func() ([]string, []string) { asked++; return ready() }
		h := guard{a.door, (&Server{api: a}).handler()}
		for _, path := range []string{"/readyz", "/livez"} {
			for range 100 {
				if w := askAs(h, "", path); w.Code != 503 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), askWhy) {
					t.Fatalf("%s: %d %s", path, w.Code, w.Body)
				}
			}
			if w := askAs(h, "look", path); w.Code != 503 || !strings.Contains(w.Body.String(), "a secret reason") {
				t.Errorf("%s with a token: %d %s", path, w.Code, w.Body)
			}
		}
		if asked != 2 {
			t.Errorf("the parts were asked %d times", asked)
		}
		time.Sleep(healthTime)
		if askAs(h, "", "/readyz"); asked != 3 {
			t.Errorf("a second later: %d times", asked)
		}
	})
}

// One caller's questions are answered a few at a time; others' at once; who waits too long is told.
func TestNobodyKeepsTheHostBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := secretiveAPI()
		var now, most atomic.Int64
		release := make(chan struct{})
		search := a.Messages
		a.Messages = func(ctx context.Context, q MessageQuery) (MessagePage, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			<-release
			return search(ctx, q)
		}
		h := guard{a.door, (&Server{api: a}).handler()}
		var answers sync.WaitGroup
		var codes [20]int
		for i := range codes {
			answers.Go(func() { codes[i] = askAs(h, "look", "/v1/messages").Code })
		}
		synctest.Wait()
		if now.Load() != readersAtOnce {
			t.Errorf("%d at a time", now.Load())
		}
		if w := askAs(h, "act", "/v1/status"); w.Code != 200 {
			t.Errorf("another one's question: %d", w.Code)
		}
		time.Sleep(crowdTime)
		synctest.Wait()
		close(release)
		answers.Wait()
		slices.Sort(codes[:])
		if codes[0] != 200 || codes[readersAtOnce-1] != 200 || codes[readersAtOnce] != 429 || codes[len(codes)-1] != 429 || most.Load() != readersAtOnce {
			t.Errorf("%v, %d at most", codes, most.Load())
		}
		if len(a.crowd.of) != 0 {
			t.Errorf("%d callers are remembered", len(a.crowd.of))
		}
	})
}

// The ledger is verified once at a time: each time all of it is read.
func TestOneVerificationAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := secretiveAPI()
		release := make(chan struct{})
		a.Verify = func(context.Context) (Verified, error) { <-release; return Verified{Sound: true}, nil }
		h := guard{a.door, (&Server{api: a}).handler()}
		verify := func() int {
			r := httptest.NewRequest("POST", "/v1/verify", nil)
			r.Header.Set("Authorization", "Bearer act")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		first := make(chan int)
		go func() { first <- verify() }()
		synctest.Wait()
		if code := verify(); code != http.StatusConflict {
			t.Errorf("a second one: %d", code)
		}
		close(release)
		if code := <-first; code != 200 {
			t.Errorf("the first one: %d", code)
		}
		if code := verify(); code != 200 {
			t.Errorf("after it: %d", code)
		}
	})
}

// One reader takes half of the live streams at most; an admin may have all.
func TestNobodyTakesAllStreams(t *testing.T) {
	s := newStreams()
	for _, role := range []Role{Read, Admin} {
		for i := range maxTails + 1 {
			w := httptest.NewRecorder()
			one := s.begin(w, caller{who: role.String(), role: role}.with(httptest.NewRequest("GET", "/v1/tail", nil)))
			if (one == nil) != (role == Read && i == maxTails) {
				t.Errorf("%s, stream %d: %v, %d", role, i, one != nil, w.Code)
			}
		}
	}
}

// Over TLS a page that came by plain HTTP is another site's, also of the same name and port.
func TestPlainPagesAreForeign(t *testing.T) {
	r := httptest.NewRequest("POST", "https://host.example/login", nil)
	r.TLS = &tls.ConnectionState{}
	for origin, want := range map[string]bool{"https://host.example": false, "http://host.example": true, "https://evil.example": true} {
		if r.Header.Set("Origin", origin); foreign(r) != want || own(r) == want {
			t.Errorf("%s: foreign is %v", origin, foreign(r))
		}
	}
}
