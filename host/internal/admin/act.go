package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"balhost/host/internal/admin/audit"
	"balhost/host/internal/plain"
)

// act is what a request did, in the words of its handler. One goroutine has it.
type act struct {
	did    []string
	status int // of what was ordered, when the answer has another; 0: it has not
}

type actKey struct{}

// maxDid bounds the sentence of one request, in bytes.
const maxDid = 500

// record has next answer r, and puts what it did into the audit log.
func (a api) record(w http.ResponseWriter, r *http.Request, to route, next http.Handler) {
	it, out, began := &act{}, &noted{ResponseWriter: w}, time.Now()
	order := a.begin(r, to)
	defer func() { // also when a handler cuts its answer off
		e := entryOf(r)
		e.Order = order
		e.Status, e.Did, e.Took = cmp.Or(it.status, out.status, http.StatusOK), it.sentence(), float64(time.Since(began).Microseconds())/1000
		e.Often = to.often || r.Method == http.MethodGet || r.Method == http.MethodHead
		a.audit.Add(e)
	}()
	next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), actKey{}, it)))
}

// begin puts an order into the audit log before it is done, if it deletes for good or changes
// what runs: so also one that ends with the host has an entry. It returns the order's id, "" for others.
func (a api) begin(r *http.Request, to route) (order string) {
	if a.audit == nil || to.role != Admin || to.often || r.Method != http.MethodPost {
		return ""
	}
	e := entryOf(r)
	e.Order, e.Phase, e.Did = rand.Text()[:12], audit.Begun, "begun: "+strings.TrimSuffix(to.does, ".")
	a.audit.Add(e)
	return e.Order
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

// didSome is did of an order that may have failed when a part of it was done; n says how many.
func (a api) didSome(r *http.Request, n int, err error, format string, args ...any) {
	if err == nil || n > 0 {
		a.did(r, format, args...)
	}
}

// sentence is all that the request did.
func (it *act) sentence() string { return plain.Line(strings.Join(it.did, "; "), maxDid) }

// notDone says for the audit log with which status an order failed, when the answer does not
// say it.
func notDone(r *http.Request, status int) {
	if it, ok := r.Context().Value(actKey{}).(*act); ok {
		it.status = status
	}
}

// simple is a name that can't be taken for a part of a sentence.
var simple = regexp.MustCompile(`^[A-Za-z0-9._:@~-]+$`)

// named is a name that a caller has chosen, for a sentence of the audit log.
func named(name string) string {
	if simple.MatchString(name) {
		return name
	}
	return fmt.Sprintf("%.200q", name)
}

// several is a number of things in words: "1 event", "2 events".
func several(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
