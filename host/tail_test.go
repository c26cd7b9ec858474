package main

import (
	"strings"
	"testing"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/feed"
)

// A line has the same columns for each step, and nothing in it moves a terminal.
func TestTailLine(t *testing.T) {
	at := time.Date(2026, 11, 28, 15, 4, 5, 123e6, time.Local)
	const id = "01JDE0Z3N4V5X6Y7Z8A9B0C1D2"
	for _, c := range []struct {
		step admin.Step
		want string
	}{
		{admin.Step{What: feed.Stored, Kind: feed.Upstream, ID: id, MessageID: "m-1", Device: "fR3xQ-7kSXqy0A1b…", Category: "com.example.echo"},
			"15:04:05.123  stored     upstream    " + id + "    fR3xQ-7kSXqy0A1b…  com.example.echo  message m-1"},
		{admin.Step{What: feed.Retried, Kind: feed.Upstream, ID: id, Device: "phone", Plugin: "echo", Version: "1.2", Attempt: 1, Took: 12.34, Due: at.Add(time.Second), Error: "not now"},
			"15:04:05.123  retried    upstream    " + id + "    phone              echo  version 1.2  attempt 1  12.3 ms  due 15:04:06  not now"},
		{admin.Step{What: feed.Postponed, Kind: feed.Downstream, MessageID: "d-1", Attempt: 2, Due: at.Add(24 * time.Hour), Code: "UNAVAILABLE"},
			"15:04:05.123  postponed  downstream  d-1                                              attempt 2  due 2026-11-29 15:04:05  UNAVAILABLE"},
		{admin.Step{What: feed.Sent, Kind: feed.Downstream, MessageID: "d-1", Device: "phone", By: "ccs"},
			"15:04:05.123  sent       downstream  d-1                           phone              by ccs"},
		{admin.Step{What: feed.Lost, Kind: feed.Session, Session: "main", Address: "10.0.0.1:5235", Error: "cut\n\x1b[2J"},
			"15:04:05.123  lost       session     main                                             10.0.0.1:5235  cut\\n\\u001b[2J"},
		{admin.Step{What: feed.Stored, Kind: feed.Upstream, ID: id, Device: "\x1b[31m", Body: "{\n}", BodyBytes: 5000},
			"15:04:05.123  stored     upstream    " + id + "    \\u001b[31m\n              {\\n}… (5000 bytes)"},
	} {
		c.step.At = at
		if got := (&tail{}).line(&c.step); got != c.want+"\n" {
			t.Errorf("line\n%q, want\n%q", got, c.want)
		}
	}
}

// Colours are for terminals, and only on the word for what happened.
func TestTailColours(t *testing.T) {
	for _, w := range feed.Whats {
		s := admin.Step{What: w, Kind: feed.Upstream}
		plain, coloured := (&tail{}).line(&s), (&tail{colours: true}).line(&s)
		if strings.Contains(plain, "\x1b") {
			t.Errorf("without colours: %q", plain)
		}
		for _, code := range []string{"\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"} {
			coloured = strings.ReplaceAll(coloured, code, "")
		}
		if coloured != plain {
			t.Errorf("with colours %q, without %q", coloured, plain)
		}
	}
}

// A skipped number is said, and JSON is one object a line.
func TestTailShows(t *testing.T) {
	for _, c := range []struct {
		tail tail
		want string
	}{
		{tail{}, "… 3 steps skipped here: this reader was too slow\n"},
		{tail{json: true}, `{"skipped":3}` + "\n" + `{"at":"0001-01-01T00:00:00Z","what":"dead","kind":"timer"}` + "\n"},
	} {
		var out strings.Builder
		c.tail.out = &out
		for _, e := range []admin.TailEvent{{Hello: &admin.Hello{}}, {Skipped: 3}, {Step: &admin.Step{What: feed.Dead, Kind: feed.Timer}}, {Ended: &admin.Ended{}}} {
			if err := c.tail.show(e); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.HasPrefix(out.String(), c.want) {
			t.Errorf("%q, want %q", out.String(), c.want)
		}
	}
}
