package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"balhost/sdk"
)

// BenchmarkConflicts measures what conflicts on a plugin's state cost: how often a
// handler runs for each message, and how long a lane waits, with the ledger on disk.
func BenchmarkConflicts(b *testing.B) {
	for b.Loop() {
		b.Run("hot keys", hotKeys)
		b.Run("all at once", func(b *testing.B) { atOnce(b, 40, 10, 2000) })
		b.Run("two keys", func(b *testing.B) { atOnce(b, 100, 2, 800) })
		b.Run("slow handler, read and written", func(b *testing.B) { slowHandler(b, "append") })
		b.Run("slow handler, written blindly", func(b *testing.B) { slowHandler(b, "pair") })
		b.Run("no contention", func(b *testing.B) { atOnce(b, 40, 100_000, 4000) })
	}
}

func deeds(b *testing.B, slow time.Duration) *contest {
	return newContest(b, false, func(ctx context.Context, tx *sdk.Tx, from string, data []byte) error {
		var d deed
		if err := json.Unmarshal(data, &d); err != nil {
			return err
		}
		return do(ctx, tx, d, slow)
	})
}

func (c *contest) print(name string, took time.Duration) {
	mean, p99, most := c.tally()
	fmt.Printf("  %-34s %5d messages in %6.2fs; runs a message: mean %.2f, p99 %d, max %d\n", name, len(c.runs), took.Seconds(), mean, p99, most)
}

// hotKeys: ten keys, 40 lanes, 250 messages a second of all kinds.
func hotKeys(b *testing.B) {
	c := deeds(b, 3*time.Millisecond)
	start := time.Now()
	for i := range 2000 {
		time.Sleep(time.Until(start.Add(time.Duration(i) * 4 * time.Millisecond)))
		d := deed{Do: "transfer", Keys: some("account", 2, 10), N: 1}
		switch i % 10 {
		case 0:
			d = deed{Do: "append", Keys: some("list", 1, 10), N: i}
		case 1:
			d = deed{Do: "skew", Keys: some("account", 2, 10), N: i}
		case 2:
			d = deed{Do: "pair", Keys: []string{"px", "py"}, N: i}
		case 3:
			d = deed{Do: "sum", Keys: some("account", 3, 10)}
		}
		c.send(fmt.Sprint("device", i%40), d)
	}
	c.await(time.Minute)
	c.print("10 hot keys, 40 lanes, 250/s", time.Since(start))
}

// atOnce: transfers that are all there at the beginning.
func atOnce(b *testing.B, lanes, keys, messages int) {
	c := deeds(b, time.Millisecond)
	start := time.Now()
	for i := range messages {
		c.send(fmt.Sprint("device", i%lanes), deed{Do: "transfer", Keys: some("account", 2, keys), N: 1})
	}
	c.await(3 * time.Minute)
	c.print(fmt.Sprintf("%d transfers at once, %d keys, %d lanes", messages, keys, lanes), time.Since(start))
}

// slowHandler: one device's handler takes 300 ms on a key that nine others write
// nine times a second together.
func slowHandler(b *testing.B, write string) {
	var slowRuns, handled atomic.Int64
	c := newContest(b, false, func(ctx context.Context, tx *sdk.Tx, from string, data []byte) error {
		if from == "slow" {
			slowRuns.Add(1)
			var list json.RawMessage
			if _, err := tx.Get(ctx, "busy", &list); err != nil {
				return err
			}
			time.Sleep(300 * time.Millisecond)
			return tx.Put("mine", slowRuns.Load())
		}
		handled.Add(1)
		var d deed
		if err := json.Unmarshal(data, &d); err != nil {
			return err
		}
		return do(ctx, tx, d, 0)
	})
	start := time.Now()
	for i := range 90 {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / 9)))
		if i%9 == 0 {
			c.send("slow", deed{})
		}
		c.send(fmt.Sprint("device", i%9), deed{Do: write, Keys: []string{"busy"}, N: i})
	}
	time.Sleep(100 * time.Millisecond)
	n := c.ledger.Counts().Handled
	c.print("300 ms on a key written 9/s: "+write, time.Since(start))
	fmt.Printf("    %d runs of the slow handler for 10 messages; %d of %d messages handled by then\n", slowRuns.Load(), n, c.sent)
	c.await(3 * time.Minute)
	fmt.Printf("    %d runs, all handled after %.2fs\n", slowRuns.Load(), time.Since(start).Seconds())
}
