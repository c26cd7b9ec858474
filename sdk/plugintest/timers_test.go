package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"balhost/sdk"
)

// timed is a plugin that does what an upstream's message id says, and notes its timers.
func timed(heard *[]string, timer func(tx *sdk.Tx, t sdk.Timer) error) sdk.Plugin {
	return sdk.Plugin{
		Name: "timed", Version: "1", Categories: []string{"app"},
		Upstream: func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
			switch m.MessageID {
			case "fail":
				return errors.Join(tx.Schedule("never", time.Now(), nil), errors.New("no"))
			case "cancel":
				return tx.Cancel("a")
			}
			return errors.Join(
				tx.Schedule("b", time.Now().Add(2*time.Hour), nil),
				tx.Schedule("a", time.Now().Add(time.Hour), map[string]int{"n": 1}),
				tx.Schedule("c", time.Now().Add(3*time.Hour), 7, sdk.InLaneOf("main", "otto")))
		},
		Timer: func(_ context.Context, tx *sdk.Tx, t sdk.Timer) error {
			*heard = append(*heard, fmt.Sprintf("%s %s of %s, attempt %d", t.Key, t.Data, t.Device, t.Attempt))
			if timer != nil {
				return timer(tx, t)
			}
			return nil
		},
	}
}

func wantHeard(t *testing.T, heard []string, want ...string) {
	t.Helper()
	if !slices.Equal(heard, want) {
		t.Errorf("heard %q, want %q", heard, want)
	}
}

// Timers show what is set; Advance gives them to the plugin when they are due, in order, and
// none that was canceled or that a failed handler has set.
func TestAdvance(t *testing.T) {
	var heard []string
	h := New(t, timed(&heard, nil), Options{})
	h.Upstream(sdk.Upstream{From: "ann"})
	h.Upstream(sdk.Upstream{MessageID: "fail"})
	var keys []string
	for _, m := range h.Timers() {
		keys = append(keys, m.Key)
	}
	wantHeard(t, keys, "a", "b", "c")
	if r := h.Advance(59 * time.Minute); r != nil {
		t.Errorf("too early: %v", r)
	}
	if r := h.Advance(61 * time.Minute); len(r) != 2 || r[0].Err() != nil {
		t.Errorf("%v", r)
	}
	wantHeard(t, heard, `a {"n":1} of ann, attempt 1`, "b  of ann, attempt 1")
	h.Upstream(sdk.Upstream{From: "ann"})
	h.Upstream(sdk.Upstream{From: "ann", MessageID: "cancel"})
	h.Advance(24 * time.Hour)
	wantHeard(t, heard[2:], "b  of ann, attempt 1", "c 7 of otto, attempt 1")
	if all := h.Timers(); len(all) != 0 {
		t.Errorf("left %v", all)
	}
}

// A handler that sets its own timer again is called as often as its time comes.
func TestAdvanceOfATimerThatSetsItself(t *testing.T) {
	var heard []string
	h := New(t, timed(&heard, func(tx *sdk.Tx, t sdk.Timer) error {
		if t.Key != "a" {
			return nil
		}
		return tx.Schedule("a", time.Now().Add(time.Hour), nil)
	}), Options{})
	h.Upstream(sdk.Upstream{})
	if r := h.Advance(24*time.Hour + time.Minute); len(r) != 24+2 {
		t.Errorf("%d timers have come: %q", len(r), heard)
	}
}

// A timer that failed comes again, one that was rejected does not, and one that was canceled
// while its handler ran commits nothing.
func TestAdvanceAfterFailures(t *testing.T) {
	var heard []string
	var h *Host
	h = New(t, timed(&heard, func(tx *sdk.Tx, m sdk.Timer) error {
		switch {
		case m.Key == "a":
			h.Upstream(sdk.Upstream{MessageID: "cancel"})
			return tx.Put("k", 1)
		case m.Key == "b" && m.Attempt < 3:
			return errors.New("not now")
		case m.Key == "c":
			return sdk.Reject(errors.New("never"))
		}
		return nil
	}), Options{})
	h.Upstream(sdk.Upstream{})
	var got []string
	for range 4 {
		for _, r := range h.Advance(4 * time.Hour) {
			got = append(got, r.Status.String())
		}
	}
	wantHeard(t, got, "canceled", "retried", "rejected", "retried", "done")
	if h.State("k", new(int)) {
		t.Error("a canceled timer's handler has committed")
	}
	if r := h.Timer(sdk.Timer{Key: "b", Attempt: 3}); r.Err() != nil {
		t.Error(r.Err())
	}
}
