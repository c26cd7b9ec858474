package main

import (
	"slices"
	"strings"
	"testing"
)

// The live view never scrolls or wraps: it fits, whatever it is to show.
func TestFit(t *testing.T) {
	rows := []string{"title", "! trouble", "", "up", "", "table", "row 1", "row 2", "", "messages", strings.Repeat("x", 100)}
	for _, c := range []struct {
		height int
		want   string
	}{
		{11, "title|! trouble||up||table|row 1|row 2||messages|xxxxxxxxx…"},
		{10, "title|! trouble||up||table|row 1|row 2|messages|xxxxxxxxx…"},
		{8, "title|! trouble|up|table|row 1|row 2|messages|xxxxxxxxx…"},
		{5, "title|! trouble|up|table|… 4 lines…"},
		{1, "… 8 lines…"},
	} {
		got := fit(slices.Clone(rows), 11, c.height)
		if strings.Join(got, "|") != c.want {
			t.Errorf("%d lines: %q, want %q", c.height, got, c.want)
		}
	}
	for in, want := range map[string]string{
		"":            "",
		"1234567890":  "1234567890",
		"12345678901": "123456789…",
		"日本語日本":       "日本語日本",
		"日本語日本語":      "日本語日…",
		"1日本語日本":      "1日本語日…",
		"a→b←c …":     "a→b←c …",
	} {
		if got := cut(in, 10); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := cut("ab", 1); got != "…" {
		t.Errorf("one column: %q", got)
	}
}
