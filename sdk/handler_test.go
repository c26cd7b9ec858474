package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"balhost/sdk"
	"balhost/sdk/plugintest"
)

// with is a plugin that has this upstream handler.
func with(fn func(context.Context, *sdk.Tx, sdk.Upstream) error) sdk.Plugin {
	return sdk.Plugin{Name: "probe", Categories: []string{"com.example.probe"}, Upstream: fn}
}

func TestUpstreamArrivesWhole(t *testing.T) {
	var got sdk.Upstream
	h := plugintest.New(t, with(func(_ context.Context, _ *sdk.Tx, m sdk.Upstream) error { got = m; return nil }), plugintest.Options{})
	sent := sdk.Upstream{
		ID: "01J", Session: "main", From: "tok", Category: "com.example.x", MessageID: "42", Attempt: 3,
		Data: []byte(`{ "b":"1", "a":"é" }`), Raw: []byte(`{"data":{ "b":"1", "a":"é" }}`), Received: time.UnixMilli(1700000000123),
	}
	if r := h.Upstream(sent); r.Err() != nil {
		t.Fatal(r.Err())
	}
	if fmt.Sprint(got) != fmt.Sprint(sent) {
		t.Errorf("got  %v\nsent %v", got, sent)
	}
}

// P7: downstreams and state are committed when the handler returns nil. P2: a
// downstream's id is made of the event's id and the number of the call, so it is the
// same at every attempt.
func TestTxIsCommittedWithDone(t *testing.T) {
	h := plugintest.New(t, with(func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
		first, err1 := tx.Send(sdk.Downstream{To: sdk.Token(m.From), Data: map[string]string{"n": "1"}})
		second, err2 := tx.Send(sdk.Downstream{To: sdk.Topic("news"), Notification: map[string]string{"title": "t"}})
		named, err3 := tx.Send(sdk.Downstream{To: sdk.Topic("news"), Data: m.Data, MessageID: "own-id", Session: "other"})
		if got := []string{first, second, named}; !slices.Equal(got, []string{"e-1", "e-2", "own-id"}) {
			t.Errorf("ids %q", got)
		}
		return errors.Join(err1, err2, err3, tx.Put("count", 1), tx.Put("count", 2), tx.Put("gone", 1), tx.Delete("gone"))
	}), plugintest.Options{Sessions: []string{"main", "other"}})
	for attempt := 1; attempt <= 2; attempt++ { // the same event twice: its downstream is sent once
		r := h.Upstream(sdk.Upstream{ID: "e", Attempt: attempt, Data: []byte(`{"k":"v"}`)})
		if r.Err() != nil || len(r.Sent) != 3 || len(h.Sent()) != 3 {
			t.Fatalf("attempt %d: %v, %d sent with it, %d in all", attempt, r.Err(), len(r.Sent), len(h.Sent()))
		}
	}
	if s := h.Sent()[0]; s.Session != "main" || s.To != sdk.Token("device") {
		t.Errorf("first downstream: %+v", s)
	}
	if s := h.Sent()[2]; s.Session != "other" {
		t.Errorf("session %q, want the one that was given", s.Session)
	}
	var count int
	if !h.State("count", &count) || count != 2 || !slices.Equal(h.Keys(), []string{"count"}) {
		t.Errorf("count %d, keys %q", count, h.Keys())
	}
}

// P7: nothing is committed when the handler fails. Each kind of end has its status.
func TestNothingIsCommittedWithoutDone(t *testing.T) {
	cause := errors.New("no luck")
	for _, c := range []struct {
		name   string
		end    func() error
		status plugintest.Status
		delay  time.Duration
		reason string
	}{
		{"error", func() error { return cause }, plugintest.Retried, -1, "no luck"},
		{"retry", func() error { return sdk.Retry(1500*time.Microsecond, cause) }, plugintest.Retried, 2 * time.Millisecond, "no luck"},
		{"retry at once", func() error { return sdk.Retry(0, nil) }, plugintest.Retried, 0, "asked for a retry"},
		{"retry by backoff", func() error { return sdk.Retry(-time.Second, cause) }, plugintest.Retried, -1, "no luck"},
		{"wrapped retry", func() error { return fmt.Errorf("outer: %w", sdk.Retry(time.Second, cause)) }, plugintest.Retried, time.Second, "outer: "},
		{"reject", func() error { return sdk.Reject(cause) }, plugintest.Rejected, 0, "no luck"},
		{"wrapped reject", func() error { return fmt.Errorf("outer: %w", sdk.Reject(nil)) }, plugintest.Rejected, 0, "outer: "},
		{"panic", func() error { panic("boom \xff") }, plugintest.Retried, -1, "panic: boom \uFFFD"},
		{"index", func() error { list := []int{}; _ = list[len(list)]; return nil }, plugintest.Retried, -1, "index out of range"},
		{"goexit", func() error { runtime.Goexit(); return nil }, plugintest.Retried, -1, "Goexit"},
		{"long", func() error { return errors.New(strings.Repeat("x", 1<<20)) }, plugintest.Retried, -1, "xxx …"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := plugintest.New(t, with(func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
				if _, err := tx.Send(sdk.Downstream{To: sdk.Token(m.From), Data: m.Data}); err != nil {
					t.Error(err)
				}
				if err := tx.Put("k", 1); err != nil {
					t.Error(err)
				}
				return c.end()
			}), plugintest.Options{})
			r := h.Upstream(sdk.Upstream{Data: []byte(`{"k":"v"}`)})
			if r.Status != c.status || !strings.Contains(r.Reason, c.reason) || len(r.Reason) > 5000 {
				t.Errorf("%v %.200q, want %v %q", r.Status, r.Reason, c.status, c.reason)
			}
			if c.reason == cause.Error() && r.Reason != c.reason {
				t.Errorf("the host says itself what the status says: %q, want %q", r.Reason, c.reason)
			}
			if r.Status == plugintest.Retried && r.Delay != c.delay {
				t.Errorf("delay %v, want %v", r.Delay, c.delay)
			}
			if len(h.Sent()) != 0 || len(h.Keys()) != 0 {
				t.Errorf("committed: %v %v", h.Sent(), h.Keys())
			}
		})
	}
}

// P7: a key that was read and has changed by the commit makes the handler run again.
func TestConflictRunsAgain(t *testing.T) {
	var h *plugintest.Host
	meddle := sync.OnceFunc(func() { h.SetState("n", 10) })
	h = plugintest.New(t, with(func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
		var n int
		if _, err := tx.Get(ctx, "n", &n); err != nil {
			return err
		}
		meddle()
		again := 0
		if _, err := tx.Get(ctx, "n", &again); err != nil || again != n {
			t.Errorf("read %d, then %d in the same Tx (%v)", n, again, err)
		}
		if _, err := tx.Send(sdk.Downstream{To: sdk.Token(m.From), Data: m.Data}); err != nil {
			return err
		}
		return tx.Put("n", n+1)
	}), plugintest.Options{})
	h.SetState("n", 1)
	r := h.Upstream(sdk.Upstream{Data: []byte(`{"k":"v"}`)})
	var n int
	if h.State("n", &n); r.Err() != nil || r.Runs != 2 || n != 11 || len(h.Sent()) != 1 {
		t.Errorf("%v after %d runs, n = %d, %d sent", r.Err(), r.Runs, n, len(h.Sent()))
	}
}

// P7: if a key that was read has changed, the handler runs again, and this counts as
// no attempt. This is so after a rejection, an error and a panic too.
func TestErrorOnTornReadsRunsAgain(t *testing.T) {
	for name, fail := range map[string]func() error{
		"reject": func() error { return sdk.Reject(errors.New("px is not py")) },
		"retry":  func() error { return sdk.Retry(time.Hour, errors.New("px is not py")) },
		"error":  func() error { return errors.New("px is not py") },
		"panic":  func() error { panic("px is not py") },
	} {
		t.Run(name, func(t *testing.T) {
			var h *plugintest.Host
			meddle := sync.OnceFunc(func() { h.SetState("px", 2); h.SetState("py", 2) })
			h = plugintest.New(t, with(func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
				var px, py int
				if _, err := tx.Get(ctx, "px", &px); err != nil {
					return err
				}
				meddle()
				if _, err := tx.Get(ctx, "py", &py); err != nil {
					return err
				}
				if px != py {
					return fail()
				}
				return nil
			}), plugintest.Options{})
			h.SetState("px", 1)
			h.SetState("py", 1)
			if r := h.Upstream(sdk.Upstream{}); r.Status != plugintest.Done || r.Runs != 2 {
				t.Errorf("%v (%s) after %d runs, want done after 2", r.Status, r.Reason, r.Runs)
			}
		})
	}
}

func TestGet(t *testing.T) {
	h := plugintest.New(t, with(func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
		expect := func(key, want string) {
			t.Helper()
			got := "left alone"
			found, err := tx.Get(ctx, key, &got)
			if err != nil || found != (want != "left alone") || got != want {
				t.Errorf("get %q: %q, %v, %v; want %q", key, got, found, err, want)
			}
		}
		expect("absent", "left alone")
		expect("stored", "old")
		if err := errors.Join(tx.Put("stored", "new"), tx.Put("absent", "here now")); err != nil {
			return err
		}
		expect("stored", "new")
		expect("absent", "here now")
		if err := tx.Delete("stored"); err != nil {
			return err
		}
		expect("stored", "left alone")
		var number int
		if _, err := tx.Get(ctx, "text", &number); err == nil || !strings.Contains(err.Error(), `"text"`) {
			t.Errorf("misfit: %v", err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := tx.Get(ended, "another", &number); !errors.Is(err, context.Canceled) {
			t.Errorf("ended ctx: %v", err)
		}
		return nil
	}), plugintest.Options{})
	h.SetState("stored", "old")
	h.SetState("text", "a")
	if r := h.Upstream(sdk.Upstream{}); r.Err() != nil {
		t.Error(r.Err())
	}
}

func TestTxLimits(t *testing.T) {
	valid := sdk.Downstream{To: sdk.Token("t"), Data: map[string]string{"k": "v"}}
	handlers := map[string]func(tx *sdk.Tx) error{
		"bad downstream": func(tx *sdk.Tx) error { _, err := tx.Send(sdk.Downstream{}); return err },
		"bad json":       func(tx *sdk.Tx) error { return tx.Put("k", func() {}) },
		"no key":         func(tx *sdk.Tx) error { return tx.Put("", 1) },
		"key too long":   func(tx *sdk.Tx) error { return tx.Delete(strings.Repeat("k", 513)) },
		"key not UTF-8":  func(tx *sdk.Tx) error { return tx.Put("\xff", 1) },
		"too many": func(tx *sdk.Tx) error {
			for range 1000 {
				if _, err := tx.Send(valid); err != nil {
					return fmt.Errorf("too early: %v", err)
				}
			}
			return tx.Put("one more", 1)
		},
		"value too large": func(tx *sdk.Tx) error {
			if err := tx.Put("k", strings.Repeat("x", sdk.MaxValue-2)); err != nil { // the quotes are two bytes
				return fmt.Errorf("too early: %v", err)
			}
			return tx.Put("k", strings.Repeat("x", sdk.MaxValue-1))
		},
		"targets too large": func(tx *sdk.Tx) error {
			for range 250 {
				if _, err := tx.Send(sdk.Downstream{To: sdk.Token(strings.Repeat("t", 4000)), Data: map[string]string{"k": "v"}}); err != nil {
					return fmt.Errorf("too early: %v", err)
				}
			}
			for range 50 {
				if _, err := tx.Send(sdk.Downstream{To: sdk.Token(strings.Repeat("t", 4000)), Data: map[string]string{"k": "v"}}); err != nil {
					return err
				}
			}
			return nil
		},
		"too large": func(tx *sdk.Tx) error {
			if err := tx.Put("a", strings.Repeat("x", 600<<10)); err != nil {
				return fmt.Errorf("too early: %v", err)
			}
			if err := tx.Put("a", strings.Repeat("y", 700<<10)); err != nil { // it replaces the first value
				return fmt.Errorf("too early: %v", err)
			}
			return tx.Put("b", strings.Repeat("x", 500<<10))
		},
	}
	for name, fn := range handlers {
		t.Run(name, func(t *testing.T) {
			var got error
			h := plugintest.New(t, with(func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error { got = fn(tx); return nil }), plugintest.Options{})
			r := h.Upstream(sdk.Upstream{})
			if !errors.Is(got, sdk.ErrInvalid) || r.Err() != nil {
				t.Errorf("got %v, then %v", got, r.Err())
			}
		})
	}
}

func TestTxEndsWithItsHandler(t *testing.T) {
	var kept *sdk.Tx
	var keptCtx context.Context
	h := plugintest.New(t, with(func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error { kept, keptCtx = tx, ctx; return nil }), plugintest.Options{})
	if r := h.Upstream(sdk.Upstream{}); r.Err() != nil {
		t.Fatal(r.Err())
	}
	if err := kept.Put("k", 1); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("put after the end: %v", err)
	}
	if _, err := kept.Send(sdk.Downstream{To: sdk.Token("t"), Data: map[string]string{"k": "v"}}); err == nil {
		t.Error("send after the end succeeded")
	}
	select {
	case <-keptCtx.Done():
	case <-time.After(10 * time.Second):
		t.Error("ctx goes on after its handler")
	}
}

func TestHandlerTimeout(t *testing.T) {
	h := plugintest.New(t, with(func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
		if _, has := ctx.Deadline(); !has {
			t.Error("ctx has no deadline")
		}
		if err := ctx.Err(); err != nil {
			t.Errorf("ctx has ended at once: %v", err)
		}
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		<-child.Done()
		return ctx.Err()
	}), plugintest.Options{HandlerTimeout: 20 * time.Millisecond})
	r := h.Upstream(sdk.Upstream{})
	if r.Status != plugintest.Retried || !strings.Contains(r.Reason, "timed out") {
		t.Errorf("%v %q", r.Status, r.Reason)
	}
}

// Handlers run at the same time. None waits for another.
func TestHandlersRunAtOnce(t *testing.T) {
	const n = 50
	var all sync.WaitGroup
	all.Add(n)
	h := plugintest.New(t, with(func(context.Context, *sdk.Tx, sdk.Upstream) error {
		all.Done()
		all.Wait()
		return nil
	}), plugintest.Options{})
	var devices sync.WaitGroup
	for range n {
		devices.Go(func() {
			if r := h.Upstream(sdk.Upstream{}); r.Err() != nil {
				t.Error(r.Err())
			}
		})
	}
	devices.Wait()
}

func TestOutcomeAndReceipt(t *testing.T) {
	var outcome sdk.Outcome
	var receipt sdk.Receipt
	p := sdk.Plugin{
		Name:    "probe",
		Outcome: func(_ context.Context, tx *sdk.Tx, o sdk.Outcome) error { outcome = o; return tx.Put("o", o.MessageID) },
		Receipt: func(_ context.Context, tx *sdk.Tx, r sdk.Receipt) error { receipt = r; return nil },
	}
	h := plugintest.New(t, p, plugintest.Options{})
	o := sdk.Outcome{
		ID: "01", Session: "main", MessageID: "d1", Group: "g", To: sdk.Condition("'a' in topics"), Status: sdk.Failed,
		Code: "DEVICE_UNREGISTERED", Description: "gone", NewToken: "n", Attempts: 2, Attempt: 1, Context: []byte(`{"x":1}`),
	}
	if r := h.Outcome(o); r.Err() != nil || fmt.Sprint(outcome) != fmt.Sprint(o) {
		t.Errorf("%v\ngot  %v\nsent %v", r.Err(), outcome, o)
	}
	rec := sdk.Receipt{ID: "02", Session: "main", OriginalMessageID: "d1", Device: "tok", Category: "c", Status: "MESSAGE_SENT_TO_DEVICE", Attempt: 1, SentAt: time.UnixMilli(5)}
	if r := h.Receipt(rec); r.Err() != nil || receipt != rec {
		t.Errorf("%v\ngot  %v\nsent %v", r.Err(), receipt, rec)
	}
	if r := h.Upstream(sdk.Upstream{}); r.Err() != nil { // no handler: done
		t.Error(r.Err())
	}
}
