// Command meter is a plugin with metrics of its own. With the config {"fail": true} its
// Metrics and its Run fail.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"balhost/sdk"
)

func main() {
	var config struct{ Fail bool }
	sdk.Serve(sdk.Plugin{
		Name:       "meter",
		Categories: []string{"com.example.meter"},
		Config:     &config,
		Upstream:   func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil },
		Metrics: func(_ context.Context, w io.Writer) error {
			if config.Fail {
				return errors.New("the meter is broken")
			}
			_, err := fmt.Fprintln(w, "# TYPE rooms gauge\nrooms{kind=\"open\"} 3")
			return err
		},
		Run: func(context.Context, *sdk.Host) error {
			if config.Fail {
				return errors.New("no connection")
			}
			return nil
		},
	})
}
