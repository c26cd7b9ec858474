package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/admin"
	"balhost/host/internal/config"
	"balhost/host/internal/fcmsim"
)

// phones are the simulators of FCM's HTTP v1 that dev runs: one for each session with
// a block fcm_v1, by the session's name.
type phones map[string]*fcmsim.Server

// devPhones starts them. If the config has no such session, there is one for the
// session that [phones.point] adds.
func devPhones(cfg config.Config, gateway devGateway, seen *console, log hclog.Logger) (phones, error) {
	all := phones{}
	for _, s := range withPhones(cfg.Sessions) {
		if s.FCMv1 == nil {
			continue
		}
		sim, err := fcmsim.NewServer(fcmsim.Options{
			SenderID: s.SenderID, CAFile: filepath.Join(cfg.DataDir, "sim-fcm-ca.pem"),
			Gateway: gateway.simulated(s.Name), Log: log.With("session", s.Name), OnReceive: seen.byFCM,
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start the simulator of FCM: %w", err), all.close())
		}
		all[s.Name] = sim
	}
	return all, nil
}

// withPhones are the sessions with one for FCM's HTTP v1 among them, so that every dev
// shows one.
func withPhones(sessions []config.Session) []config.Session {
	taken := func(s config.Session) bool { return s.FCMv1 != nil || s.Name == "phones" || s.SenderID == phonesID }
	if slices.ContainsFunc(sessions, taken) {
		return sessions
	}
	added := config.Session{Name: "phones", SenderID: phonesID, FCMv1: &config.FCMv1{Connections: 4, Rate: 8000}}
	return append(slices.Clone(sessions), added)
}

// phonesID is the project number of the session that dev adds.
const phonesID = "739201846512"

// point is the config with every fcm_v1 session sending to its simulator, so that
// nothing leaves this machine.
func (p phones) point(cfg config.Config) (config.Config, error) {
	cfg.Sessions = slices.Clone(withPhones(cfg.Sessions))
	for i, s := range cfg.Sessions {
		if s.FCMv1 == nil {
			continue
		}
		sim := p[s.Name]
		if sim == nil || sim.SenderID() != s.SenderID {
			return cfg, wrongConfig{fmt.Errorf("session %q is new, or has another sender_id: balhost dev runs no simulator of FCM for it, so stop it and start it again", s.Name)}
		}
		here := *s.FCMv1
		here.Credentials, here.CredentialsFile = config.Secret(sim.ServiceAccount()), ""
		here.Endpoint, here.CAFile = sim.URL(), sim.CAFile()
		cfg.Sessions[i].FCMv1 = &here
	}
	return cfg, nil
}

// handle adds the control of each to mux, at /fcm/ and the session's name.
func (p phones) handle(mux *http.ServeMux) {
	for name, sim := range p {
		at := "/fcm/" + name
		mux.Handle(at+"/", http.StripPrefix(at, sim.Handler()))
	}
}

// delivered is how many messages all phones together have got.
func (p phones) delivered() (n uint64) {
	for _, sim := range p {
		n += sim.Counts().Delivered
	}
	return n
}

func (p phones) close() (err error) {
	for _, sim := range p {
		err = errors.Join(err, sim.Close())
	}
	return err
}

// traffic sends one message a second to a few phones, as the host's API takes them from
// any program. The phones chat, through the gateway, if there is one. What can't be sent
// while the host starts or stops is left out.
func (p phones) traffic(ctx context.Context, host *admin.Client) error {
	const count = 3
	say := func(i int, data map[string]string) {
		data["room"] = room(i)
		for _, sim := range p {
			_, _ = sim.Upstream(fmt.Sprintf("phone-%d", i+1), chatroom, data) // without a gateway phones send nothing
		}
	}
	for i := range count {
		say(i, map[string]string{"do": "join", "name": fmt.Sprintf("phone %d", i+1)})
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		data, err := json.Marshal(map[string]string{"text": fmt.Sprintf("news %d", n)})
		if err != nil {
			return err
		}
		ttl := int64(60)
		for name := range p {
			_, _ = host.Send(ctx, admin.Message{Token: fmt.Sprintf("phone-%d", n%count+1), Session: name, Data: data, TimeToLive: &ttl, ReceiptRequested: n%10 == 0})
		}
		if n%4 == 0 {
			say(n/4%count, map[string]string{"do": "say", "text": fmt.Sprintf("line %d, by phone", n)})
		}
	}
}
