package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"balhost/examples/devices/web"
	"balhost/host/internal/config"
	"balhost/host/internal/credential"
	"balhost/host/internal/devicesim"
	"balhost/host/internal/fcmsim"
	"balhost/host/internal/frame"
)

// devToken is the credential of all devices of dev. Its gateway is on loopback only.
const devToken = "devtoken"

// devGateway is the gateway that dev adds to the session of phones, and the page that
// chats through it.
type devGateway struct {
	session string // "": the config has gateways of its own, and none is added
	listen  string // host:port
	page    string // host:port of the control, which serves the page
}

// newDevGateway finds an address for the gateway, and the session that gets it.
func newDevGateway(cfg config.Config, address string) (devGateway, error) {
	var g devGateway
	for _, s := range withPhones(cfg.Sessions) {
		if s.Gateway != nil {
			return devGateway{}, nil
		}
		if s.FCMv1 != nil && g.session == "" {
			g.session = s.Name
		}
	}
	if g.session == "" {
		return g, nil
	}
	if err := onlyHere(address); err != nil {
		return g, fmt.Errorf("--gateway: %w", err)
	}
	free, err := net.Listen("tcp", address) // it is the host that will listen; this finds a port, or the mistake
	if err != nil {
		return g, fmt.Errorf("the gateway: %w; name a free address with --gateway", err)
	}
	g.listen = free.Addr().String()
	return g, free.Close()
}

func (g devGateway) url() string { return "http://" + g.listen }

// chat is the address of the page.
func (g devGateway) chat() string { return "http://" + g.page + "/chat/" }

// simulated is the gateway for the devices of a session's FCM simulator; nil: none.
func (g devGateway) simulated(session string) *fcmsim.Gateway {
	if session != g.session {
		return nil
	}
	return &fcmsim.Gateway{URL: g.url(), Token: devToken, Category: chatroom}
}

// add is the config with the gateway.
func (g devGateway) add(cfg config.Config) config.Config {
	cfg.Sessions = slices.Clone(cfg.Sessions)
	for i := range cfg.Sessions {
		if s := &cfg.Sessions[i]; s.Name == g.session && s.Gateway == nil {
			s.Gateway = &config.Gateway{
				Listen: g.listen, Auth: []credential.Rule{{Kind: credential.Static, Token: devToken}},
				CORSOrigins: g.origins(), MaxConnections: 10_000, Rate: 100,
			}
		}
	}
	return cfg
}

// origins are how a browser may call the place that the page is from.
func (g devGateway) origins() []string {
	origins := []string{"http://" + g.page}
	if _, port, err := net.SplitHostPort(g.page); err == nil {
		origins = append(origins, "http://localhost:"+port)
	}
	return origins
}

// handle serves the page at /chat/.
func (g devGateway) handle(mux *http.ServeMux) {
	if g.session == "" {
		return
	}
	mux.Handle("/chat/", http.StripPrefix("/chat/", http.FileServerFS(web.Files)))
	mux.HandleFunc("/chat/settings.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"url": g.url(), "token": devToken})
	})
}

// sockets are virtual devices that are connected to the gateway, join a room of the
// chatroom, and say something now and then.
func (g devGateway) sockets(ctx context.Context) error {
	if g.session == "" {
		return nil
	}
	const count = 2
	var running sync.WaitGroup
	defer running.Wait()
	var all []*devicesim.Device
	for i := range count {
		d, err := devicesim.New(devicesim.Options{
			URL: g.url(), From: fmt.Sprintf("socket-%d", i+1), Category: chatroom,
			Credential: func(context.Context) (devicesim.Credential, error) {
				return devicesim.Credential{Token: devToken}, nil
			},
		})
		if err != nil {
			return err
		}
		all = append(all, d)
		chat(d, i, map[string]string{"do": "join", "name": fmt.Sprintf("socket %d", i+1)})
		running.Go(func() { d.Connect(ctx) }) // it ends early if another program takes its name
	}
	tick := time.NewTicker(3 * time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			chat(all[n%count], n%count, map[string]string{"do": "say", "text": fmt.Sprintf("line %d, by a socket", n)})
		}
	}
}

// chat queues what a device says to its room. A full queue says that the host is not there:
// a demo may lose a line.
func chat(d *devicesim.Device, i int, data map[string]string) {
	data["room"] = room(i)
	text, err := json.Marshal(data)
	if err == nil {
		_, err = d.Send(frame.Message{Data: text})
	}
	if err != nil && !errors.As(err, new(*devicesim.SendError)) {
		panic(err) // a map of texts is JSON
	}
}

// chatroom is the category of the example plugin that the devices chat in.
const chatroom = "com.example.chatroom"

// room is where the i-th of some devices chats.
func room(i int) string { return []string{"kitchen", "garden"}[i%2] }
