package ccssim

import (
	"errors"
	"net/http"

	"balhost/host/internal/simnet"
)

// Handler controls the server over HTTP. Bodies and answers are JSON. A request
// that can't be done is answered with status 400 and {"error": …}.
//
//	POST   /upstream        Upstream             → {"message_id": …}
//	POST   /nack            Nack
//	DELETE /nack            removes all rules
//	POST   /drain           Drain                → {"connections": n}
//	POST   /cut             Cut                  → {"connections": n}
//	POST   /freeze          {"on": true}
//	POST   /stream-error    {"condition": …}     → {"connections": n}
//	POST   /inject          {"raw": …}           → {"connections": n}
//	POST   /canonical       {"token": …, "registration_id": …}
//	POST   /devices         Devices: starts a load and stops the sender's last one
//	DELETE /devices         stops all loads
//	GET    /devices/{token} DeviceReport; a topic or condition is a token too
//	GET    /report          Report
//	GET    /counts          Counts
//	GET    /acked           text: "token TAB message id" for every acked upstream
//	GET    /transcript      the last stanzas, each a Line as JSON
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	simnet.Post(mux, "/upstream", func(u Upstream) (any, error) {
		id, err := s.Send(u)
		return map[string]string{"message_id": id}, err
	})
	simnet.Post(mux, "/nack", func(n Nack) (any, error) { s.Nack(n); return nil, nil })
	simnet.Handle(mux, "DELETE /nack", func(*http.Request) (any, error) { s.ClearNacks(); return nil, nil })
	simnet.Post(mux, "/drain", func(d Drain) (any, error) { return simnet.Connections(s.DrainWith(d)), nil })
	simnet.Post(mux, "/cut", func(c Cut) (any, error) {
		n, err := s.CutWith(c)
		return simnet.Connections(n), err
	})
	simnet.Freeze(mux, s.Freeze)
	simnet.Post(mux, "/stream-error", func(e struct {
		Condition string `json:"condition"`
	}) (any, error) {
		if e.Condition == "" {
			return nil, errors.New(`"condition" is missing; "system-shutdown" is one`)
		}
		return simnet.Connections(s.StreamError(e.Condition)), nil
	})
	simnet.Post(mux, "/inject", func(i struct {
		Raw string `json:"raw"`
	}) (any, error) {
		return simnet.Connections(s.Inject(i.Raw)), nil
	})
	simnet.Post(mux, "/canonical", func(c struct {
		Token          string `json:"token"`
		RegistrationID string `json:"registration_id"`
	}) (any, error) {
		s.SetCanonical(c.Token, c.RegistrationID)
		return nil, nil
	})
	simnet.Post(mux, "/devices", func(d Devices) (any, error) { return nil, s.StartDevices(d) })
	simnet.Handle(mux, "DELETE /devices", func(*http.Request) (any, error) { s.StopDevices(); return nil, nil })
	simnet.Device(mux, s.Device, "no such device: it sent nothing and got nothing")
	simnet.Page(mux, "/report", func() any { return s.Report() })
	simnet.Handle(mux, "GET /counts", func(*http.Request) (any, error) { return s.Counts(), nil })
	mux.HandleFunc("GET /acked", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		s.WriteAcked(w) // it fails only if the client has gone
	})
	simnet.Transcript(mux, s.Transcript)
	return mux
}
