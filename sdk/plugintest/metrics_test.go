package plugintest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"balhost/sdk"
)

// measuring is a plugin with this Metrics.
func measuring(metrics func(context.Context, io.Writer) error) sdk.Plugin {
	return sdk.Plugin{Name: "meter", Categories: []string{"app"}, Metrics: metrics,
		Upstream: func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil }}
}

// What Metrics writes arrives whole. What it can't write, and what goes on in it, is told.
func TestMetrics(t *testing.T) {
	h := New(t, measuring(func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, "rooms 3\n")
		return err
	}), Options{})
	if text, err := h.Metrics(); text != "rooms 3\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	for name, c := range map[string]struct {
		metrics func(context.Context, io.Writer) error
		says    string
	}{
		"none":     {nil, ""},
		"an error": {func(context.Context, io.Writer) error { return errors.New("no database") }, "no database"},
		"a panic":  {func(context.Context, io.Writer) error { panic("nil map") }, "nil map"},
		"far too much": {func(_ context.Context, w io.Writer) error {
			_, err := io.Copy(w, io.LimitReader(endless{}, 2<<20))
			return err
		}, "more than 1048576 bytes"},
	} {
		if _, err := New(t, measuring(c.metrics), Options{}).Metrics(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A Metrics that hangs is called once, however often the host is scraped.
func TestMetricsDontOverlap(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	h := New(t, measuring(func(context.Context, io.Writer) error {
		close(begun) // twice would panic
		<-end
		return nil
	}), Options{})
	first := make(chan error, 1)
	go func() { _, err := h.Metrics(); first <- err }()
	<-begun
	if _, err := h.Metrics(); err == nil || !strings.Contains(err.Error(), "has not returned yet") {
		t.Error(err)
	}
	close(end)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// endless is spaces without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, fmt.Sprintf("%*s", len(p), "")), nil }
