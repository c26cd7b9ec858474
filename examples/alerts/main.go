// Command alerts is a plugin that acts by itself. Each time its timer ticks, it sends
// an alert to a topic and to devices. It takes no upstreams. It shows
//
//   - Run, which never runs in two instances at once, and Host.Send outside of an
//     event;
//   - how to repeat a Host.Send after an error, and still send the message once;
//   - Host.Get and Host.Update for state outside of an event;
//   - outcomes: it remembers dead tokens and sends nothing more to them.
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
	TTL    sdk.Duration `json:"ttl"`    // after this time an alert is not delivered any more
	Text   string       `json:"text"`   // of each alert
	Topic  string       `json:"topic"`  // "": none
	Tokens []string     `json:"tokens"` // registration tokens of single devices
	// Session sends the alerts; "": every session. Tokens belong to one session.
	Session string `json:"session"`
}

// alert has the plugin's functions.
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

// start refuses a config that can't work. The host shows the error.
func (a *alert) start(_ context.Context, h *sdk.Host) error {
	if a.config.Every <= 0 || a.config.TTL < 0 || time.Duration(a.config.TTL)%time.Second != 0 {
		return errors.New("config: every must be more than 0s; ttl must be whole seconds, 0s or more")
	}
	if a.config.Topic == "" && len(a.config.Tokens) == 0 {
		return errors.New("config: set topic or tokens, or both")
	}
	if a.config.Session == "" && len(a.config.Tokens) > 0 && len(h.Sessions()) > 1 {
		return fmt.Errorf("config: set session to the one that tokens belong to: %q", h.Sessions())
	}
	return nil
}

// run sends one alert after the other until the plugin must stop. The number of the
// last alert is in the state, so that a new process or version continues with the
// next number.
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
			return err // the SDK starts run again after a pause
		}
		sessions := []string{a.config.Session}
		if a.config.Session == "" {
			sessions = h.Sessions()
		}
		for _, to := range a.targets(ctx, h) {
			for _, session := range sessions {
				if err := a.send(ctx, h, session, number, to); err != nil {
					// The host's disk is full, or the host stops. Go on with the next alert.
					h.Log().Warn("alert not sent", "session", session, "seq", number, "err", err)
				}
			}
		}
	}
}

// next returns the number of the next alert. It goes on counting after a restart.
func next(ctx context.Context, h *sdk.Host) (number int, err error) {
	err = h.Update(ctx, func(tx *sdk.Tx) error {
		number = 0 // Update may run this function again
		if _, err := tx.Get(ctx, "last", &number); err != nil {
			return err
		}
		number++
		return tx.Put("last", number)
	})
	return number, err
}

// targets is the topic and the tokens of the config, without dead tokens.
func (a *alert) targets(ctx context.Context, h *sdk.Host) []sdk.Target {
	var to []sdk.Target
	if a.config.Topic != "" {
		to = append(to, sdk.Topic(a.config.Topic))
	}
	for _, token := range a.config.Tokens {
		var why string
		dead, err := h.Get(ctx, deadKey(token), &why)
		if err != nil { // send anyway: the device may be alive
			h.Log().Warn("state not read", "err", err)
		}
		if !dead {
			to = append(to, sdk.Token(token))
		}
	}
	return to
}

func (a *alert) send(ctx context.Context, h *sdk.Host, session string, number int, to sdk.Target) error {
	about, err := json.Marshal(number)
	if err != nil {
		return err
	}
	d := sdk.Downstream{
		To:           to,
		Session:      session,
		Data:         map[string]string{"alert": fmt.Sprint(number), "text": a.config.Text},
		Notification: map[string]string{"title": "Alert", "body": a.config.Text},
		Options:      sdk.Options{TTL: sdk.TTL(time.Duration(a.config.TTL)), Priority: sdk.PriorityHigh},
		Context:      about,
	}
	// When Send returns nil, the alert is on disk. After an error nobody knows. So
	// the second call uses the id from the first one: then the alert is sent once.
	if d.MessageID, err = h.Send(ctx, d); err != nil && d.MessageID != "" {
		_, err = h.Send(ctx, d)
	}
	return err
}

// outcome is told how each alert ended. It remembers tokens that are gone.
func (a *alert) outcome(_ context.Context, tx *sdk.Tx, o sdk.Outcome) error {
	if o.Gone && o.To.Token != "" {
		return tx.Put(deadKey(o.To.Token), o.Code)
	}
	return nil
}

// deadKey is the state's key of a dead token. Tokens are long and the length of a key
// is limited, so it has a hash.
func deadKey(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "dead/" + hex.EncodeToString(sum[:16])
}
