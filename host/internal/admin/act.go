package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"balhost/host/internal/plain"
)

// act is what a request did, in the words of its handler. One goroutine has it.
type act struct{ did []string }

type actKey struct{}

// maxDid bounds the sentence of one request, in bytes.
const maxDid = 500

// recorded is r with a place for what it does.
func recorded(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), actKey{}, &act{}))
}

// did says for the audit log what the request did, in one sentence without payloads,
// tokens and whole device tokens: a.did(r, "replayed %d dead letters", n). A handler
// calls it when it is done, before it answers, and not when it did nothing.
func (a api) did(r *http.Request, format string, args ...any) {
	if it, ok := r.Context().Value(actKey{}).(*act); ok {
		it.did = append(it.did, fmt.Sprintf(format, args...))
	}
}

// sentence is all that the request did.
func (it *act) sentence() string { return plain.Line(strings.Join(it.did, "; "), maxDid) }

// several is a number of things in words: "1 event", "2 events".
func several(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
