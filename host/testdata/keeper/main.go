// Command keeper is the plugin of the test of upgrades. It is built with the SDK of this
// tree and with that of older ones, so it uses only what they have. It writes the book of
// the scribe's form, a second one of outcomes, and a third one of timers; and it counts
// each device's upstreams in its state.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"balhost/sdk"
)

// Set with -ldflags "-X".
var (
	build = "this" // which SDK it was built with: the end of its instance's name
	more  = ""     // a category beside com.example.echo; with one it does what it refused without
)

func main() {
	k := &keeper{instance: fmt.Sprintf("%d-%d-%s", os.Getpid(), time.Now().UnixNano(), build)}
	categories := []string{"com.example.echo"}
	if more != "" {
		categories = append(categories, more)
	}
	sdk.Serve(sdk.Plugin{
		Name: "keeper", Version: "1.0.0-" + build, Categories: categories, Order: sdk.OrderByDevice,
		Config: &k.config, Upstream: k.upstream, Timer: k.timer, Outcome: k.outcome,
	})
}

type keeper struct {
	instance string
	config   struct {
		Books string `json:"books"` // the folder
	}
}

// lineBytes is as in the scribe: kill -9 leaves a line whole or absent.
const lineBytes = 128

// note writes one line into a book.
func (k *keeper) note(book, what, device, n, event string) error {
	f, err := os.OpenFile(filepath.Join(k.config.Books, book), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%-*s\n", lineBytes-1, fmt.Sprint(what, " ", k.instance, " ", device, " ", n, " ", event))
	return errors.Join(err, f.Close())
}

// upstream does what the device asks for, and answers it.
func (k *keeper) upstream(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
	var ask struct{ N, Do string }
	if err := json.Unmarshal(m.Data, &ask); err != nil {
		return sdk.Reject(err)
	}
	if err := k.note("book", "begin", m.From, ask.N, m.ID); err != nil {
		return err
	}
	switch {
	case ask.Do == "reject" && more == "":
		return sdk.Reject(errors.New("the next version can do it"))
	case ask.Do == "later" && m.Attempt == 1:
		return sdk.Retry(24*time.Hour, errors.New("later"))
	case ask.Do == "soon":
		if err := tx.Schedule("soon", time.Now().Add(3*time.Second), ask.N); err != nil {
			return err
		}
	case ask.Do == "far":
		if err := tx.Schedule("far", time.Now().Add(24*time.Hour), ask.N); err != nil {
			return err
		}
	case ask.Do == "forget":
		if err := tx.Cancel("far"); err != nil {
			return err
		}
	}
	count := 0
	if _, err := tx.Get(ctx, "count/"+m.From, &count); err != nil {
		return err
	}
	count++
	if err := tx.Put("count/"+m.From, count); err != nil {
		return err
	}
	answer := map[string]string{"n": ask.N, "count": fmt.Sprint(count), "event": m.ID}
	if _, err := tx.Send(sdk.Downstream{To: sdk.Token(m.From), Data: answer, Group: m.From}); err != nil {
		return err
	}
	return k.note("book", "end", m.From, ask.N, m.ID)
}

func (k *keeper) timer(_ context.Context, _ *sdk.Tx, t sdk.Timer) error {
	return k.note("timers", t.Key, t.Device, string(t.Data[1:len(t.Data)-1]), t.ID)
}

func (k *keeper) outcome(_ context.Context, _ *sdk.Tx, o sdk.Outcome) error {
	return k.note("outcomes", o.Status.String(), o.MessageID, "0", o.ID)
}
