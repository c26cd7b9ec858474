package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"balhost/host/internal/backoff"
	"balhost/host/internal/devicesim"
	"balhost/host/internal/frame"
)

// phone is a device of a script that is connected by WebSocket.
type phone struct {
	device *devicesim.Device
	stop   context.CancelFunc
	ended  *errgroup.Group

	mu  sync.Mutex // guards got
	got []string   // messages, each a line
}

// connectCmd connects a device.
func (s *stage) connectCmd(args []string) (string, error) {
	if len(args) != 1 || s.devices[args[0]] != nil {
		return "", errors.New("usage: connect NAME, once for a name")
	}
	p, err := connectPhone("http://"+s.gateway[0], args[0])
	if err == nil {
		s.devices[args[0]] = p
	}
	return "", err
}

func connectPhone(url, name string) (*phone, error) {
	p := &phone{ended: &errgroup.Group{}}
	var err error
	p.device, err = devicesim.New(devicesim.Options{
		URL: url, From: name, Category: "com.example.echo", Seed: 1,
		Credential: func(context.Context) (devicesim.Credential, error) {
			return devicesim.Credential{Token: "devtoken"}, nil
		},
		Reconnect: backoff.Policy{Min: 10 * time.Millisecond, Max: 200 * time.Millisecond},
		OnMessage: func(m devicesim.Push) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.got = append(p.got, m.ID+" "+string(m.Data))
		},
	})
	if err != nil {
		return nil, err
	}
	hello, err := json.Marshal(map[string]string{"hello": name})
	if err != nil {
		return nil, err
	}
	if _, err := p.device.Send(frame.Message{Data: hello}); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.ended.Go(func() error { return p.device.Connect(ctx) })
	return p, nil
}

// told is what the device has got, and how often it was connected.
func (p *phone) told() (string, error) {
	if p == nil {
		return "", errors.New("no device of this name is connected: connect NAME")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.device.Counts()
	return fmt.Sprintf("%s\nsent %d, connected %d times\n", strings.Join(p.got, "\n"), c.Sent, c.Connections), nil
}

func (p *phone) close() {
	p.stop()
	_ = p.ended.Wait() // how it ended is in what it got
}
