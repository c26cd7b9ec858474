// Command alerts is a plugin that starts things by itself: on a timer it sends
// an alert to a topic and to devices. It takes no upstream. It shows
//
//   - Run, which never runs in two instances at once, and Host.Send outside of
//     any event;
//   - an id that makes sending safe to repeat;
//   - Host.Get and Host.Update for state outside of an event;
//   - outcomes: dead tokens are remembered and left out from then on.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"balhost/sdk"
)

func main() { sdk.Serve(alerts()) }

// config is the config block of the plugin in config.hcl.
type config struct {
	Every  sdk.Duration `json:"every"`  // "10s", "1h"
	TTL    sdk.Duration `json:"ttl"`    // an alert is worthless after that
	Text   string       `json:"text"`   // what it says
	Topic  string       `json:"topic"`  // "" for none
	Tokens []string     `json:"tokens"` // registration tokens of single devices
}

// alert is the plugin's functions with what they need.
type alert struct{ config config }

func alerts() sdk.Plugin {
	a := &alert{config: config{ // the defaults
		Every: sdk.Duration(10 * time.Second),
		TTL:   sdk.Duration(time.Minute),
		Text:  "all is well",
		Topic: "alerts",
	}}
	return sdk.Plugin{
		Name:    "alerts",
		Version: "1.0.0",
		Config:  &a.config,
		Start:   a.start,
		Run:     a.run,
		Outcome: a.outcome,
	}
}

// start refuses a config that can't work: the host shows why.
func (a *alert) start(context.Context, *sdk.Host) error {
	if a.config.Every <= 0 || a.config.TTL < 0 || time.Duration(a.config.TTL)%time.Second != 0 {
		return errors.New("config: every must be more than 0s, and ttl whole seconds, 0s or more")
	}
	if a.config.Topic == "" && len(a.config.Tokens) == 0 {
		return errors.New("config: there is nobody to alert: set topic or tokens")
	}
	return nil
}

// run sends one alert after the other until the plugin must stop. The number
// of the last one is state, so that a new process or version counts on.
func (a *alert) run(ctx context.Context, h *sdk.Host) error {
	tick := time.NewTicker(time.Duration(a.config.Every))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		number, err := next(ctx, h)
		if err != nil {
			return err // run is started again, after a pause
		}
		for _, to := range a.targets(ctx, h) {
			if err := a.send(ctx, h, number, to); err != nil {
				// Full disk, or the host stops. The next alert comes anyway.
				h.Log().Warn("alert not sent", "seq", number, "err", err)
			}
		}
	}
}

// next counts alerts, across restarts.
func next(ctx context.Context, h *sdk.Host) (number int, err error) {
	err = h.Update(ctx, func(tx *sdk.Tx) error {
		number = 0 // it may run again
		if _, err := tx.Get(ctx, "last", &number); err != nil {
			return err
		}
		number++
		return tx.Put("last", number)
	})
	return number, err
}

// targets is whom the config names, less the tokens that are known to be dead.
func (a *alert) targets(ctx context.Context, h *sdk.Host) []sdk.Target {
	var to []sdk.Target
	if a.config.Topic != "" {
		to = append(to, sdk.Topic(a.config.Topic))
	}
	for _, token := range a.config.Tokens {
		var why string
		dead, err := h.Get(ctx, deadKey(token), &why)
		if err != nil {
			h.Log().Warn("state not read", "err", err) // then rather alert a dead device than miss a live one
		}
		if !dead {
			to = append(to, sdk.Token(token))
		}
	}
	return to
}

func (a *alert) send(ctx context.Context, h *sdk.Host, number int, to sdk.Target) error {
	about, err := json.Marshal(number)
	if err != nil {
		return err
	}
	d := sdk.Downstream{
		To:           to,
		Data:         map[string]string{"alert": fmt.Sprint(number), "text": a.config.Text},
		Notification: map[string]string{"title": "Alert", "body": a.config.Text},
		Options:      sdk.Options{TTL: sdk.TTL(time.Duration(a.config.TTL)), Priority: sdk.PriorityHigh},
		Context:      about,
	}
	// On disk when it returns. After an error nobody knows whether it got that
	// far; with the id that came back, the second call can't make two of it.
	if d.MessageID, err = h.Send(ctx, d); err != nil && d.MessageID != "" {
		_, err = h.Send(ctx, d)
	}
	return err
}

// outcome hears how each alert ended, and remembers tokens that are dead.
func (a *alert) outcome(_ context.Context, tx *sdk.Tx, o sdk.Outcome) error {
	if o.Status == sdk.Failed && o.To.Token != "" && (o.Code == "DEVICE_UNREGISTERED" || o.Code == "BAD_REGISTRATION") {
		return tx.Put(deadKey(o.To.Token), o.Code)
	}
	return nil
}

// deadKey is the state key of a dead token. Tokens are long and keys are
// limited, so it is a hash.
func deadKey(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "dead/" + hex.EncodeToString(sum[:16])
}
