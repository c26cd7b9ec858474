package fcmsim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"balhost/host/internal/devicesim"
	"balhost/host/internal/frame"
)

// maxPhones is how many devices send to the gateway.
const maxPhones = 1000

// phone is the half of a device that sends to the gateway. Only those that have
// something to send have one. s.mu must be held.
func (s *Server) phone(from string) (*devicesim.Device, error) {
	switch p := s.phones[from]; {
	case p != nil:
		return p, nil
	case s.opts.Gateway == nil:
		return nil, errors.New("this simulator knows no gateway, so its devices can't send")
	case s.closed || len(s.phones) >= maxPhones:
		return nil, fmt.Errorf("%d devices send already: no other can", len(s.phones))
	}
	g := s.opts.Gateway
	p, err := devicesim.New(devicesim.Options{
		URL: g.URL, TLS: g.TLS, From: from, Category: g.Category, Seed: s.rnd.Uint64(),
		Credential: func(context.Context) (devicesim.Credential, error) {
			return devicesim.Credential{Token: g.Token}, nil
		},
		OnSendError: func(id string, code devicesim.Code, why string) {
			s.opts.Log.Warn("the gateway refused an upstream", "from", from, "msg_id", id, "code", code, "err", why)
		},
	})
	if err != nil {
		return nil, err
	}
	s.phones[from] = p
	s.group.Go(func() error { return s.upload(p) })
	return p, nil
}

// Upstream makes a device send to the gateway. It returns the message's id once the
// message is in the device's queue.
func (s *Server) Upstream(from, category string, data any) (id string, err error) {
	text, err := json.Marshal(data)
	if err != nil {
		return "", err
	}
	return s.submit(upstream{From: from, Category: category, Data: text})
}

// upstream is what the control takes.
type upstream struct {
	From       string          `json:"from"`
	Category   string          `json:"category"`
	MessageID  string          `json:"message_id"` // the device makes one if it is empty
	Data       json.RawMessage `json:"data"`
	TimeToLive *int64          `json:"time_to_live"`
}

func (s *Server) submit(u upstream) (id string, err error) {
	if u.From == "" {
		return "", errors.New(`"from" is missing: the token or FID of the device`)
	}
	s.mu.Lock()
	p, err := s.phone(u.From)
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	return p.Send(frame.Message{MessageID: u.MessageID, Category: u.Category, Data: u.Data, TimeToLive: u.TimeToLive})
}

// arrived gives a message to the device's app, which sends the receipt that it asks for. s.mu must be held.
func (s *Server) arrived(d *device, r Received) {
	if s.opts.Gateway == nil || r.Data["bal_receipt"] == "" || d.kind != KindToken && d.kind != KindFID {
		return
	}
	p, err := s.phone(cmp.Or(d.install.Token, d.install.FID, d.target))
	if err != nil {
		s.opts.Log.Warn("no receipt", "device", d.target, "err", err)
		return
	}
	p.Push(devicesim.Push{ID: r.BalID, Receipt: true})
}

// sends uploads until ctx ends. A device that the gateway denies tries again: its operator
// may mend the token.
func sends(ctx context.Context, d *devicesim.Device) error {
	for ctx.Err() == nil {
		if d.Upload(ctx) != nil {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
	return nil
}
