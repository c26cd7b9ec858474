// Command ackonly is a plugin for measurements: every handler is done at once.
package main

import (
	"context"

	"balhost/sdk"
)

func main() {
	sdk.Serve(sdk.Plugin{
		Name:       "ackonly",
		Version:    "1.0.0",
		Categories: []string{"com.example.bench"},
		Upstream:   func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil },
	})
}
