package sdk_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"balhost/sdk"
	"balhost/sdk/plugintest"
)

// What Schedule refuses, it refuses at once, and the Tx stays as it was. // P7
func TestScheduleRefuses(t *testing.T) {
	now, long := time.Now(), strings.Repeat("k", sdk.MaxKey+1)
	for name, do := range map[string]func(tx *sdk.Tx) error{
		"no key":             func(tx *sdk.Tx) error { return tx.Schedule("", now, nil) },
		"a long key":         func(tx *sdk.Tx) error { return tx.Schedule(long, now, nil) },
		"a key of no UTF-8":  func(tx *sdk.Tx) error { return tx.Schedule("\xff", now, nil) },
		"the zero time":      func(tx *sdk.Tx) error { return tx.Schedule("k", time.Time{}, nil) },
		"microseconds":       func(tx *sdk.Tx) error { return tx.Schedule("k", time.UnixMilli(now.UnixMicro()), nil) },
		"data that is none":  func(tx *sdk.Tx) error { return tx.Schedule("k", now, math.NaN()) },
		"data of 1 MiB":      func(tx *sdk.Tx) error { return tx.Schedule("k", now, strings.Repeat("x", 1<<20)) },
		"two lanes":          func(tx *sdk.Tx) error { return tx.Schedule("k", now, nil, sdk.InLane("a"), sdk.InLane("b")) },
		"a lane of no name":  func(tx *sdk.Tx) error { return tx.Schedule("k", now, nil, sdk.InLane("")) },
		"no device":          func(tx *sdk.Tx) error { return tx.Schedule("k", now, nil, sdk.InLaneOf("main", "")) },
		"cancel without key": func(tx *sdk.Tx) error { return tx.Cancel("") },
		"too many": func(tx *sdk.Tx) error {
			for i := range sdk.MaxChanges - 1 {
				if err := tx.Schedule(strings.Repeat("n", i%500+1)+string(rune('a'+i/500)), now.Add(time.Hour), nil); err != nil {
					return err
				}
			}
			return tx.Cancel("one more")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := plugintest.New(t, sdk.Plugin{
				Name: "p", Version: "1", Categories: []string{"app"},
				Upstream: func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
					if err := tx.Schedule("good", now.Add(time.Hour), nil); err != nil {
						t.Error(err)
					}
					if err := do(tx); !errors.Is(err, sdk.ErrInvalid) {
						t.Errorf("error is %v, should be ErrInvalid", err)
					}
					return tx.Schedule("good", now.Add(2*time.Hour), nil) // replaces, so it always fits
				},
				Timer: func(context.Context, *sdk.Tx, sdk.Timer) error { return nil },
			}, plugintest.Options{})
			if r := h.Upstream(sdk.Upstream{}); r.Err() != nil {
				t.Error(r.Err())
			}
			for _, m := range h.Timers() {
				if m.Key == "good" && m.Due.Before(now.Add(2*time.Hour)) {
					t.Errorf("%+v", m)
				}
			}
		})
	}
}

// Without a Timer handler no timer can be set, in a handler or outside of one.
func TestScheduleWithoutHandler(t *testing.T) {
	ran := make(chan error, 1)
	h := plugintest.New(t, sdk.Plugin{
		Name: "p", Version: "1", Categories: []string{"app"},
		Upstream: func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error { return tx.Schedule("k", time.Now(), nil) },
		Run: func(ctx context.Context, h *sdk.Host) error {
			ran <- h.Update(ctx, func(tx *sdk.Tx) error { return tx.Schedule("k", time.Now(), nil) })
			return nil
		},
	}, plugintest.Options{})
	if r := h.Upstream(sdk.Upstream{}); r.Status != plugintest.Retried || !strings.Contains(r.Reason, "no Timer handler") {
		t.Errorf("%+v", r)
	}
	if err := <-ran; !errors.Is(err, sdk.ErrInvalid) {
		t.Errorf("error is %v, should be ErrInvalid", err)
	}
}

// Host.Update sets and cancels timers.
func TestUpdateSetsTimers(t *testing.T) {
	ran := make(chan error, 1)
	h := plugintest.New(t, sdk.Plugin{
		Name: "p", Version: "1",
		Timer: func(context.Context, *sdk.Tx, sdk.Timer) error { return nil },
		Run: func(ctx context.Context, h *sdk.Host) error {
			ran <- errors.Join(
				h.Update(ctx, func(tx *sdk.Tx) error {
					return errors.Join(tx.Schedule("a", time.Now(), 1), tx.Schedule("b", time.Now(), 1))
				}),
				h.Update(ctx, func(tx *sdk.Tx) error { return tx.Cancel("a") }))
			return nil
		},
	}, plugintest.Options{})
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if all := h.Timers(); len(all) != 1 || all[0].Key != "b" {
		t.Errorf("%+v", all)
	}
}
