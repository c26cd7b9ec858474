package simnet

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// Handle answers requests with what f returns, as JSON. An error is answered with
// status 400 and {"error": …}; nil with {}.
func Handle(mux *http.ServeMux, pattern string, f func(*http.Request) (any, error)) {
	handle(mux, pattern, "", f)
}

// Page answers a GET with what f returns, as JSON with a line for each value: a person
// reads it.
func Page(mux *http.ServeMux, path string, f func() any) {
	handle(mux, "GET "+path, "  ", func(*http.Request) (any, error) { return f(), nil })
}

func handle(mux *http.ServeMux, pattern, indent string, f func(*http.Request) (any, error)) {
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
		enc := json.NewEncoder(w)
		enc.SetIndent("", indent)
		enc.Encode(v)
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

// Freeze is POST /freeze with {"on": true} or false.
func Freeze(mux *http.ServeMux, freeze func(on bool)) {
	Post(mux, "/freeze", func(f struct {
		On *bool `json:"on"`
	}) (any, error) {
		if f.On == nil {
			return nil, errors.New(`"on" must be true or false`)
		}
		freeze(*f.On)
		return nil, nil
	})
}

// Device is GET /devices/{name}: what find knows of a device, topic or condition. none
// is the error for one that it does not know.
func Device[T any](mux *http.ServeMux, find func(name string) (T, bool), none string) {
	Handle(mux, "GET /devices/{name...}", func(r *http.Request) (any, error) {
		d, ok := find(r.PathValue("name"))
		if !ok {
			d, ok = find("/" + r.PathValue("name")) // net/http makes /devices/topics/x of /devices//topics/x
		}
		if !ok {
			return nil, errors.New(none)
		}
		return d, nil
	})
}

// Transcript is GET /transcript: each line as JSON.
func Transcript[T any](mux *http.ServeMux, lines func() []T) {
	mux.HandleFunc("GET /transcript", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		enc := json.NewEncoder(w)
		for _, l := range lines() {
			enc.Encode(l)
		}
	})
}

// Await waits until ok is true of the counts. It fails with ctx's error.
func Await[T any](ctx context.Context, counts func() T, ok func(T) bool) error {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for !ok(counts()) {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
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
