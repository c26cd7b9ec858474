// Command laps is a plugin for measurements: it writes down when the host
// stored which upstream and when its handler got it. Each process has a book of
// its own in the working folder, complete when it has ended.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"balhost/sdk"
)

func main() {
	file, err := os.Create(fmt.Sprintf("laps-%d", os.Getpid()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var mu sync.Mutex // guards book
	book := bufio.NewWriter(file)
	sdk.Serve(sdk.Plugin{
		Name:       "laps",
		Version:    "1.0.0",
		Categories: []string{"com.example.bench"},
		Order:      sdk.OrderByDevice,
		Upstream: func(_ context.Context, _ *sdk.Tx, m sdk.Upstream) error {
			now := time.Now()
			var data struct{ N string }
			if err := json.Unmarshal(m.Data, &data); err != nil {
				return sdk.Reject(err)
			}
			mu.Lock()
			defer mu.Unlock()
			_, err := fmt.Fprintln(book, m.From, data.N, m.Received.UnixNano(), now.UnixNano())
			return err
		},
		Stop: func(context.Context) error { return book.Flush() },
	})
}
