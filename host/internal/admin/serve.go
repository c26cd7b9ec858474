package admin

import (
	"fmt"
	"net/http"
)

// serve answers r for a route: only callers with its role get there, and only with a
// query that it knows.
func (a api) serve(to route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if need := to.needs(r); !a.may(r, need) {
			refuse(w, r, need)
			return
		}
		if !to.loose {
			if err := checkQuery(r.URL.Query(), to.query); err != nil {
				fail(w, http.StatusBadRequest, err)
				return
			}
		}
		to.handler.ServeHTTP(w, recorded(r))
	})
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

// refuse answers a caller without the role.
func refuse(w http.ResponseWriter, r *http.Request, need Role) {
	if callerOf(r).role == Anyone {
		w.Header().Set("WWW-Authenticate", "Bearer")
		fail(w, http.StatusUnauthorized, fmt.Errorf("%s %s needs the role %s: send a token of the config's admin block that has it: Authorization: Bearer TOKEN", r.Method, r.URL.Path, need))
		return
	}
	fail(w, http.StatusForbidden, fmt.Errorf("%s %s needs the role %s, and your token has %s: use a token of the config's admin block that has it", r.Method, r.URL.Path, need, callerOf(r).role))
}
