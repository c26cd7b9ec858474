package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"balhost/host/internal/plain"
)

// Role is what a caller may do. A higher one may all that a lower one may.
type Role int

// The roles. What is Operate changes how things run, or shows what is in messages. What
// is Admin deletes for good, changes the config or the plugins' content, or gives out
// everything that the host holds.
const (
	Anyone  Role = iota // without a token: probes
	Read                // state, lists and metrics; no payloads, no whole device tokens
	Operate             // send, cancel, replay, retry, pause; payloads
	Admin               // all
)

var roleNames = []string{"anyone", "read", "operate", "admin"}

func (r Role) String() string { return roleNames[r] }

// ParseRole is the role with that name in the config: read, operate or admin.
func ParseRole(name string) (Role, error) {
	for r := Read; r <= Admin; r++ {
		if r.String() == name {
			return r, nil
		}
	}
	return Anyone, fmt.Errorf("there is no role %q: there are %s", name, strings.Join(roleNames[Read:], ", "))
}

// caller is who sent a request.
type caller struct {
	who   string // for the audit log; "": nobody knows
	role  Role
	wrong error  // why it has no role; nil: it sent no token, or has one
	login string // the id of the browser's login; "": it is none
	// still reports whether it has its role now. nil: it keeps it.
	still func() bool
}

type callerKey struct{}

// with gives r its caller.
func (c caller) with(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
}

// callerOf is who sent r.
func callerOf(r *http.Request) caller {
	c, _ := r.Context().Value(callerKey{}).(caller)
	return c
}

// may reports whether the caller of r has that role.
func (a api) may(r *http.Request, role Role) bool { return callerOf(r).role >= role }

// deviceFor is a device's token as the caller of r may see it.
func (a api) deviceFor(r *http.Request, token string) string {
	if a.may(r, Operate) {
		return token
	}
	return plain.Brief(token)
}
