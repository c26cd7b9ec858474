package fcmsim

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBody is the most bytes of a request.
const maxBody = 1 << 20

// exchange is one request and what becomes of it. The connection's goroutines and
// Server.mu share it: before it is handled it belongs to the reader.
type exchange struct {
	conn         int
	stream       uint32 // 0 on HTTP/1.1
	method, path string
	auth         string // the Authorization header
	body         []byte
	ended        bool // the request was read to its end
	early        bool // it gets its answer before
	target       string
	balID        string

	message  *message // to be delivered; nil: none
	name     string   // of the message, as FCM calls it
	response Response
	status   string // what the report counts
	due      time.Time
	seq      uint64
	headed   bool   // the headers are written
	settled  bool   // delivered and counted
	gone     bool   // the stream has ended
	content  []byte // the body as it is written
	size     int64  // content, and the spaces after it
	end      int64  // how much of size is written
	sent     int64
	window   int64 // what the client allows on this stream
}

// handle decides what becomes of a request. s.mu must be held.
func (s *Server) handle(x *exchange, now time.Time) {
	s.counts.Requests++
	x.response = s.respond(x, now)
	delay := s.opts.AnswerDelay.Min
	if span := s.opts.AnswerDelay.Max - delay; span > 0 {
		delay += time.Duration(s.rnd.Int64N(int64(span)))
	}
	s.seq++
	x.seq, x.due = s.seq, now.Add(delay+time.Duration(x.response.Delay))
}

// earlyRule is the rule for a request whose headers alone are read; nil without one.
// s.mu must be held.
func (s *Server) earlyRule(path string) *rule {
	return s.take(func(r *rule) bool { return r.Early && r.Token == (path == "/token") })
}

func (s *Server) respond(x *exchange, now time.Time) Response {
	if len(x.body) > maxBody {
		return failure(413, fmt.Sprintf("Request payload size exceeds the limit: %d bytes.", maxBody))
	}
	if x.path == "/token" {
		return s.token(x, now)
	}
	project, ok := strings.CutPrefix(x.path, "/v1/projects/")
	project, ok2 := strings.CutSuffix(project, "/messages:send")
	if !ok || !ok2 || x.method != http.MethodPost || strings.Contains(project, "/") {
		return NotFound
	}
	s.counts.Sends++
	if refusal := s.authorized(x.auth, now); refusal != nil {
		s.counts.Unauthorized++
		return *refusal
	}
	switch project {
	case s.opts.Project, s.opts.SenderID:
		return s.send(x, now)
	case "":
		return NotFound
	}
	return denied(project)
}

// denied is PermissionDenied for that project.
func denied(project string) Response {
	return failure(403, "Permission 'cloudmessaging.messages.create' denied on resource '//cloudresourcemanager.googleapis.com/projects/"+project+"' (or it may not exist).",
		errorInfo("IAM_PERMISSION_DENIED", map[string]string{"permission": "cloudmessaging.messages.create", "resource": "projects/" + project}))
}

// send decides what becomes of a message.
func (s *Server) send(x *exchange, now time.Time) Response {
	m, bad := decode(x.body)
	x.target, x.balID = m.target, m.balID
	rule := s.take(func(r *rule) bool { return r.fits(m.target, m.balID) })
	if rule != nil && !rule.plain() && !rule.Deliver {
		s.counts.Ruled++
		return rule.Response
	}
	if refusal := s.judge(m, bad, now); refusal != nil {
		s.counts.Refused++
		return *refusal
	}
	x.name = "projects/" + s.opts.Project + "/messages/fake_message_id"
	if m.validateOnly {
		s.counts.Validated++
	} else {
		s.seq++
		x.message, x.name = &m, fmt.Sprintf("projects/%s/messages/0:%d%%%016x", s.opts.Project, s.seq, s.rnd.Uint64())
	}
	r := Response{}
	if rule != nil {
		s.counts.Ruled++
		r = rule.Response
	}
	if r.plain() {
		r.Status, r.Body = 200, "{\n  \"name\": \""+x.name+"\"\n}\n"
	}
	return r
}

// judge is nil for a message that FCM takes, else the answer. bad is what decode found.
func (s *Server) judge(m message, bad *fault, now time.Time) *Response {
	if refusal := s.quota.spend(s.quotas, m, now); refusal != nil {
		s.counts.OverQuota++
		return refusal
	}
	var r Response
	switch {
	case bad != nil:
		r = bad.response()
	case s.unregistered(m):
		r = Unregistered
	default:
		return nil
	}
	return &r
}

// settle delivers the message of a request whose time has come, and counts it. s.mu
// must be held.
func (s *Server) settle(x *exchange, now time.Time, status string) {
	if x.settled {
		return
	}
	x.settled, x.status = true, status
	if x.message != nil {
		s.deliver(x.message, x.name, now)
		x.message = nil
	}
	if x.path != "/token" {
		if _, known := s.byStatus[status]; known || len(s.byStatus) < 100 {
			s.byStatus[status]++
		}
		if status == "200" {
			s.counts.Accepted++
		}
	}
	s.transcript.add(now, x)
}

// outcome is what the report counts a response as.
func (r Response) outcome() string {
	switch {
	case r.Status != 0:
		return strconv.Itoa(r.Status)
	case r.Cut != "":
		return "cut"
	case r.Reset != "":
		return "reset"
	}
	return "hang"
}

// prepare makes the bytes of the answer.
func (s *Server) prepare(x *exchange) {
	r := &x.response
	x.content = []byte(r.Body)
	if s.opts.Grease {
		x.content = grease(x.content, s.rnd)
	}
	x.size = max(int64(len(x.content)), r.Size)
	if r.Gzip {
		x.content = compress(x.content, x.size)
		x.size = int64(len(x.content))
	}
	if x.end = x.size; r.Short > 0 || r.Hang || r.Reset != "" || r.Cut != "" {
		x.end = min(x.size, int64(r.Short))
	}
}

// pair is one header. Names are in lower case, as HTTP/2 wants them.
type pair struct{ name, value string }

// headers are those of an answer that is prepared.
func (s *Server) headers(x *exchange, now time.Time) []pair {
	r := x.response
	now = now.Add(s.clock)
	contentType := r.ContentType
	if contentType == "" {
		contentType = "application/json; charset=UTF-8"
	}
	out := []pair{{"content-type", contentType}, {"date", now.UTC().Format(http.TimeFormat)}, {"content-length", strconv.FormatInt(x.size, 10)}, {"server", "ESF"}}
	if date, ok := strings.CutPrefix(r.RetryAfter, "date"); ok {
		d, _ := time.ParseDuration(date) // check has parsed it
		out = append(out, pair{"retry-after", now.Add(d).UTC().Format(http.TimeFormat)})
	} else if r.RetryAfter != "" {
		out = append(out, pair{"retry-after", r.RetryAfter})
	}
	if r.Gzip {
		out = append(out, pair{"content-encoding", "gzip"})
	}
	for name, value := range r.Header {
		out = append(out, pair{strings.ToLower(name), value})
	}
	if s.opts.Grease {
		out = append(out, pair{"x-grease-" + strconv.Itoa(s.rnd.IntN(100)), "1"})
	}
	return out
}

// spaces is what follows a body up to Response.Size.
var spaces = bytes.Repeat([]byte(" "), maxFrame)

// maxFrame is the most bytes of a DATA frame.
const maxFrame = 16 << 10

// piece is the next part of the body, at most n bytes.
func (x *exchange) piece(n int64) []byte {
	n = min(n, x.end-x.sent, maxFrame)
	if left := int64(len(x.content)) - x.sent; left > 0 {
		return x.content[x.sent : x.sent+min(left, n)]
	}
	return spaces[:n]
}
