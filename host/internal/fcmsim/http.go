package fcmsim

import (
	"encoding/json"
	"errors"
	"net/http"

	"balhost/host/internal/simnet"
)

// Handler controls the server over HTTP. Bodies and answers are JSON. A request
// that can't be done is answered with status 400 and {"error": …}.
//
//	POST   /answer          Rule
//	DELETE /answers         removes all rules
//	GET    /answers         the names of answers, with what each is
//	POST   /goaway          GoAway               → {"connections": n}
//	POST   /cut             Cut                  → {"connections": n}
//	POST   /freeze          {"on": true}
//	POST   /token           Tokens
//	GET    /token           {"access_token": …}: a good one
//	POST   /rotate-key      the account's new key file
//	POST   /quota           Quotas
//	POST   /devices         Install
//	GET    /devices         the first 100
//	GET    /devices/{target} DeviceReport; a topic or condition is a target too
//	POST   /upstream        {"from": …, "category": …, "data": …} → {"message_id": …}: to Options.Gateway
//	POST   /online          {"target": …, "on": false}
//	POST   /uninstall       {"target": …}
//	GET    /report          Report
//	GET    /counts          Counts
//	GET    /transcript      the last requests, each a Line as JSON
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	simnet.Post(mux, "/answer", func(r Rule) (any, error) { return nil, s.Answer(r.Match, r.Response) })
	simnet.Handle(mux, "DELETE /answers", func(*http.Request) (any, error) { s.ClearAnswers(); return nil, nil })
	simnet.Page(mux, "/answers", func() any { return Answers() })
	simnet.Post(mux, "/goaway", func(g GoAway) (any, error) {
		n, err := s.GoAway(g)
		return simnet.Connections(n), err
	})
	simnet.Post(mux, "/cut", func(c Cut) (any, error) {
		n, err := s.Cut(c)
		return simnet.Connections(n), err
	})
	simnet.Freeze(mux, s.Freeze)
	simnet.Post(mux, "/token", func(t Tokens) (any, error) { s.SetTokens(t); return nil, nil })
	simnet.Handle(mux, "GET /token", func(*http.Request) (any, error) {
		return map[string]string{"access_token": s.NewToken()}, nil
	})
	simnet.Post(mux, "/rotate-key", func(struct{}) (any, error) {
		text, err := s.RotateKey()
		return json.RawMessage(text), err
	})
	simnet.Post(mux, "/quota", func(q Quotas) (any, error) { return nil, s.SetQuotas(q) })
	s.deviceHandlers(mux)
	simnet.Page(mux, "/report", func() any { return s.Report() })
	simnet.Handle(mux, "GET /counts", func(*http.Request) (any, error) { return s.Counts(), nil })
	simnet.Transcript(mux, s.Transcript)
	return mux
}

// deviceHandlers are the part of Handler for virtual devices.
func (s *Server) deviceHandlers(mux *http.ServeMux) {
	type named struct {
		Target string `json:"target"`
		On     *bool  `json:"on"`
	}
	simnet.Post(mux, "/devices", func(i Install) (any, error) { return nil, s.Register(i) })
	simnet.Handle(mux, "GET /devices", func(*http.Request) (any, error) { return s.Report().Devices, nil })
	simnet.Device(mux, s.Device, "no such device: it got nothing")
	simnet.Post(mux, "/upstream", func(u upstream) (any, error) {
		id, err := s.submit(u)
		return map[string]string{"message_id": id}, err
	})
	simnet.Post(mux, "/online", func(n named) (any, error) {
		if n.Target == "" || n.On == nil {
			return nil, errors.New(`want "target", and "on" as true or false`)
		}
		s.SetOnline(n.Target, *n.On)
		return nil, nil
	})
	simnet.Post(mux, "/uninstall", func(n named) (any, error) {
		if n.Target == "" {
			return nil, errors.New(`"target" is missing: the token or FID of the app that goes`)
		}
		s.Uninstall(n.Target)
		return nil, nil
	})
}
