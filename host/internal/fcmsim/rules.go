package fcmsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"balhost/host/internal/simnet"
)

// Duration is a time.Duration. In JSON it is a text such as "1.5s".
type Duration = simnet.Duration

// Match says which requests a rule is for. The zero value matches one message.
type Match struct {
	Count  int    `json:"count"`  // for how many requests; 0 means 1, negative means all
	Skip   int    `json:"skip"`   // let so many pass first
	Target string `json:"target"` // a token, FID, topic or condition; * and ? are as in path.Match; "" matches all
	BalID  string `json:"bal_id"` // data.bal_id; "" matches all
	Token  bool   `json:"token"`  // requests for a bearer token, and not messages
}

// Response is what a request gets. Without a status, reset, cut or hang it is what
// the server would answer by itself, which the other fields may make slower.
type Response struct {
	Status      int               `json:"status"`
	Body        string            `json:"body"`
	ContentType string            `json:"content_type"` // "" means JSON
	Header      map[string]string `json:"header"`
	RetryAfter  string            `json:"retry_after"` // the header as it is; "date+30s" and "date-30s" become an HTTP-date
	Gzip        bool              `json:"gzip"`        // compress the body
	Size        int64             `json:"size"`        // repeat spaces after the body up to so many bytes

	Deliver bool    `json:"deliver"` // check the message and deliver it before anything else is done; a faulty one is answered as without a rule
	Early   bool    `json:"early"`   // answer before the request's body is read; on HTTP/2, and without target and bal_id
	Hang    bool    `json:"hang"`    // no answer; with a status: the headers alone
	Reset   string  `json:"reset"`   // end the stream with this code, such as REFUSED_STREAM; HTTP/1.1 closes the connection
	Cut     CutMode `json:"cut"`     // lose the connection
	Short   int     `json:"short"`   // with a status: so many bytes of the body come before the hang, reset or cut; 0 and none of them: the body is whole

	Delay     Duration `json:"delay"`      // before the headers, beside Options.AnswerDelay
	BodyDelay Duration `json:"body_delay"` // between headers and body
}

// After is r with a Retry-After header. See [Response.RetryAfter] for its forms.
func (r Response) After(header string) Response {
	r.RetryAfter = header
	return r
}

// Delivered is r for a message that was delivered before.
func (r Response) Delivered() Response {
	r.Deliver = true
	return r
}

// Later is r after so long.
func (r Response) Later(d time.Duration) Response {
	r.Delay = Duration(d)
	return r
}

// plain reports whether the server answers by itself.
func (r Response) plain() bool { return r.Status == 0 && r.Reset == "" && r.Cut == "" && !r.Hang }

func (r Response) check() error {
	switch {
	case r.Status != 0 && (r.Status < 200 || r.Status > 599):
		return fmt.Errorf("status %d: want 200 to 599", r.Status)
	case r.Early && r.Deliver:
		return errors.New("an early answer can't deliver: the message is not read yet")
	case r.Early && r.plain():
		return errors.New("an early answer needs a status, reset, cut or hang")
	case r.Size < 0, r.Short < 0, r.Delay < 0, r.BodyDelay < 0:
		return errors.New("size, short, delay and body_delay can't be negative")
	}
	if _, err := resetCode(r.Reset); err != nil {
		return err
	}
	if date, ok := strings.CutPrefix(r.RetryAfter, "date"); ok {
		if _, err := time.ParseDuration(date); err != nil {
			return fmt.Errorf(`retry_after %q: want "date+30s", "date-30s", or any header that does not begin with date`, r.RetryAfter)
		}
	}
	return r.Cut.check()
}

// codes are the names of HTTP/2's error codes.
var codes = func() map[string]http2.ErrCode {
	m := map[string]http2.ErrCode{}
	for c := http2.ErrCodeNo; c <= http2.ErrCodeHTTP11Required; c++ {
		m[c.String()] = c
	}
	return m
}()

func resetCode(name string) (http2.ErrCode, error) {
	if c, ok := codes[name]; ok || name == "" {
		return c, nil
	}
	return 0, fmt.Errorf("reset %q: want an error code of HTTP/2, such as REFUSED_STREAM, INTERNAL_ERROR or CANCEL", name)
}

// rule is a Response for the requests that match.
type rule struct {
	Match
	Response
}

// Answer adds a rule. For each request, the first rule that matches counts. A rule
// for messages does not see requests without a good bearer token.
func (s *Server) Answer(m Match, r Response) error {
	if err := r.check(); err != nil {
		return err
	}
	if r.Early && (m.Target != "" || m.BalID != "") {
		return errors.New("an early answer knows no target and no bal_id: they are in the body")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Count == 0 {
		m.Count = 1
	}
	s.rules = append(s.rules, &rule{m, r})
	return nil
}

// ClearAnswers removes all rules.
func (s *Server) ClearAnswers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// take is the rule for a request; nil without one. It counts as used, and goes when
// it is used up. s.mu must be held.
func (s *Server) take(match func(*rule) bool) *rule {
	for i, r := range s.rules {
		if !match(r) {
			continue
		}
		if r.Skip > 0 {
			r.Skip--
			continue
		}
		if r.Count > 0 {
			if r.Count--; r.Count == 0 {
				s.rules = append(s.rules[:i:i], s.rules[i+1:]...)
			}
		}
		return r
	}
	return nil
}

// fits reports whether a rule is for a message that was read.
func (r *rule) fits(target, balID string) bool {
	if r.Token || r.Early || r.BalID != "" && r.BalID != balID {
		return false
	}
	ok, err := path.Match(r.Target, target)
	return r.Target == "" || r.Target == target || ok && err == nil
}

// Rule is a Match and a Response in one object, for a control over HTTP.
type Rule struct {
	Answer string `json:"answer"` // the name of a response, whose fields the others replace; "" means none
	Match
	Response
}

// UnmarshalJSON reads a rule. An unknown field is an error.
func (r *Rule) UnmarshalJSON(b []byte) error {
	var name struct{ Answer string }
	if err := json.Unmarshal(b, &name); err != nil {
		return err
	}
	base, ok := named[name.Answer]
	if !ok && name.Answer != "" {
		return fmt.Errorf("answer %q: want one of %s", name.Answer, strings.Join(Names(), ", "))
	}
	base.Header = maps.Clone(base.Header)
	type fields Rule
	f := fields{Response: base}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&f)
	*r = Rule(f)
	return err
}
