// Command laps is a plugin for measurements: it writes down when it handled
// which upstream, in its working folder, which its next version shares.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"balhost/sdk"
)

func main() {
	book, err := os.OpenFile("laps", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	pid := os.Getpid()
	sdk.Serve(sdk.Plugin{
		Name:       "laps",
		Version:    "1.0.0",
		Categories: []string{"com.example.bench"},
		Order:      sdk.OrderByDevice,
		Upstream: func(_ context.Context, _ *sdk.Tx, m sdk.Upstream) error {
			var data struct{ N string }
			if err := json.Unmarshal(m.Data, &data); err != nil {
				return sdk.Reject(err)
			}
			_, err := fmt.Fprintln(book, pid, m.From, data.N, time.Now().UnixNano())
			return err
		},
	})
}
