package simnet

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// Handle answers requests with what f returns, as JSON. An error is answered with
// status 400 and {"error": …}; nil with {}.
func Handle(mux *http.ServeMux, pattern string, f func(*http.Request) (any, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		code := http.StatusOK
		if err != nil {
			v, code = map[string]string{"error": err.Error()}, http.StatusBadRequest
		} else if v == nil {
			v = struct{}{}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(v)
	})
}

// Post calls f with the JSON object in a request's body. An empty body is the zero
// value. An unknown field is an error.
func Post[T any](mux *http.ServeMux, path string, f func(T) (any, error)) {
	Handle(mux, "POST "+path, func(r *http.Request) (any, error) {
		var v T
		d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 8<<20))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return f(v)
	})
}

// Connections is the answer that says how many connections a command concerned.
func Connections(n int) any { return map[string]int{"connections": n} }

// Duration is a time.Duration. In JSON it is a text such as "1.5s".
type Duration time.Duration

// MarshalText writes it as time.Duration.String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads it as time.ParseDuration does.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}
