package fcmv1

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"balhost/host/internal/flow"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// fcm serves tokens, and answers messages by h.
func fcm(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			w.Write([]byte(`{"access_token":"ya29.secret-token","expires_in":3599}`))
			return
		}
		h(w, r)
	}
}

func accept(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(accepted)) }

// Over TLS with a CA of one's own, by HTTP/2, and by HTTP/1.1 where FCM speaks no other:
// then with as many requests in flight as connections.
func TestProtocols(t *testing.T) {
	for _, major := range []int{2, 1} {
		var now, most, wrong atomic.Int64
		server, config := serve(t, fcm(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != major {
				wrong.Add(1)
			}
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(5 * time.Millisecond)
			now.Add(-1)
			accept(w, r)
		}), func(s *httptest.Server) { s.EnableHTTP2 = major == 2 })
		b := newBox(downstreams(300)...)
		s := New(Options{SenderID: project, Credentials: keyFile(t, server.URL+"/token", "k"), TLS: config, Endpoint: server.URL + "/", Outbox: b, Rate: 1e6})
		stop := start(t, s)
		until(t, "all answers", func() bool { return len(b.answers()) == 300 })
		if v := b.verdicts(); v[flow.Acked] != 300 || wrong.Load() > 0 {
			t.Errorf("HTTP/%d: %v, %d by another", major, v, wrong.Load())
		}
		if st := s.Status(); st.Dialled > 8 || major == 1 && (most.Load() > 4 || st.Window != 4) {
			t.Errorf("HTTP/%d: %d in flight; %+v", major, most.Load(), st)
		}
		stop()
		until(t, "no connection is left", func() bool { return s.Status().Connections == 0 })
	}
}

// A server that nobody vouches for, or with an old TLS, gets nothing.
func TestTLS(t *testing.T) {
	var asked atomic.Int64
	count := fcm(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); accept(w, r) })
	trusted, config := serve(t, count, nil)
	old, oldConfig := serve(t, count, func(s *httptest.Server) { s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11} })
	for name, c := range map[string]struct {
		url    string
		config *tls.Config
		says   string
	}{
		"an unknown CA": {trusted.URL, nil, "certificate"},
		"TLS 1.1":       {old.URL, oldConfig, "protocol version"},
	} {
		b := newBox(downstreams(1)...)
		s := New(Options{SenderID: project, Credentials: keyFile(t, trusted.URL+"/token", "k"), TLS: c.config, Endpoint: c.url, Outbox: b})
		s.bearer = newBearer(tokens(new(atomic.Int64)), s.tokenNews)
		start(t, s)
		until(t, name, func() bool { return len(b.answers()) > 0 })
		if a := b.answers()[0]; a.Verdict != flow.Resend || !strings.Contains(a.Description, c.says) {
			t.Errorf("%s: %+v", name, a.Answer)
		}
	}
	if asked.Load() > 0 {
		t.Errorf("%d requests arrived", asked.Load())
	}
	if config.RootCAs == nil {
		t.Fatal("no roots")
	}
}

// A redirect is not followed: it would take the access token elsewhere.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Int64
	elsewhere, _ := serve(t, func(http.ResponseWriter, *http.Request) { followed.Add(1) }, nil)
	server, config := serve(t, fcm(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}), nil)
	config.InsecureSkipVerify = true
	b := newBox(downstreams(1)...)
	s := New(Options{SenderID: project, Credentials: keyFile(t, server.URL+"/token", "k"), TLS: config, Endpoint: server.URL, Outbox: b})
	start(t, s)
	until(t, "an answer", func() bool { return len(b.answers()) > 0 })
	if a := b.answers()[0]; a.Verdict != flow.Retry || a.Code != "HTTP_307" || followed.Load() > 0 {
		t.Errorf("%+v, followed %d times", a.Answer, followed.Load())
	}
}

// Probe says whether FCM would take messages, and if not, what to do.
func TestProbe(t *testing.T) {
	var answer atomic.Pointer[http.HandlerFunc]
	var bodies sync.Map
	server, config := serve(t, fcm(func(w http.ResponseWriter, r *http.Request) {
		body := new(bytes.Buffer)
		body.ReadFrom(r.Body) //nolint:errcheck // a test
		bodies.Store(body.String(), true)
		(*answer.Load())(w, r)
	}), nil)
	key := keyFile(t, server.URL+"/token", "k")
	fails := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); w.Write([]byte(body)) }
	}
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		key   string
		says  string // "": all is well
	}{
		"all is well":             {accept, key, ""},
		"the quota is used up":    {fails(429, fail("x", "x", perProject)), key, ""},
		"no permission":           {fails(403, fail("PERMISSION_DENIED", "denied", iam)), key, "IAM_PERMISSION_DENIED: denied: service account sender@courier.iam.gserviceaccount.com of project courier may not send for project 482915730064"},
		"a wrong path":            {fails(404, html), key, "is endpoint right"},
		"no access token is good": {fails(401, html), key, "not even a new one"},
		"FCM is in trouble":       {fails(503, html), key, "HTTP_503"},
		"half a key":              {accept, key[:200], "the key file is not JSON"},
		"no token endpoint":       {accept, keyFile(t, "https://127.0.0.1:1/token", "k"), "ask https://127.0.0.1:1/token for an access token"},
	} {
		answer.Store(&c.serve)
		err := Probe(t.Context(), Options{SenderID: project, Credentials: c.key, TLS: config, Endpoint: server.URL})
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, refused := errors.AsType[*Unreached](Probe(t.Context(), Options{SenderID: project, Credentials: key, TLS: config, Endpoint: server.URL}))
	closed := Probe(t.Context(), Options{SenderID: project, Credentials: key, TLS: config, Endpoint: "https://127.0.0.1:1"})
	if u, ok := errors.AsType[*Unreached](closed); !ok || refused || u.Endpoint != "https://127.0.0.1:1" || strings.Contains(closed.Error(), codeUnsent) {
		t.Errorf("nobody listens: %v", closed)
	}
	bodies.Range(func(body, _ any) bool {
		if body != checkRequest {
			t.Errorf("sent %s", body)
		}
		return true
	})
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	answer.Store(&hang)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := Probe(ctx, Options{SenderID: project, Credentials: key, TLS: config, Endpoint: server.URL}); err == nil {
		t.Error("no answer is good")
	}
}

// What Open has found out is not asked again by Run.
func TestOpenBeforeRun(t *testing.T) {
	var asked, tokensAsked atomic.Int64
	server, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			tokensAsked.Add(1)
		} else {
			asked.Add(1)
		}
		fcm(accept)(w, r)
	}, nil)
	b := newBox(downstreams(10)...)
	s := New(Options{SenderID: project, Credentials: keyFile(t, server.URL+"/token", "k"), TLS: config, Endpoint: server.URL, Outbox: b})
	if err := s.Open(t.Context()); err != nil || !s.Stands() {
		t.Fatal(err)
	}
	start(t, s)
	until(t, "all answers", func() bool { return len(b.answers()) == 10 })
	if asked.Load() != 11 || tokensAsked.Load() != 1 {
		t.Errorf("%d requests, %d for tokens", asked.Load(), tokensAsked.Load())
	}
}

// No secret is in a log, an error, the status or an outcome, even when a peer repeats it.
func TestSecretsStayHidden(t *testing.T) {
	var mu sync.Mutex
	var log bytes.Buffer
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &log, Mutex: &mu})
	var n atomic.Int64
	server, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token" && n.Add(1)%2 == 1:
			w.WriteHeader(500)
			w.Write([]byte(`{"error":"oops","error_description":"you sent ` + r.FormValue("assertion") + `"}`))
		case r.URL.Path == "/token":
			w.Write([]byte(`{"access_token":"ya29.secret-token","expires_in":3599}`))
		default:
			w.WriteHeader(403)
			w.Write([]byte(fail("PERMISSION_DENIED", strings.Repeat("x", 490)+r.Header.Get("Authorization")+" hunter22", iam)))
		}
	}, nil)
	b := newBox(downstreams(3)...)
	s := New(Options{SenderID: project, Credentials: keyFile(t, server.URL+"/token", "k"), Secrets: []string{"hunter22"}, TLS: config, Endpoint: server.URL, Outbox: b, Log: logger})
	stop := start(t, s)
	until(t, "all answers", func() bool { return len(b.answers()) == 3 })
	st := s.Status()
	stop()
	mu.Lock()
	defer mu.Unlock()
	all := log.String() + st.LastError + strings.Join(st.Unready, " ") + strings.Join(st.Warnings, " ")
	for _, a := range b.answers() {
		all += a.Description
	}
	for _, secret := range []string{"ya29", "secret-token", "eyJ", "BEGIN", "PRIVATE", "hunter22", "t:1"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is shown: %.3000s", secret, all)
		}
	}
	if !strings.Contains(log.String(), "no access token") || !strings.Contains(all, "xxx") {
		t.Errorf("the log says nothing of it: %s", log.String())
	}
}

// The metrics have the session's name and say what the status says.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	server, config := serve(t, fcm(func(w http.ResponseWriter, r *http.Request) {
		body := new(bytes.Buffer)
		body.ReadFrom(r.Body) //nolint:errcheck // a test
		switch {
		case strings.Contains(body.String(), `"t:1"`):
			w.WriteHeader(404)
			w.Write([]byte(fail("NOT_FOUND", "x", fcmError("UNREGISTERED"))))
		case strings.Contains(body.String(), `"t:2"`):
			w.WriteHeader(400)
			w.Write([]byte(fail("x", "x", fcmError("NEVER_HEARD_OF"))))
		case strings.Contains(body.String(), `"t:3"`):
			w.Write([]byte(html))
		default:
			accept(w, r)
		}
	}), nil)
	b := newBox(downstreams(5)...)
	s := New(Options{Name: "main", SenderID: project, Credentials: keyFile(t, server.URL+"/token", "k"), TLS: config, Endpoint: server.URL, Outbox: b, Metrics: registry})
	start(t, s)
	until(t, "all answers", func() bool { return len(b.answers()) == 5 && s.Stands() && s.Status().InFlight == 0 })
	until(t, "the answer to the check of the account", func() bool {
		var m dto.Metric
		return s.metrics.answer.Write(&m) == nil && m.GetHistogram().GetSampleCount() == 6
	})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "balhost_fcm_v1_")
			for _, l := range m.GetLabel() {
				if l.GetName() != "session" {
					name += " " + l.GetValue()
				} else if l.GetValue() != "main" {
					t.Errorf("%s of session %q", name, l.GetValue())
				}
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"answers_total UNREGISTERED": 1, "answers_total accepted": 3, "answers_total other": 1, "answer_seconds": 6, "ambiguous_total": 0,
		"inflight": 0, "odd_total": 1, "token_fetches_total ok": 1, "token_fetches_total failed": 0,
	} {
		if n, ok := got[name]; !ok || n != want {
			t.Errorf("%s is %v, want %v", name, n, want)
		}
	}
	if got["connections"] < 1 || got["dials_total"] < 1 || got["dials_total"] > 4 || got["rate"] < 400 {
		t.Errorf("%v", got)
	}
}
