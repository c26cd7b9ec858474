package admin

import (
	"context"
	"net/http"

	"balhost/host/internal/admin/audit"
	"balhost/host/internal/plain"
)

// Page is a path that is for people in a browser, beside the API. Who may use it is
// decided as for a path of the API. Its handler checks the query itself.
type Page struct {
	Pattern string // as [http.ServeMux] takes it: "GET /plugins"
	Role    Role   // that the caller needs
	Does    string // in one sentence
	Handler http.HandlerFunc
	Stream  func(Stream, *http.Request) // instead of Handler: an answer that goes on
}

func (a api) page(p Page) route {
	handler := p.Handler
	if p.Stream != nil {
		handler = func(w http.ResponseWriter, r *http.Request) {
			s := a.streams.begin(w, r)
			if s == nil {
				return
			}
			defer s.close()
			p.Stream(Stream{s}, r)
		}
	}
	to := page(p.Pattern, p.Role, p.Does, func(w http.ResponseWriter, r *http.Request) {
		handler(w, r.WithContext(context.WithValue(r.Context(), apiKey{}, a)))
	}).anyQuery()
	to.stream = p.Stream != nil
	return to
}

type apiKey struct{}

// AuditOf gives the handler of a page the newest entries of the audit log that fit.
func AuditOf(r *http.Request, q AuditQuery) (AuditPage, error) {
	a, _ := r.Context().Value(apiKey{}).(api) // without one the log is nil, and has no entries
	entries, more, err := a.audit.Read(audit.Query{Since: q.Since, Until: q.Until, Who: q.Who, Path: q.Path, Limit: q.Limit})
	return AuditPage{Entries: entries, More: more}, err
}

// CookieName is the name of a page's cookie, which is this host's alone.
func CookieName(r *http.Request, name string) string {
	if a, ok := r.Context().Value(apiKey{}).(api); ok {
		return a.door.cookieName(name)
	}
	return name
}

// Stream is an answer of server-sent events for a page. One goroutine uses it.
type Stream struct{ s *stream }

// HTML adds an event that brings HTML on one line. What can't be printed is escaped.
func (s Stream) HTML(line []byte) {
	s.s.buf.WriteString("data: ")
	_, _ = plain.Writer{W: &s.s.buf}.Write(line) // a buffer takes all
	s.s.buf.WriteString("\n\n")
}

// Alive adds a sign of life, which shows nothing. It is called every 15 s: a caller who may
// not read any more is found then, and the next Flush fails.
func (s Stream) Alive() { s.s.alive() }

// Flush writes what was added. Its error means that the reader has gone.
func (s Stream) Flush() error { return s.s.flush() }

// Ending is closed when the host stops.
func (s Stream) Ending() <-chan struct{} { return s.s.of.ending }

// RoleOf is what the caller of r may do, for the handler of a page.
func RoleOf(r *http.Request) Role { return callerOf(r).role }

// LoggedIn reports whether r comes from a browser that has logged in, and can log out.
func LoggedIn(r *http.Request) bool { return callerOf(r).login != "" }

// Did says for the audit log what the handler of a page did, in one sentence, without
// payloads, tokens and whole device tokens.
func Did(r *http.Request, format string, args ...any) { api{}.did(r, format, args...) }

// NotDone says for the audit log that the order of a page failed, with the status that the API
// would answer. The page itself leads back to where it came from.
func NotDone(r *http.Request, status int) { notDone(r, status) }

// Named is a name that somebody has chosen, for [Did].
func Named(name string) string { return named(name) }

// WriteWithin gives the handler of a page that much time to write its answer.
func WriteWithin(w http.ResponseWriter) { writeWithin(w, requestLimit) }

// WithRole is r from a caller with that role, for tests of pages without a server.
func WithRole(r *http.Request, role Role) *http.Request { return caller{role: role}.with(r) }
