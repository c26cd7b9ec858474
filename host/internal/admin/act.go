package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"balhost/host/internal/admin/audit"

	"balhost/host/internal/plain"
)

// act is what a request did, in the words of its handler. One goroutine has it.
type act struct{ did []string }

type actKey struct{}

// maxDid bounds the sentence of one request, in bytes.
const maxDid = 500

// record has next answer r, and puts what it did into the audit log.
func (a api) record(w http.ResponseWriter, r *http.Request, to route, next http.Handler) {
	it, out, began := &act{}, &noted{ResponseWriter: w}, time.Now()
	defer func() { // also when a handler cuts its answer off
		e := entryOf(r)
		e.Status, e.Did, e.Took = cmp.Or(out.status, http.StatusOK), it.sentence(), float64(time.Since(began).Microseconds())/1000
		e.Often = to.often || r.Method == http.MethodGet || r.Method == http.MethodHead
		a.audit.Add(e)
	}()
	next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), actKey{}, it)))
}

// denied puts a request that was not allowed into the audit log. path is the pattern of the
// route: who may not do it does not choose what stands there.
func (a api) denied(r *http.Request, path string, code int, why error) {
	e := entryOf(r)
	e.Path, e.Status, e.Did, e.Often = path, code, "denied: "+plain.Line(why.Error(), maxDid), true
	a.audit.Add(e)
}

// entryOf is what a request says of itself.
func entryOf(r *http.Request) audit.Entry {
	return audit.Entry{At: time.Now(), Who: callerOf(r).who, Address: addressOf(r), Method: r.Method, Path: plain.Line(r.URL.Path, maxDid)}
}

// noted notes the status of an answer.
type noted struct {
	http.ResponseWriter
	status int
}

// WriteHeader sends the status.
func (w *noted) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for net/http's ResponseController.
func (w *noted) Unwrap() http.ResponseWriter { return w.ResponseWriter }

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
