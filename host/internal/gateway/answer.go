package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"balhost/host/internal/frame"
)

// reply writes an answer. A device that does not read it within answerLimit loses its
// connection.
func reply(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil { // the types of frame have no such values
		status, b = http.StatusInternalServerError, []byte(`{}`)
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerLimit)) // a writer of a test has none
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a device that does not get it asks again, with the same ids
}

// refuse writes an error in the shape that all have. Spec: fcm-v1-and-gateway.md C2, C5.
func refuse(w http.ResponseWriter, no *refusal) {
	if no.after > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((no.after+time.Second-1)/time.Second), 10))
	}
	if no.status == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	reply(w, no.status, frame.Error{Code: no.code, Description: no.description})
}

// wrongRequest is a refusal of a request that is wrong in itself.
func wrongRequest(status int, e *frame.Error) *refusal {
	return &refusal{status: status, code: e.Code, description: e.Description}
}

// noRoom is a refusal of a whole request. The device keeps all of it, and sends it again.
func noRoom(code, why string) *refusal {
	return &refusal{http.StatusServiceUnavailable, code, why, time.Duration(retryAfter()) * time.Second}
}
