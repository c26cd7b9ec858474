package hosttest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// poster stands between a session and its connections to FCM. It sees each request
// and what the session reads of the answer.
type poster struct {
	http.RoundTripper
	b      *books
	flight *flight
	most   int // requests in flight
	flying atomic.Int64
}

// posts are the requests with one downstream.
type posts struct {
	acked bool      // a 2xx was read
	again time.Time // not before
	why   string
	flies bool
}

// tooSoon is how long a downstream waits after an end that may have been a delivery, and
// after an answer that time heals.
// Spec: fcm-v1-and-gateway.md A5, A6.
const tooSoon = 10 * time.Second

func (p *poster) RoundTrip(r *http.Request) (*http.Response, error) {
	mid := messageOf(r)
	if mid == "" { // a check of the account
		return p.RoundTripper.RoundTrip(r)
	}
	if n := int(p.flying.Add(1)); n > p.most {
		p.b.wrong("P3: %d requests are in flight, of %d at most", n, p.most)
	}
	p.begins(mid)
	var wrote atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }}
	response, err := p.RoundTripper.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil {
		p.flying.Add(-1)
		p.ends(mid, func(on *posts) {
			if wrote.Load() {
				on.again, on.why = time.Now().Add(tooSoon), "no answer: "+err.Error()
			}
		})
		return nil, err
	}
	p.answers(mid, response)
	response.Body = &answer{ReadCloser: response.Body, over: sync.OnceFunc(func() {
		p.flying.Add(-1)
		p.ends(mid, func(*posts) {})
	})}
	return response, nil
}

// messageOf is the id of the downstream in a request, or "".
func messageOf(r *http.Request) string {
	body, err := r.GetBody()
	if err != nil {
		return ""
	}
	var request struct {
		ValidateOnly bool `json:"validate_only"`
		Message      struct {
			Data map[string]string `json:"data"`
		} `json:"message"`
	}
	if text, err := io.ReadAll(body); err != nil || json.Unmarshal(text, &request) != nil || request.ValidateOnly {
		return ""
	}
	return request.Message.Data["bal_id"]
}

// begins checks that the downstream may go now (P3).
func (p *poster) begins(mid string) {
	f := p.flight
	f.mu.Lock()
	defer f.mu.Unlock()
	on := f.posts[mid]
	if on == nil {
		on = &posts{}
		f.posts[mid] = on
	}
	switch left := time.Until(on.again); {
	case on.acked:
		p.b.wrong("P4: %s goes out again after FCM took it", mid)
	case on.flies:
		p.b.wrong("P3: %s goes out while it is in flight", mid)
	case left > 0:
		p.b.wrong("%s goes out again %s too soon after %s", mid, left, on.why)
	}
	on.flies = true
}

func (p *poster) ends(mid string, note func(*posts)) {
	p.flight.mu.Lock()
	defer p.flight.mu.Unlock()
	on := p.flight.posts[mid]
	on.flies = false
	note(on)
}

// answers notes what the session reads.
func (p *poster) answers(mid string, r *http.Response) {
	p.b.said(mid, r.StatusCode)
	p.flight.mu.Lock()
	defer p.flight.mu.Unlock()
	on, now := p.flight.posts[mid], time.Now()
	switch s := r.StatusCode; {
	case s < 300:
		on.acked = true
	case s >= 500, s == http.StatusRequestTimeout, s == http.StatusConflict:
		on.again, on.why = now.Add(tooSoon), r.Status
	case s == http.StatusTooManyRequests:
		if seconds, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil {
			on.again, on.why = now.Add(time.Duration(seconds)*time.Second), r.Status
		}
	}
}

// answer is the body of a response.
type answer struct {
	io.ReadCloser
	over func()
}

func (a *answer) Close() error {
	defer a.over()
	return a.ReadCloser.Close()
}
