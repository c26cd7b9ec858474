package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// serve answers r for a route: only callers with its role get there, and only with a
// query that it knows.
func (a api) serve(to route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to.page {
			protect(w.Header(), pagePolicy)
		}
		if foreign(r) && !(to.page && visit(r)) {
			a.denied(r, to.path(), http.StatusForbidden, errForeign)
			fail(w, http.StatusForbidden, errForeign)
			return
		}
		if need := to.needs(r); !a.may(r, need) {
			a.refuse(w, r, to, need)
			return
		}
		if !to.loose {
			if err := checkQuery(r.URL.Query(), to.query); err != nil {
				fail(w, http.StatusBadRequest, err)
				return
			}
		}
		if to.audited(r) {
			a.record(w, r, to, to.handler)
			return
		}
		if to.question(r) {
			a.asked(w, r, to.handler)
			return
		}
		to.handler.ServeHTTP(w, r)
	})
}

// errForeign says that another site sent a request.
var errForeign = errors.New("a page of another site sent this request; this API is for programs, and for the pages of this host")

// audited reports whether the audit log has what r does: it changes something, or gives
// out what only an admin may have.
func (to route) audited(r *http.Request) bool {
	return to.role == Admin || r.Method != http.MethodGet && r.Method != http.MethodHead
}

// path is the pattern without its method.
func (to route) path() string {
	if _, path, ok := strings.Cut(to.pattern, " "); ok {
		return path
	}
	return to.pattern
}

// needs is the role that the caller of r needs: the path's, or that of a parameter
// which is in the query.
func (to route) needs(r *http.Request) Role {
	need := to.role
	if len(to.query) == 0 {
		return need
	}
	query := r.URL.Query()
	for _, p := range to.query {
		if query.Has(p.name) {
			need = max(need, p.role)
		}
	}
	return need
}

// refuse answers a caller without the role that it needs.
func (a api) refuse(w http.ResponseWriter, r *http.Request, to route, need Role) {
	code, err := need.missing(r)
	if soon := (tooSoon{}); errors.As(err, &soon) {
		w.Header().Set("Retry-After", strconv.Itoa(int(soon.wait.Seconds())+1))
	}
	a.denied(r, to.path(), code, err)
	if to.page {
		a.refusePage(w, r, code, err)
		return
	}
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	fail(w, code, err)
}

// missing says that the caller of r has not the role, and what to do.
func (need Role) missing(r *http.Request) (code int, err error) {
	c, what := callerOf(r), fmt.Sprintf("%s %s needs the role %s", r.Method, r.URL.Path, need)
	const how = "a token of the config's admin block that has it"
	switch {
	case errors.As(c.wrong, new(tooSoon)):
		return http.StatusTooManyRequests, fmt.Errorf("%s, and %w", what, c.wrong)
	case errors.Is(c.wrong, errCrossed):
		return http.StatusForbidden, c.wrong
	case c.wrong != nil:
		return http.StatusUnauthorized, fmt.Errorf("%s, and %w: send %s: Authorization: Bearer TOKEN", what, c.wrong, how)
	case c.role == Anyone:
		return http.StatusUnauthorized, fmt.Errorf("%s: send %s: Authorization: Bearer TOKEN", what, how)
	}
	return http.StatusForbidden, fmt.Errorf("%s, and your token has %s: use %s", what, c.role, how)
}
