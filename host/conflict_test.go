package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"balhost/sdk"
)

// TestConflicts is a small Jepsen: handlers in many lanes and updates outside of
// events transfer, append, skew, write in pairs and read, over few keys. No money
// is made or lost, no append is lost or doubled, no skew and no torn pair is ever
// acted on, and nobody runs more than a few times. // P5 P7 P8
func TestConflicts(t *testing.T) {
	const accounts, lists, lanes, messages, updates = 4, 2, 24, 600, 20
	c := newContest(t, true, func(ctx context.Context, tx *sdk.Tx, from string, data []byte) error {
		var d deed
		if err := json.Unmarshal(data, &d); err != nil {
			return err
		}
		return do(ctx, tx, d, time.Millisecond)
	})
	for i := range accounts {
		c.set(fmt.Sprint("account", i), 1000)
	}
	c.set("a", 1)
	c.set("b", 1)
	appended := map[string][]int{}
	var outside sync.WaitGroup
	for range 3 {
		outside.Go(func() {
			for range updates {
				err := c.host.Update(t.Context(), func(tx *sdk.Tx) error {
					return do(t.Context(), tx, deed{Do: "transfer", Keys: some("account", 2, accounts), N: 1}, time.Millisecond)
				})
				if err != nil {
					t.Errorf("update: %v", err)
				}
			}
		})
	}
	for i := range messages {
		d := deed{Do: "transfer", Keys: some("account", 2, accounts), N: 1 + rand.IntN(5)}
		switch i % 6 {
		case 0:
			d = deed{Do: "append", Keys: some("list", 1, lists), N: i}
			appended[d.Keys[0]] = append(appended[d.Keys[0]], i)
		case 1:
			d = deed{Do: "skew", Keys: []string{"a", "b"}, N: rand.IntN(2)}
		case 2:
			d = deed{Do: "pair", Keys: []string{"px", "py"}, N: i}
		case 3:
			d = deed{Do: "equal", Keys: []string{"px", "py"}}
		case 4:
			d = deed{Do: "sum", Keys: some("account", 3, accounts)}
		}
		c.send(fmt.Sprint("device", i%lanes), d)
	}
	outside.Wait()
	c.await(2 * time.Minute)

	if n := c.ledger.Counts(); n.Died != 0 {
		letters, _ := c.ledger.Dead("", 10)
		t.Errorf("%d dead letters: a rejection of a state that never was; %+v", n.Died, letters)
	}
	sum := 0
	for i := range accounts {
		var n int
		c.get(fmt.Sprint("account", i), &n)
		sum += n
	}
	if sum != accounts*1000 {
		t.Errorf("the accounts hold %d, want %d", sum, accounts*1000)
	}
	for key, want := range appended {
		var got []int
		c.get(key, &got)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s holds %v, want %v", key, got, want)
		}
	}
	var a, b int
	c.get("a", &a)
	c.get("b", &b)
	if a+b < 1 {
		t.Errorf("write skew: %d and %d", a, b)
	}
	mean, p99, most := c.tally()
	t.Logf("runs a message: mean %.2f, p99 %d, max %d", mean, p99, most)
	if most > 8 {
		t.Errorf("one message ran %d times", most)
	}
	status, err := c.dispatch.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p := status.Plugins[0]; p.Turns != 0 || p.InFlight != 0 {
		t.Errorf("left behind: %+v", p)
	}
}

// TestSlowHandlerOnABusyKey: a slow handler whose key is written all the time, by
// handlers that read it, blindly, and by updates outside of events, is handled in
// its second run at the latest, and the others go on.
func TestSlowHandlerOnABusyKey(t *testing.T) {
	for _, write := range []string{"append", "pair", "update"} {
		t.Run(write, func(t *testing.T) {
			const slows = 4
			slow := map[string]int{}
			var mu sync.Mutex
			c := newContest(t, true, func(ctx context.Context, tx *sdk.Tx, from string, data []byte) error {
				var d deed
				if err := json.Unmarshal(data, &d); err != nil {
					return err
				}
				if from != "slow" {
					return do(ctx, tx, d, 0)
				}
				mu.Lock()
				slow[fmt.Sprint(d.N)]++
				mu.Unlock()
				var list json.RawMessage
				if _, err := tx.Get(ctx, "busy", &list); err != nil {
					return err
				}
				time.Sleep(100 * time.Millisecond)
				return nil
			})
			for i := range slows {
				c.send("slow", deed{N: i})
			}
			ctx, stop := context.WithCancel(t.Context())
			var busy sync.WaitGroup
			busy.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					d := deed{Do: write, Keys: []string{"busy"}, N: i}
					if write != "update" {
						c.send(fmt.Sprint("device", i%9), d)
						time.Sleep(20 * time.Millisecond)
						continue
					}
					err := c.host.Update(ctx, func(tx *sdk.Tx) error { return tx.Put("busy", []int{i}) })
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("update: %v", err)
					}
				}
			})
			for until := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
				mu.Lock()
				begun := len(slow)
				mu.Unlock()
				if begun == slows {
					break
				}
				if time.Now().After(until) {
					t.Fatalf("%d of %d slow ones have begun after a minute", begun, slows)
				}
			}
			stop()
			busy.Wait()
			c.await(time.Minute)
			for id, n := range slow {
				if n > 3 {
					t.Errorf("slow message %s ran %d times", id, n)
				}
			}
		})
	}
}
