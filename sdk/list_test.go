package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"balhost/sdk"
	"balhost/sdk/plugintest"
)

// listed is a list as text: key=value, and "…" if there are more.
func listed(items []sdk.Item, more bool, err error) string {
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, it := range items {
		all = append(all, it.Key+"="+string(it.Value))
	}
	if more {
		all = append(all, "…")
	}
	return strings.Join(all, " ")
}

// P7: a list has what is stored and what this Tx has done, in the order of the bytes.
func TestListIsMerged(t *testing.T) {
	h := plugintest.New(t, with(func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
		expect := func(want, prefix, after string, max int) {
			t.Helper()
			if got := listed(tx.List(ctx, prefix, after, max)); got != want {
				t.Errorf("list %q after %q, at most %d: %q, want %q", prefix, after, max, got, want)
			}
		}
		expect("a/1=1 a/2=2 a/3=3 b=4", "", "", 0)
		expect("a/1=1 a/2=2 …", "a/", "", 2)
		expect("a/3=3", "a/", "a/2", 2)
		expect("", "c", "", 2)
		if err := errors.Join(tx.Put("a/15", 15), tx.Put("a/3", 33), tx.Put("a/4", 44), tx.Delete("a/2"), tx.Delete("a/1"), tx.Put("c", 5)); err != nil {
			return err
		}
		expect("a/15=15 a/3=33 a/4=44", "a/", "", 0)
		expect("a/15=15 …", "a/", "", 1) // of the first page all was deleted
		expect("a/15=15 …", "a/", "", 2) // fewer, as the first two that are stored are deleted
		expect("a/3=33 a/4=44", "a/", "a/15", 2)
		expect("a/4=44", "a/", "a/3", 1)
		expect("b=4 c=5", "", "a/9", 0)
		if err := errors.Join(tx.Delete("c"), tx.Put("a/1", 11)); err != nil {
			return err
		}
		expect("a/1=11 …", "a/", "", 1)
		expect("", "c", "", 0)
		items, _, err := tx.List(ctx, "b", "", 1)
		var n int
		if err != nil || items[0].Decode(&n) != nil || n != 4 {
			t.Errorf("%v is %d: %v", items, n, err)
		}
		var s string
		if err := items[0].Decode(&s); err == nil || !strings.Contains(err.Error(), `"b"`) {
			t.Errorf("a number as a string: %v", err)
		}
		return nil
	}), plugintest.Options{})
	for i, key := range []string{"a/1", "a/2", "a/3", "b"} {
		h.SetState(key, i+1)
	}
	if r := h.Upstream(sdk.Upstream{}); r.Err() != nil || r.Runs != 1 {
		t.Errorf("%v after %d runs", r.Err(), r.Runs)
	}
	if keys := h.Keys(); fmt.Sprint(keys) != "[a/1 a/15 a/3 a/4 b]" {
		t.Errorf("keys %q", keys)
	}
}

// P7: if a list has changed, the handler runs again, after an error too.
func TestListIsChecked(t *testing.T) {
	torn := errors.New("torn")
	for name, tt := range map[string]struct {
		change func(h *plugintest.Host)
		max    int
		runs   int
		err    error
	}{
		"key came":      {func(h *plugintest.Host) { h.SetState("a/9", 9) }, 0, 2, nil},
		"key went":      {func(h *plugintest.Host) { h.SetState("a/2", nil) }, 0, 2, torn},
		"key changed":   {func(h *plugintest.Host) { h.SetState("a/1", 1) }, 1, 2, torn},
		"beside":        {func(h *plugintest.Host) { h.SetState("b", 9) }, 0, 1, nil},
		"behind":        {func(h *plugintest.Host) { h.SetState("a/2", 9) }, 1, 1, nil},
		"wrote and saw": {func(h *plugintest.Host) {}, 0, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var h *plugintest.Host
			meddle := sync.OnceFunc(func() { tt.change(h) })
			runs := 0
			h = plugintest.New(t, with(func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
				runs++
				items, _, err := tx.List(ctx, "a/", "", tt.max)
				if err != nil {
					return err
				}
				meddle()
				if runs == 1 && tt.err != nil {
					return tt.err
				}
				return errors.Join(tx.Put("n", len(items)), tx.Put("a/3", 3))
			}), plugintest.Options{})
			h.SetState("a/1", 1)
			h.SetState("a/2", 2)
			if r := h.Upstream(sdk.Upstream{}); r.Err() != nil || r.Runs != tt.runs || runs != tt.runs {
				t.Errorf("%v after %d runs, want %d", r.Err(), r.Runs, tt.runs)
			}
		})
	}
}

// A list counts, with each of its keys. What does not fit is on the next page.
func TestListLimits(t *testing.T) {
	const keys = sdk.MaxChanges + 200
	handlers := map[string]func(ctx context.Context, tx *sdk.Tx) error{
		"all at once": func(ctx context.Context, tx *sdk.Tx) error {
			items, more, err := tx.List(ctx, "", "", 0)
			if err != nil || !more || len(items) != sdk.MaxChanges-1 {
				return fmt.Errorf("%d, more %v: %v", len(items), more, err)
			}
			if err := tx.Put("k", 1); !errors.Is(err, sdk.ErrInvalid) {
				return fmt.Errorf("put beside a full list: %v", err)
			}
			return nil
		},
		"page by page": func(ctx context.Context, tx *sdk.Tx) error {
			all, after := 0, ""
			for {
				items, more, err := tx.List(ctx, "", after, 400)
				all += len(items)
				if errors.Is(err, sdk.ErrInvalid) && all == sdk.MaxChanges-3 {
					return nil
				}
				if err != nil || !more {
					return fmt.Errorf("%d, more %v: %v", all, more, err)
				}
				after = items[len(items)-1].Key
			}
		},
		"long prefix": func(ctx context.Context, tx *sdk.Tx) error {
			if _, _, err := tx.List(ctx, strings.Repeat("x", sdk.MaxKey+1), "", 1); !errors.Is(err, sdk.ErrInvalid) {
				return fmt.Errorf("a long prefix: %v", err)
			}
			if _, _, err := tx.List(ctx, "\xff", "", 1); !errors.Is(err, sdk.ErrInvalid) {
				return fmt.Errorf("a prefix that is not UTF-8: %v", err)
			}
			return nil
		},
	}
	for name, fn := range handlers {
		t.Run(name, func(t *testing.T) {
			h := plugintest.New(t, with(func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error { return fn(ctx, tx) }), plugintest.Options{})
			for i := range keys {
				h.SetState(fmt.Sprintf("k%04d", i), i)
			}
			if r := h.Upstream(sdk.Upstream{}); r.Err() != nil || r.Runs != 1 {
				t.Errorf("%v after %d runs", r.Err(), r.Runs)
			}
		})
	}
}

// Large values come in several pages, and none is left out.
func TestListOfLargeValues(t *testing.T) {
	h := plugintest.New(t, with(func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
		var sizes []int
		for after, more := "", true; more; {
			var items []sdk.Item
			var err error
			if items, more, err = tx.List(ctx, "v", after, 0); err != nil {
				return err
			}
			for _, it := range items {
				sizes, after = append(sizes, len(it.Value)>>10), it.Key
			}
			sizes = append(sizes, 0)
		}
		if fmt.Sprint(sizes) != "[400 400 0 400 400 0 400 0]" {
			return fmt.Errorf("pages of KiB: %v", sizes)
		}
		return nil
	}), plugintest.Options{})
	for i := range 5 {
		h.SetState(fmt.Sprint("v", i), strings.Repeat("x", 400<<10))
	}
	if r := h.Upstream(sdk.Upstream{}); r.Err() != nil {
		t.Error(r.Err())
	}
}

func TestHostList(t *testing.T) {
	h, host := hosted(t, plugintest.Options{})
	h.SetState("a/1", 1)
	h.SetState("a/2", 2)
	if got := listed(host.List(t.Context(), "a/", "", 1)); got != "a/1=1 …" {
		t.Errorf("listed %q", got)
	}
	runs := 0
	err := host.Update(t.Context(), func(tx *sdk.Tx) error {
		items, _, err := tx.List(t.Context(), "a/", "", 0)
		if runs++; runs == 1 {
			h.SetState("a/3", 3)
		}
		return errors.Join(err, tx.Put("n", len(items)))
	})
	var n int
	if h.State("n", &n); err != nil || runs != 2 || n != 3 {
		t.Errorf("%d keys after %d runs: %v", n, runs, err)
	}
}
