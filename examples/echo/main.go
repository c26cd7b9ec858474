// Command echo is the smallest plugin. It sends each message of its app back to the
// device that sent it. Start here, then read ../chatroom.
package main

import (
	"context"

	"balhost/sdk"
)

func main() { sdk.Serve(echo()) }

// echo is a function of its own, so that the test can use the plugin too.
func echo() sdk.Plugin {
	return sdk.Plugin{
		Name:       "echo", // also the name of the file in the plugins folder
		Version:    "1.0.0",
		Categories: []string{"com.example.echo"}, // the app's package name or bundle id
		Upstream: func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
			// Send sends nothing yet. When this handler returns nil, the host
			// stores the answer and the end of m in one commit. If the plugin
			// dies before that, m comes again. The device gets one answer.
			_, err := tx.Send(sdk.Downstream{To: sdk.Token(m.From), Data: m.Data})
			return err
		},
	}
}
