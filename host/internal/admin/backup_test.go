package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestBackup(t *testing.T) {
	h := &host{backup: strings.Repeat("x", 300<<10)}
	s := serve(t, h, Options{})
	c := NewClient(s.Addr(), "")
	defer c.Close()
	read := func(perSecond int64) (string, error) {
		from, err := c.Backup(t.Context(), perSecond)
		if err != nil {
			return "", err
		}
		got, err := io.ReadAll(from)
		return string(got), errors.Join(err, from.Close())
	}
	got, err := read(5 << 20)
	if err != nil || got != h.backup || !slices.Contains(h.orders[0], "backup 5242880") {
		t.Errorf("%d bytes, asked for %v: %v", len(got), h.orders, err)
	}
	if _, err := read(5); err == nil || !strings.Contains(err.Error(), "at least 1048576") {
		t.Errorf("a rate that is too low: %v", err)
	}

	// An error before the first byte is the answer; one behind it cuts the answer off.
	h.fails = Refusal{Err: errors.New("another backup is being taken")}
	if _, err := read(0); err == nil || err.Error() != "another backup is being taken" {
		t.Errorf("a refusal: %v", err)
	}
	h.cut = true
	if got, err := read(0); err == nil || got == "" {
		t.Errorf("one that is cut off: %d bytes, %v", len(got), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	h.fails, h.cut = nil, false
	from, err := c.Backup(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(from); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	from.Close() //nolint:errcheck // it was cut off
}

func TestVerify(t *testing.T) {
	h := &host{verified: Verified{Problems: []string{"a key is lost"}, Commit: 7, Records: 8, Commits: 9}}
	s := serve(t, h, Options{})
	c := NewClient(s.Addr(), "")
	defer c.Close()
	v, err := c.Verify(t.Context())
	if err != nil || v.Sound || v.Commit != 7 || v.Records != 8 || v.Commits != 9 || !slices.Equal(v.Problems, h.verified.Problems) {
		t.Errorf("%+v, %v", v, err)
	}
	h.verified = Verified{Sound: true}
	if v, err := c.Verify(t.Context()); err != nil || !v.Sound || v.Problems == nil {
		t.Errorf("%+v, %v", v, err)
	}
	resp, err := http.Get("http://" + s.Addr() + "/v1/verify")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close() //nolint:errcheck // its status is enough
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET /v1/verify answers %s", resp.Status)
	}
}
