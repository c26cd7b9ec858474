package plugintest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"balhost/sdk"
)

// A plugin sends reminders, replaces and cancels them, in a handler and outside of one.
func TestLater(t *testing.T) {
	in := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	var host *sdk.Host
	h := New(t, sdk.Plugin{
		Name: "reminders", Version: "1", Categories: []string{"app"},
		Start: func(_ context.Context, h *sdk.Host) error { host = h; return nil },
		Upstream: func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
			if id, ok := strings.CutPrefix(m.MessageID, "paid-"); ok {
				return tx.CancelSend("r-" + id)
			}
			_, err := tx.Send(sdk.Downstream{To: sdk.Token(m.From), MessageID: "r-" + m.MessageID, NotBefore: in, Replace: "reminder"})
			return err
		},
	}, Options{})
	for _, up := range []sdk.Upstream{
		{From: "a", MessageID: "1"}, {From: "b", MessageID: "2"}, {From: "a", MessageID: "3"}, {From: "b", MessageID: "paid-2"},
		{From: "b", MessageID: "paid-99"}, {From: "c", MessageID: "4"},
	} {
		if got := h.Upstream(up); got.Status != Done {
			t.Errorf("%s: %+v", up.MessageID, got)
		}
	}
	for id, want := range map[string]string{"r-1": "REPLACED", "r-2": "CANCELED", "r-3": "", "r-4": "", "r-99": ""} {
		if got := h.Canceled(id); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	h.GoOut("r-3")
	for id, want := range map[string]bool{"r-3": false, "r-4": true, "r-1": false, "r-99": false} {
		if got, err := host.Cancel(t.Context(), id); got != want || err != nil {
			t.Errorf("cancel %s: %v, %v", id, got, err)
		}
	}
	if _, err := host.Cancel(t.Context(), "\x00"); !errors.Is(err, sdk.ErrInvalid) {
		t.Errorf("an impossible id: %v", err)
	}
	if w := h.Waiting(); len(w) != 0 {
		t.Errorf("waiting: %+v", w)
	}
	h.Upstream(sdk.Upstream{From: "a", MessageID: "5"})
	if w := h.Waiting(); len(w) != 1 || w[0].MessageID != "r-5" || !w[0].NotBefore.Equal(in) || w[0].Replace != "reminder" {
		t.Errorf("waiting: %+v", w)
	}
}

// CancelSend counts to the limits of a Tx, and refuses what is no id.
func TestCancelSendLimits(t *testing.T) {
	var errs []error
	h := New(t, sdk.Plugin{
		Name: "c", Version: "1", Categories: []string{"app"},
		Upstream: func(_ context.Context, tx *sdk.Tx, _ sdk.Upstream) error {
			errs = append(errs, tx.CancelSend(""))
			for range sdk.MaxChanges {
				if err := tx.CancelSend("x"); err != nil {
					return err
				}
			}
			errs = append(errs, tx.CancelSend("x"))
			return nil
		},
	}, Options{})
	if got := h.Upstream(sdk.Upstream{}); got.Status != Done {
		t.Errorf("%+v", got)
	}
	for _, err := range errs {
		if !errors.Is(err, sdk.ErrInvalid) {
			t.Errorf("%v", err)
		}
	}
}
