package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// browser is a person's, in front of the API of a host with tokens.
type browser struct {
	t      *testing.T
	h      http.Handler
	cookie *http.Cookie
}

// locked is the whole API of a host with those tokens, with one more page.
func locked(tokens func() []Token) http.Handler {
	a := testAPI(&host{})
	a.door.tokens = tokens
	s := &Server{api: a}
	return guard{a.door, s.handler()}
}

// ask sends a request as the browser does for a page of the host itself, and follows no redirect.
func (b *browser) ask(method, path string, form url.Values, change func(*http.Request)) *http.Response {
	b.t.Helper()
	r := httptest.NewRequest(method, "http://host.example:8765"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if method != "GET" {
		r.Header.Set("Origin", "http://host.example:8765")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	resp := w.Result()
	for _, c := range resp.Cookies() {
		if b.cookie = c; c.MaxAge < 0 {
			b.cookie = nil
		}
	}
	return resp
}

// A person logs in with a token, may what the token may, and logs out. The cookie is no
// token, scripts can't read it, and other sites' pages can't have it sent.
func TestLogin(t *testing.T) {
	var now atomic.Pointer[[]Token]
	now.Store(&[]Token{{Name: "night", Role: Operate, Secret: "s3cret"}, {Name: "watch", Role: Read, Secret: "look"}})
	b := &browser{t: t, h: locked(func() []Token { return *now.Load() })}
	if resp := b.ask("GET", "/v1/status", nil, nil); resp.StatusCode != 401 {
		t.Errorf("before the login: %d", resp.StatusCode)
	}
	if resp := b.ask("GET", "/login?to=/x", nil, nil); resp.StatusCode != 200 || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if resp := b.ask("POST", "/login", url.Values{"token": {"wrong"}}, nil); resp.StatusCode != 401 || b.cookie != nil {
		t.Errorf("a wrong token: %d %v", resp.StatusCode, b.cookie)
	}
	resp := b.ask("POST", "/login", url.Values{"token": {" s3cret\n"}, "to": {"/v1/status?x=1"}}, nil)
	if c := b.cookie; resp.StatusCode != 303 || resp.Header.Get("Location") != "/v1/status?x=1" || c == nil || !c.HttpOnly || c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || strings.Contains(c.Value, "s3cret") || len(c.Value) < 26 {
		t.Fatalf("%d %v %v", resp.StatusCode, resp.Header, b.cookie)
	}
	pause := "/v1/plugins/echo/pause"
	for _, tc := range []struct {
		name, method, path string
		change             func(*http.Request)
		code               int
	}{
		{"reads", "GET", "/v1/status", nil, 200},
		{"acts", "POST", pause, nil, 200},
		{"is no admin", "POST", "/v1/reload", nil, 403},
		{"without an origin", "POST", pause, func(r *http.Request) { r.Header.Del("Origin") }, 403},
		{"origin null", "POST", pause, func(r *http.Request) { r.Header.Set("Origin", "null") }, 403},
		{"another origin", "POST", pause, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403},
		{"another port", "POST", pause, func(r *http.Request) { r.Header.Set("Origin", "http://host.example:1") }, 403},
		{"typed in", "POST", pause, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none") }, 403},
		{"another site", "POST", pause, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		{"no Sec-Fetch over plain HTTP", "POST", pause, func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") }, 200},
		{"a link from another site", "GET", "/v1/status", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		{"another cookie", "GET", "/v1/status", func(r *http.Request) { r.Header.Set("Cookie", b.cookie.Name+"=x") }, 401},
		{"its own token", "POST", "/v1/reload", func(r *http.Request) { r.Header.Set("Authorization", "Bearer look") }, 403},
	} {
		if resp := b.ask(tc.method, tc.path, nil, tc.change); resp.StatusCode != tc.code {
			t.Errorf("%s: %d instead of %d", tc.name, resp.StatusCode, tc.code)
		}
	}
	old := b.cookie
	if resp := b.ask("POST", "/logout", nil, func(r *http.Request) { r.Header.Del("Origin") }); resp.StatusCode != 403 || b.cookie == nil {
		t.Errorf("logged out by another site: %d", resp.StatusCode)
	}
	if resp := b.ask("POST", "/logout", nil, nil); resp.StatusCode != 303 || b.cookie != nil {
		t.Errorf("%d %v", resp.StatusCode, b.cookie)
	}
	b.cookie = old
	if resp := b.ask("GET", "/v1/status", nil, nil); resp.StatusCode != 401 {
		t.Errorf("after the logout: %d", resp.StatusCode)
	}
	b.ask("POST", "/login", url.Values{"token": {"s3cret"}}, nil)
	now.Store(&[]Token{{Name: "night", Role: Operate, Secret: "another"}})
	if resp := b.ask("GET", "/v1/status", nil, nil); resp.StatusCode != 401 {
		t.Errorf("after its token was taken out of the config: %d", resp.StatusCode)
	}
}

// What a page refuses is a page that asks for a token, and comes back to where one was.
func TestPagesAskForAToken(t *testing.T) {
	a := testAPI(&host{})
	a.door.tokens = testTokens
	shown := page("GET /p", Operate, "", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	b := &browser{t: t, h: guard{a.door, a.serve(shown)}}
	if resp := b.ask("GET", "/p?a=b", nil, nil); resp.StatusCode != 303 || resp.Header.Get("Location") != "/login?to=%2Fp%3Fa%3Db" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if resp := b.ask("GET", "/p", nil, func(r *http.Request) { r.Header.Set("HX-Request", "true") }); resp.StatusCode != 401 || resp.Header.Get("HX-Redirect") != "/login?to=%2Fp" {
		t.Errorf("htmx: %d %v", resp.StatusCode, resp.Header)
	}
	follow := func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
	}
	if resp := b.ask("GET", "/p", nil, follow); resp.StatusCode != 200 {
		t.Errorf("a link from elsewhere, for which the browser sends no cookie: %d", resp.StatusCode)
	}
	if resp := b.ask("GET", "/p", nil, func(r *http.Request) { follow(r); r.Header.Set("Sec-Fetch-Dest", "iframe") }); resp.StatusCode != 403 {
		t.Errorf("in a frame: %d", resp.StatusCode)
	}
	if resp := b.ask("POST", "/p", nil, nil); resp.StatusCode != 401 {
		t.Errorf("an action: %d", resp.StatusCode)
	}
	w := httptest.NewRecorder()
	a.serve(shown).ServeHTTP(w, caller{role: Read}.with(httptest.NewRequest("GET", "/p", nil)))
	if w.Code != 403 || !strings.Contains(w.Body.String(), "needs the role operate") {
		t.Errorf("a role that is too low: %d %s", w.Code, w.Body)
	}
	for path, want := range map[string]string{"/a?b=c": "/a?b=c", "//evil.example": "/", "https://evil.example": "/", "/\\evil.example": "/", "": "/", "a": "/", "/\t/evil.example": "/"} {
		if got := within(path); got != want {
			t.Errorf("within(%q) is %q", path, got)
		}
	}
}

// Where no token is needed, none is asked for.
func TestNoLoginWithoutTokens(t *testing.T) {
	b := &browser{t: t, h: locked(noTokens)}
	local := func(r *http.Request) {
		r.Host = "127.0.0.1:8765"
		r.Header.Set("Origin", "http://127.0.0.1:8765")
	}
	for _, method := range []string{"GET", "POST"} {
		if resp := b.ask(method, "/login", nil, local); resp.StatusCode != 303 || resp.Header.Get("Location") != "/" || b.cookie != nil {
			t.Errorf("%s: %d %v", method, resp.StatusCode, resp.Header)
		}
	}
	if resp := b.ask("POST", "/v1/reload", nil, local); resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
}

// Logins end by themselves, and one token never has more than so many. Who logs in without end
// logs out nobody who has another token.
func TestLoginsAreBounded(t *testing.T) {
	var l logins
	now := time.Unix(1e9, 0)
	other := l.begin(sumOf("other"), netip.Prefix{}, now.Add(-time.Minute))
	first := l.begin(sumOf("t"), netip.Prefix{}, now)
	for i := range 3 * maxLogins {
		l.begin(sumOf("t"), netip.Prefix{}, now.Add(time.Duration(i)))
	}
	if _, ok := l.token(first, netip.Prefix{}, now); ok || len(l.of) != maxLogins+1 {
		t.Errorf("%v, %d logins", ok, len(l.of))
	}
	if _, ok := l.token(other, netip.Prefix{}, now); !ok {
		t.Error("another token's login is gone")
	}
	id := l.begin(sumOf("t"), netip.Prefix{}, now.Add(time.Second))
	if _, ok := l.token(id, netip.Prefix{}, now.Add(loginTime)); !ok {
		t.Error("ended too early")
	}
	if _, ok := l.token(id, netip.Prefix{}, now.Add(loginTime+time.Second)); ok {
		t.Error("never ends")
	}
	if l.begin(sumOf("t"), netip.Prefix{}, now.Add(2*loginTime)); len(l.of) != 1 {
		t.Errorf("%d are kept", len(l.of))
	}
}

// Who guesses tokens is slowed down. Who has one wrong token is not, and who is at
// another address is not.
func TestGuessesAreSlow(t *testing.T) {
	var a attempts
	now, here, there := time.Unix(1e9, 0), place("192.0.2.1:5"), place("[2001:db8::7]:5")
	for range 100 * attemptsAtOnce {
		if a.failed(here, sumOf("old"), now); a.wait(here, sumOf("old"), now) != 0 {
			t.Fatal("the same wrong token again is a guess")
		}
	}
	guess := func() int {
		for i := 0; ; i++ {
			token := sumOf(fmt.Sprint(now, i))
			if a.wait(here, token, now) > 0 {
				return i
			}
			a.failed(here, token, now)
		}
	}
	if n := guess(); n != attemptsAtOnce-1 { // "old" was the first
		t.Errorf("%d guesses at once", n)
	}
	if a.wait(here, sumOf("right"), now) == 0 || a.wait(there, sumOf("right"), now) != 0 || a.wait(place("@"), sumOf("right"), now) != 0 {
		t.Error("who waits?")
	}
	now = now.Add(3 * time.Second)
	if n := guess(); n != 3 {
		t.Errorf("%d guesses after 3 s", n)
	}
	if place("[2001:db8::1]:1") != there || place("[::ffff:192.0.2.1]:9") != here || place("[::1]:1") == place("[::2]:1") {
		t.Error("places")
	}
	for i := range 2 * maxAddresses {
		a.failed(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32), sumOf("x"), now.Add(time.Duration(i)))
	}
	if len(a.of) > maxAddresses || a.of[here] == nil {
		t.Errorf("%d addresses, and the worst of them is forgotten: %v", len(a.of), a.of[here] == nil)
	}
}

// The answer to too many wrong tokens says when to try again, and a right one is
// answered then.
func TestTooManyWrongTokens(t *testing.T) {
	h := locked(testTokens)
	get := func(token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/v1/status", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for i := 0; ; i++ {
		w := get(fmt.Sprint("guess ", i))
		if w.Code == http.StatusTooManyRequests {
			if w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "too many wrong tokens") {
				t.Errorf("%v %s", w.Header(), w.Body)
			}
			break
		}
		if w.Code != 401 || i > 100*attemptsAtOnce {
			t.Fatalf("%d: %d %s", i, w.Code, w.Body)
		}
	}
	for deadline := time.Now().Add(time.Minute); get("s3cret").Code != 200; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the right token stays out")
		}
	}
}

// Two hosts of one name have cookies of their own. Over plain HTTP, where each of a
// machine's ports is shown all of them, a login holds at one address; over TLS it has a name
// that only this host can set, and the browser may move.
func TestLoginsAreOneHosts(t *testing.T) {
	var names []string
	for _, secure := range []bool{false, true} {
		for _, instance := range []string{"A", "B"} {
			a := testAPI(&host{})
			a.door.tokens, a.door.secure, a.door.instance = testTokens, secure, instance
			b := &browser{t: t, h: guard{a.door, (&Server{api: a}).handler()}}
			b.ask("POST", "/login", url.Values{"token": {"s3cret"}}, nil)
			if b.cookie == nil || b.cookie.Secure != secure || strings.HasPrefix(b.cookie.Name, "__Host-") != secure {
				t.Fatalf("%v", b.cookie)
			}
			names = append(names, b.cookie.Name)
			code := 401
			if secure {
				code = 200
			}
			if resp := b.ask("GET", "/v1/status", nil, func(r *http.Request) { r.RemoteAddr = "198.51.100.7:1" }); resp.StatusCode != code {
				t.Errorf("TLS %v: from another address: %d", secure, resp.StatusCode)
			}
			if resp := b.ask("GET", "/v1/status", nil, nil); resp.StatusCode != 200 {
				t.Errorf("TLS %v: from its own: %d", secure, resp.StatusCode)
			}
		}
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != 4 {
		t.Errorf("%q", names)
	}
}
