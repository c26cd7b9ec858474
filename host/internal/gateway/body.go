package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"balhost/host/internal/frame"
)

var errBudget = errors.New("too many bytes are read and not committed")

// budgeted reads what there is room for.
type budgeted struct {
	io.Reader
	room capacity
}

// Read implements [io.Reader].
func (b budgeted) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if !b.room.take(n) {
		return 0, errBudget
	}
	return n, err
}

// readBody reads the body within its limits. An attacker has to send each byte that is
// held for it.
func (q *request) readBody() *refusal {
	q.body = scratch.Get().(*bytes.Buffer)
	_, err := q.body.ReadFrom(budgeted{http.MaxBytesReader(q.w, q.r.Body, frame.MaxBody), q.room})
	var big *http.MaxBytesError
	switch {
	case err == nil:
		unlimited(q.w)
		return nil
	case errors.As(err, &big):
		return wrongRequest(http.StatusRequestEntityTooLarge, frame.Wrong(frame.CodeTooBig, "the body is larger than %d KiB: send fewer messages at once", frame.MaxBody>>10))
	case errors.Is(err, errBudget):
		return q.crowded()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return wrongRequest(http.StatusRequestTimeout, frame.Wrong(frame.CodeTooSlow, "the body did not come within %d s", bodyLimit/time.Second))
	}
	return wrongRequest(http.StatusBadRequest, frame.Wrong(frame.CodeInvalidJSON, "the body ends too early"))
}

// crowded is the answer to a body for which there is no room.
func (q *request) crowded() *refusal {
	limit := "bytes that are not committed, of all devices"
	if q.room != capacity(&q.g.budget) {
		limit = unprovenLimit
	}
	q.g.limited(q.peer.key, limit)
	return noRoom(frame.CodeNoRoom, "the host has too much to store: keep the messages, and send them again later")
}

// unlimited takes the limit of a body away, which has come whole: else the connection
// would end while the ledger commits.
func unlimited(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // not every writer of a test has one
}

// proven moves the body to where the bodies of known devices are.
func (q *request) proven() *refusal {
	if !q.g.budget.take(q.body.Len()) {
		return q.crowded()
	}
	q.room.give(q.body.Len())
	q.room = &q.g.budget
	return nil
}

// done frees what the request holds.
func (q *request) done() {
	if q.body != nil {
		q.room.give(q.body.Len())
		putScratch(q.body)
	}
}
