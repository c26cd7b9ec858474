package fcmv1

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
)

// deliver sends one downstream and says what became of it. An access token that FCM
// does not take is replaced once; when FCM does not take that either, the account is at fault.
func (s *Session) deliver(ctx context.Context, g entry.Outgoing) judgement {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	taken := time.Now()
	return s.authorized(ctx, func(now time.Time) ([]byte, error) {
		d := outgoing{message: g.Message, seq: g.Seq}
		if g.TTL != nil {
			rest := max(0, *g.TTL-now.Sub(taken))
			d.ttl = &rest
		}
		return appendRequest(nil, d, now)
	})
}

// authorized posts what encode makes, with an access token that FCM takes.
func (s *Session) authorized(ctx context.Context, encode func(now time.Time) ([]byte, error)) judgement {
	for again := false; ; again = true {
		token, err := s.bearer.get(ctx)
		if err != nil {
			return judge(exchange{err: err}, time.Now())
		}
		body, err := encode(time.Now())
		if err != nil {
			return judgement{Answer: flow.Answer{Verdict: flow.Fail, Code: CodeUnsupported, Description: text(err.Error())}, sign: unsupported}
		}
		e := s.post(ctx, token, body)
		if e.err == nil && e.status >= 300 { // before it is cut, so that no part of the token is left
			e.body = []byte(s.hidden(token).Text(string(e.body)))
		}
		j := judge(e, time.Now())
		if j.sign != badToken {
			return j
		}
		s.bearer.drop(token)
		if again {
			return j
		}
	}
}

// post is one request and its answer. No copy of the body is kept for another request:
// net/http may read it after the answer has come.
func (s *Session) post(ctx context.Context, token access, body []byte) exchange {
	var sent atomic.Bool // also if net/http repeats the request later: the first may have arrived
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	request := (&http.Request{
		Method: http.MethodPost,
		URL:    s.url,
		Host:   s.url.Host,
		Header: http.Header{
			"Authorization":             {"Bearer " + token.token},
			"Content-Type":              {"application/json"},
			"User-Agent":                {"balhost"},
			"X-Goog-Api-Format-Version": {"2"}, // errors with details
		},
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		ContentLength: int64(len(body)),
	}).WithContext(ctx)
	lane, done := s.lanes.pick()
	defer done() // after the body is closed
	began := time.Now()
	response, err := lane.RoundTrip(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
			err = cause
		}
		return exchange{err: err, sent: sent.Load()}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	s.metrics.answer.Observe(time.Since(began).Seconds())
	s.mu.Lock()
	s.window.spoke(response.ProtoMajor)
	s.mu.Unlock()
	return exchange{sent: true, status: response.StatusCode, header: response.Header, body: answer, cut: err != nil}
}
