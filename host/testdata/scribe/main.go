// Command scribe is the plugin of the tests with real processes. It writes down
// each handling of an upstream as it begins and ends, in a file that outlives
// it, so that what the host promises can be judged from outside; and it answers
// the device with the upstream's number and event, in order.
//
// Built with -ldflags "-X main.variant=NAME" it is a bad version of itself:
// crash-start, refuse, hang, garbage, crash-100 (messages), grow.
//
// It calls itself what its file is called. A device's data may ask for trouble:
// {"do":"reject"}, {"do":"fail"}, {"do":"err"}, {"do":"tomorrow"}, {"do":"crash"} or {"do":"wait"}, each
// until the file that config's "calm" names is there; {"do":"stuck"} is a wait that
// heeds no ctx. With "beat" in its config it sends to the device beat-SESSION by
// itself, so often; with "flood" each upstream logs 100 lines.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"balhost/sdk"

	"github.com/hashicorp/go-hclog"
)

var variant string

func main() {
	switch variant {
	case "crash-start":
		fmt.Fprintln(os.Stderr, "no licence found")
		os.Exit(3)
	case "garbage":
		for range 30 {
			fmt.Println("<html>not a handshake</html>")
		}
		select {}
	case "hang":
		time.Sleep(time.Hour)
	}
	s := &scribe{instance: fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())}
	sdk.Serve(sdk.Plugin{
		Name:       filepath.Base(filepath.Dir(os.Args[0])), // the host runs <data>/plugins/<name>/<sha256>
		Version:    "7.0.0",
		Categories: []string{"com.example.echo"},
		Order:      sdk.OrderByDevice,
		Config:     &s.config,
		Start:      s.start,
		Run:        s.run,
		Upstream:   s.upstream,
	})
}

// scribe is one process of the plugin.
type scribe struct {
	instance string // of all processes there ever were; begins with the process's number
	config   struct {
		Book   string       `json:"book"`    // the file; "" writes nothing
		Work   sdk.Duration `json:"work"`    // the longest time that one handling takes
		Beat   sdk.Duration `json:"beat"`    // 0: it sends nothing by itself
		NoFeed bool         `json:"no_feed"` // Run fails
		Flood  bool         `json:"flood"`
		Calm   string       `json:"calm"` // while this file is missing, devices may make trouble
	}
	book  *os.File
	log   hclog.Logger
	mu    sync.Mutex // guards what follows
	n     int        // upstreams so far
	hoard [][]byte
}

func (s *scribe) start(_ context.Context, h *sdk.Host) (err error) {
	s.log = h.Log()
	if variant == "refuse" {
		return errors.New("greeting must not be empty")
	}
	if s.config.Book != "" {
		s.book, err = os.OpenFile(s.config.Book, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	}
	return err
}

// run sends by the default session, and tells which one it believes in.
func (s *scribe) run(ctx context.Context, h *sdk.Host) error {
	if s.config.NoFeed {
		return errors.New("the feed is not there")
	}
	if s.config.Beat <= 0 {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(s.config.Beat)):
		}
		if _, err := h.Send(ctx, sdk.Downstream{To: sdk.Token("beat-" + h.Sessions()[0]), Data: map[string]string{"by": "scribe"}}); err != nil {
			return err
		}
	}
}

// lineBytes is how long each line of the book is. It divides a page, and the kernel
// writes page by page: so kill -9 leaves a line whole or absent, and whoever reads
// meanwhile sees whole lines.
const lineBytes = 128

// note writes one line.
func (s *scribe) note(what string, m sdk.Upstream, n string) error {
	if s.book == nil {
		return nil
	}
	line := fmt.Sprintf("%-*s\n", lineBytes-1, fmt.Sprint(what, " ", s.instance, " ", m.From, " ", n, " ", m.ID))
	if len(line) != lineBytes {
		return fmt.Errorf("a line of the book has %d bytes: %q", len(line), line)
	}
	_, err := s.book.WriteString(line)
	return err
}

func (s *scribe) upstream(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
	var data struct{ N, Do string }
	if err := json.Unmarshal(m.Data, &data); err != nil {
		return sdk.Reject(err)
	}
	if s.config.Flood {
		for i := range 100 {
			s.log.Info("flood", "line", i, "text", strings.Repeat("x", 200))
		}
	}
	if err := s.note("begin", m, data.N); err != nil {
		return err
	}
	s.misbehave()
	if err := s.trouble(ctx, data.Do); err != nil {
		return err
	}
	if s.config.Work > 0 {
		time.Sleep(rand.N(time.Duration(s.config.Work)))
	}
	answer := map[string]string{"n": data.N, "event": m.ID, "by": "scribe"}
	if _, err := tx.Send(sdk.Downstream{To: sdk.Token(m.From), Data: answer, Group: m.From}); err != nil {
		return err
	}
	return s.note("end", m, data.N)
}

// misbehave is what some variants do while they serve.
func (s *scribe) misbehave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	switch {
	case variant == "crash-100" && s.n > 100:
		os.Exit(4)
	case variant == "grow" && len(s.hoard) < 64: // 512 MiB at most
		s.hoard = append(s.hoard, bytes.Repeat([]byte{1}, 8<<20))
	}
}

// trouble does what a device asked for, until there is calm.
func (s *scribe) trouble(ctx context.Context, do string) error {
	for do != "" {
		if _, err := os.Stat(s.config.Calm); err == nil {
			return nil
		}
		switch do {
		case "reject":
			return sdk.Reject(errors.New("the scribe was asked to reject it"))
		case "fail":
			return sdk.Retry(time.Millisecond, errors.New("the scribe was asked to fail"))
		case "tomorrow":
			return sdk.Retry(24*time.Hour, errors.New("the scribe was asked for tomorrow"))
		case "err":
			return errors.New("the scribe was asked for an error")
		case "crash":
			os.Exit(5)
		}
		over := ctx.Done()
		if do == "stuck" {
			over = nil
		}
		select {
		case <-over:
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}
