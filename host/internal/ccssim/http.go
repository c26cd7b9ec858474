package ccssim

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// Handler is the server's control over HTTP; bodies and answers are JSON. A
// request that can't be done is answered 400 with {"error": …}.
//
//	POST   /upstream        Upstream             → {"message_id": …}
//	POST   /nack            Nack
//	DELETE /nack            all rules
//	POST   /drain           Drain                → {"connections": n}
//	POST   /cut             Cut                  → {"connections": n}
//	POST   /freeze          {"on": true}
//	POST   /stream-error    {"condition": …}     → {"connections": n}
//	POST   /inject          {"raw": …}           → {"connections": n}
//	POST   /canonical       {"token": …, "registration_id": …}
//	POST   /devices         Devices: starts a load, in place of the one there
//	DELETE /devices         stops the loads
//	GET    /devices/{token} DeviceReport; topics and conditions are tokens too
//	GET    /report          Report
//	GET    /counts          Counts
//	GET    /acked           text: "token TAB message id" for every acked upstream
//	GET    /transcript      a Line as JSON for each of the last stanzas
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
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
	handle("POST /upstream", func(r *http.Request) (any, error) {
		u, err := body[Upstream](r)
		if err != nil {
			return nil, err
		}
		id, err := s.Send(u)
		return map[string]string{"message_id": id}, err
	})
	handle("POST /nack", func(r *http.Request) (any, error) {
		n, err := body[Nack](r)
		if err == nil {
			s.Nack(n)
		}
		return nil, err
	})
	handle("DELETE /nack", func(*http.Request) (any, error) { s.ClearNacks(); return nil, nil })
	handle("POST /drain", func(r *http.Request) (any, error) {
		d, err := body[Drain](r)
		if err != nil {
			return nil, err
		}
		return picked(s.DrainWith(d)), nil
	})
	handle("POST /cut", func(r *http.Request) (any, error) {
		c, err := body[Cut](r)
		if err != nil {
			return nil, err
		}
		n, err := s.CutWith(c)
		return picked(n), err
	})
	handle("POST /freeze", func(r *http.Request) (any, error) {
		f, err := body[struct {
			On *bool `json:"on"`
		}](r)
		if err == nil && f.On == nil {
			err = errors.New(`"on" must be true or false`)
		}
		if err == nil {
			s.Freeze(*f.On)
		}
		return nil, err
	})
	handle("POST /stream-error", func(r *http.Request) (any, error) {
		e, err := body[struct {
			Condition string `json:"condition"`
		}](r)
		if err == nil && e.Condition == "" {
			err = errors.New(`"condition" is missing, such as "system-shutdown"`)
		}
		if err != nil {
			return nil, err
		}
		return picked(s.StreamError(e.Condition)), nil
	})
	handle("POST /inject", func(r *http.Request) (any, error) {
		i, err := body[struct {
			Raw string `json:"raw"`
		}](r)
		if err != nil {
			return nil, err
		}
		return picked(s.Inject(i.Raw)), nil
	})
	handle("POST /canonical", func(r *http.Request) (any, error) {
		c, err := body[struct {
			Token          string `json:"token"`
			RegistrationID string `json:"registration_id"`
		}](r)
		if err == nil {
			s.SetCanonical(c.Token, c.RegistrationID)
		}
		return nil, err
	})
	handle("POST /devices", func(r *http.Request) (any, error) {
		d, err := body[Devices](r)
		if err == nil {
			err = s.StartDevices(d)
		}
		return nil, err
	})
	handle("DELETE /devices", func(*http.Request) (any, error) { s.StopDevices(); return nil, nil })
	handle("GET /devices/{token...}", func(r *http.Request) (any, error) {
		d, ok := s.Device(r.PathValue("token"))
		if !ok {
			if d, ok = s.Device("/" + r.PathValue("token")); !ok { // /devices//topics/x is cleaned to one slash
				return nil, errors.New("no such device: nothing was sent by it or to it")
			}
		}
		return d, nil
	})
	handle("GET /report", func(*http.Request) (any, error) { return s.Report(), nil })
	handle("GET /counts", func(*http.Request) (any, error) { return s.Counts(), nil })
	mux.HandleFunc("GET /acked", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		s.WriteAcked(w) // an error is a client that has gone
	})
	mux.HandleFunc("GET /transcript", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		enc := json.NewEncoder(w)
		for _, l := range s.Transcript() {
			enc.Encode(l)
		}
	})
	return mux
}

func picked(n int) any { return map[string]int{"connections": n} }

// body reads a request's JSON object; an empty body is the zero value, and a
// field that doesn't exist is an error.
func body[T any](r *http.Request) (v T, err error) {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 8<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil && !errors.Is(err, io.EOF) {
		return v, err
	}
	return v, nil
}
