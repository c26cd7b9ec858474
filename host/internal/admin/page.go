package admin

import "net/http"

// Page is a path that is for people in a browser, beside the API. Who may use it is
// decided as for a path of the API. Its handler checks the query itself.
type Page struct {
	Pattern string // as [http.ServeMux] takes it: "GET /plugins"
	Role    Role   // that the caller needs
	Does    string // in one sentence
	Handler http.HandlerFunc
}

// RoleOf is what the caller of r may do, for the handler of a page.
func RoleOf(r *http.Request) Role { return callerOf(r).role }

// LoggedIn reports whether r comes from a browser that has logged in, and can log out.
func LoggedIn(r *http.Request) bool { return callerOf(r).login != "" }

// Did says for the audit log what the handler of a page did, in one sentence, without
// payloads, tokens and whole device tokens.
func Did(r *http.Request, format string, args ...any) { api{}.did(r, format, args...) }

// WriteWithin gives the handler of a page that much time to write its answer.
func WriteWithin(w http.ResponseWriter) { writeWithin(w, requestLimit) }

// WithRole is r from a caller with that role, for tests of pages without a server.
func WithRole(r *http.Request, role Role) *http.Request { return recorded(caller{role: role}.with(r)) }
