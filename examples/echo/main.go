// Command echo is the smallest plugin: it sends every message of its app back
// to the device that it came from. Start here, then read ../chatroom.
package main

import (
	"context"

	"balhost/sdk"
)

func main() { sdk.Serve(echo()) }

// echo is a function of its own so that the test can run the plugin too.
func echo() sdk.Plugin {
	return sdk.Plugin{
		Name:       "echo", // also the name of the file in the plugins folder
		Version:    "1.0.0",
		Categories: []string{"com.example.echo"}, // the app's package name or bundle id
		Upstream: func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
			// Nothing leaves yet: the answer is stored together with the fact
			// that m is handled, once this returns nil. Should the plugin die
			// right here, m comes again and still has one answer only.
			_, err := tx.Send(sdk.Downstream{To: sdk.Token(m.From), Data: m.Data})
			return err
		},
	}
}
