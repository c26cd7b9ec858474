package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"balhost/host/internal/dispatch"
	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/host/internal/ledger"
	"balhost/host/internal/route"
	"balhost/sdk"
	"balhost/sdk/message"
	"balhost/sdk/plugintest"
	"balhost/sdk/wire"

	"github.com/hashicorp/go-hclog"
)

// contest is the real ledger and dispatch with a plugin of the real SDK over
// gRPC, in one process, and books of how often each event ran.
type contest struct {
	testing.TB
	ledger   *ledger.Ledger
	dispatch *dispatch.Dispatcher
	host     *sdk.Host // of the plugin
	sent     int

	mu    sync.Mutex // guards what follows
	runs  map[string]int
	began map[string]time.Time
}

const contestCategory = "com.example.contest"

// newContest starts all; work is every upstream handler, and gets the data as
// the device sent it.
func newContest(tb testing.TB, light bool, work func(ctx context.Context, tx *sdk.Tx, from string, data []byte) error) *contest {
	c := &contest{TB: tb, runs: map[string]int{}, began: map[string]time.Time{}}
	var err error
	c.ledger, err = ledger.Open(context.Background(), ledger.Options{Dir: tb.TempDir(), Light: light, DiskSoft: 64 << 20, Poison: func(err error) { tb.Errorf("ledger: %v", err) }})
	if err != nil {
		tb.Fatal(err)
	}
	senders := entry.Senders{{Name: "main", ID: "1"}}
	c.dispatch = dispatch.New(dispatch.Options{Ledger: c.ledger, Senders: func() entry.Senders { return senders }})
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan error, 1)
	go func() { running <- c.dispatch.Run(ctx) }()

	order, err := route.ParseOrder("device")
	if err != nil {
		tb.Fatal(err)
	}
	p, closed := &contestant{}, make(chan struct{})
	facts := instance.Facts{
		Name: "contest", Closed: closed, Claim: route.Claim{Plugin: "contest", Categories: []string{contestCategory}},
		Order: order, MaxAttempts: 15, HandlerTimeout: 30 * time.Second, MaxInFlight: 256, SuspectAfter: 3,
	}
	client, stop, err := plugintest.Connect(sdk.Plugin{
		Name: "contest", Version: "1", Categories: []string{contestCategory}, MaxInFlight: 256,
		Start: func(_ context.Context, h *sdk.Host) error { c.host = h; return nil },
		Upstream: func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
			c.mu.Lock()
			if c.runs[m.ID]++; c.runs[m.ID] == 1 {
				c.began[m.ID] = time.Now()
			}
			c.mu.Unlock()
			return work(ctx, tx, m.From, m.Data)
		},
	}, hclog.NewNullLogger())
	if err != nil {
		tb.Fatal(err)
	}
	p.session, err = client.Open(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	in := c.dispatch.Described(facts, p)
	go func() {
		defer close(closed)
		_ = p.session.Run(in.Frame) // stop ends it
	}()
	if err := client.Configure(ctx, &wire.ConfigureRequest{Sessions: []string{"main"}}); err != nil {
		tb.Fatal(err)
	}
	in.Ready()
	c.dispatch.Booted()
	tb.Cleanup(func() {
		stop()
		<-closed
		cancel()
		<-running
		if err := c.ledger.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// contestant is the plugin's process, as dispatch sees it.
type contestant struct{ session *wire.HostStream }

func (p *contestant) Send(f *wire.HostFrame) { p.session.Send(f) }
func (p *contestant) Kill(string)            {}
func (p *contestant) StartTrier()            {}
func (p *contestant) Retire()                {}

// send gives the host a message of a device, as a session does.
func (c *contest) send(from string, data any) {
	raw, err := json.Marshal(data)
	if err != nil {
		c.Fatal(err)
	}
	c.mu.Lock()
	c.sent++
	id := fmt.Sprint("m", c.sent)
	c.mu.Unlock()
	c.ledger.Accept(entry.Inbound{Upstream: &message.Upstream{
		Session: "1", From: from, Category: contestCategory, MessageID: id, Data: raw,
		Raw: []byte(fmt.Sprintf(`{"from":%q,"category":%q,"message_id":%q,"data":%s}`, from, contestCategory, id, raw)),
	}}, func(err error) {
		if err != nil {
			c.Error(err)
		}
	})
}

// await waits until all that was sent has ended.
func (c *contest) await(limit time.Duration) {
	c.Helper()
	for until := time.Now().Add(limit); ; time.Sleep(2 * time.Millisecond) {
		n := c.ledger.Counts()
		if int(n.Handled+n.Died) >= c.sent && n.Events == 0 {
			return
		}
		if time.Now().After(until) {
			status, _ := c.dispatch.Status(context.Background())
			c.Fatalf("not all is handled after %v: %+v; %+v", limit, n, status.Plugins)
		}
	}
}

// get reads the plugin's state, outside of all handlers.
func (c *contest) get(key string, v any) {
	c.Helper()
	value, _, err := c.ledger.Get("contest", key)
	if err != nil {
		c.Fatal(err)
	}
	if value != nil {
		if err := json.Unmarshal(value, v); err != nil {
			c.Fatal(err)
		}
	}
}

func (c *contest) set(key string, v any) {
	c.Helper()
	value, err := json.Marshal(v)
	if err != nil {
		c.Fatal(err)
	}
	stored := make(chan error, 1)
	c.ledger.Update("contest", entry.Changes{Writes: []entry.Write{{Key: key, Value: value}}}, func(err error) { stored <- err })
	if err := <-stored; err != nil {
		c.Fatal(err)
	}
}

// tally is how often events ran: the mean, the 99th percentile and the most.
func (c *contest) tally() (mean float64, p99, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []int
	sum := 0
	for _, n := range c.runs {
		all = append(all, n)
		sum += n
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0, 0, 0
	}
	return float64(sum) / float64(len(all)), all[len(all)*99/100], all[len(all)-1]
}

// nap is what a handler does besides.
func nap(most time.Duration) { time.Sleep(time.Duration(rand.Int64N(int64(most) + 1))) }

// deed is what a device asks for.
type deed struct {
	Do   string
	Keys []string
	N    int
}

// do is one handler of the contest: transfers, appends, write skew, blind pairs,
// and readers.
func do(ctx context.Context, tx *sdk.Tx, d deed, slow time.Duration) error {
	get := func(key string) (n int, err error) {
		if _, err := tx.Get(ctx, key, &n); err != nil {
			return 0, err
		}
		nap(slow)
		return n, nil
	}
	switch d.Do {
	case "transfer":
		from, err := get(d.Keys[0])
		if err != nil {
			return err
		}
		to, err := get(d.Keys[1])
		if err != nil {
			return err
		}
		if err := tx.Put(d.Keys[0], from-d.N); err != nil {
			return err
		}
		return tx.Put(d.Keys[1], to+d.N)
	case "append":
		var list []int
		if _, err := tx.Get(ctx, d.Keys[0], &list); err != nil {
			return err
		}
		nap(slow)
		return tx.Put(d.Keys[0], append(list, d.N))
	case "skew": // takes one of the two when at least one stays
		a, err := get(d.Keys[0])
		if err != nil {
			return err
		}
		b, err := get(d.Keys[1])
		if err != nil {
			return err
		}
		if a+b > 1 {
			return tx.Put(d.Keys[d.N%2], 0)
		}
		return tx.Put(d.Keys[d.N%2], 1)
	case "pair":
		for _, key := range d.Keys {
			if err := tx.Put(key, d.N); err != nil {
				return err
			}
		}
		return nil
	case "equal": // what pair writes
		a, err := get(d.Keys[0])
		if err != nil {
			return err
		}
		b, err := get(d.Keys[1])
		if err != nil {
			return err
		}
		if a != b {
			return sdk.Reject(fmt.Errorf("%d is not %d", a, b))
		}
		return nil
	case "sum":
		for _, key := range d.Keys {
			if _, err := get(key); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("deed %q", d.Do)
}

// some are n different keys of so many that there are.
func some(prefix string, n, of int) (keys []string) {
	for len(keys) < n {
		if key := fmt.Sprint(prefix, rand.IntN(of)); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}
