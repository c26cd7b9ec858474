// Command reminder is a shop's plugin that reminds of an order which nobody has paid. It
// shows timers, [sdk.Tx.Schedule] and [sdk.Tx.Cancel]: what is set is committed with the
// order, survives crashes, and comes once.
//
// A device sends {"order":"7","do":"place"}, and "pay" in time, with the category
// com.example.shop. In config.hcl: plugin "reminder" { config = { after = "10s" } }
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"balhost/sdk"
)

func main() { sdk.Serve(reminder()) }

// config is the config block of the plugin in config.hcl.
type config struct {
	After sdk.Duration `json:"after"` // from the order to the reminder
}

// message is what the app sends: {"order":"7","do":"place"}, and later "pay".
type message struct {
	Order string `json:"order"`
	Do    string `json:"do"`
}

func reminder() sdk.Plugin {
	c := &config{After: sdk.Duration(10 * time.Minute)}
	return sdk.Plugin{
		Name:       "reminder",
		Version:    "1.0.0",
		Config:     c,
		Categories: []string{"com.example.shop"},
		Upstream: func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
			var in message
			if err := json.Unmarshal(m.Data, &in); err != nil {
				return sdk.Reject(fmt.Errorf("data is not as the app sends it: %w", err))
			}
			// The key names the timer: the same order is reminded of once, however often
			// it is placed. It comes in the lane of this device, so it never meets "pay".
			if in.Do == "pay" {
				return tx.Cancel("order/" + in.Order)
			}
			return tx.Schedule("order/"+in.Order, time.Now().Add(time.Duration(c.After)), in)
		},
		// Device is that of the message which has set the timer.
		Timer: func(_ context.Context, tx *sdk.Tx, t sdk.Timer) error {
			_, err := tx.Send(sdk.Downstream{To: sdk.Token(t.Device), Data: map[string]string{"unpaid": t.Key}})
			return err
		},
	}
}
