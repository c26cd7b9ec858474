package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/told"
)

// A life is a timeline. What devices, plugins and CCS have chosen can't act on the terminal.
func TestExplainShows(t *testing.T) {
	const id, evil, safe = "01JDE0Z3N4V5X6Y7Z8A9B0C1D2", "\x1b[2J\n\u202e", `\u001b[2J\n\u202e`
	at := time.Date(2026, 11, 28, 15, 4, 5, 0, time.Local)
	after := func(d time.Duration) time.Time { return at.Add(d) }
	life := admin.Life{
		Row: admin.Row{ID: id, Kind: "upstream", State: entry.StateHandled, Session: "main", Device: "d" + evil, MessageID: "m" + evil, Category: "c" + evil, Plugin: "echo"},
		Steps: []admin.LifeStep{
			{At: at, What: admin.StepReceived},
			{What: admin.StepOmitted, Detail: "2 attempts of which nothing is kept"},
			{At: after(time.Second), What: admin.StepAttempt, Attempt: 3, Version: "1" + evil, TookMS: 12.5, Error: "no order " + evil},
			{At: after(3 * time.Second), What: admin.StepHandled, Attempt: 4, Version: "2", TookMS: 3},
		},
		Made: []admin.Life{{
			Row: admin.Row{ID: id + "-1", Kind: "downstream", State: entry.StateRetrying, Device: "phone", Plugin: "echo"},
			Steps: []admin.LifeStep{
				{At: after(-24 * time.Hour), What: admin.StepAccepted},
				{At: after(-23 * time.Hour), What: admin.StepSent, Transport: "ccs", Attempt: 1, Code: "UNAVAILABLE" + evil, Error: "later" + evil},
			},
			Waits: &admin.Wait{For: admin.WaitAttempt, Detail: "its next attempt " + evil, Until: after(time.Minute), Try: []string{"balhost x" + evil}},
		}},
		Cause: &admin.Row{ID: "cause" + evil, Kind: "timer"}, Missing: 2, Upto: at, Now: after(5 * time.Second), Retained: 3600,
	}
	want := strings.ReplaceAll(`it came of timer causeEVIL (balhost explain causeEVIL)
upstream ID: handled, session main, device dEVIL, category cEVIL, the device's id mEVIL, plugin echo
  15:04:05.000           received and on disk
                         2 attempts of which nothing is kept
  15:04:06.000  +1s      attempt 3 failed, version 1EVIL, after 12.5ms: no order EVIL
  15:04:08.000  +2s      handled, attempt 4, version 2, after 3ms

  downstream ID-1: retrying, device phone, plugin echo
    2026-11-27 15:04:05.000           accepted and on disk
    2026-11-27 16:04:05.000  +1h0m    sent, by ccs: UNAVAILABLEEVIL: laterEVIL
2 downstreams of it were not found: what has ended is kept for 1h0m
what came of it was searched up to STAMP: balhost messages --device finds later receipts and outcomes

ID-1 waits: its next attempt EVIL, until 15:05:05.000 (in 55s)
  balhost xEVIL

times are in ZONE
`, "EVIL", safe)
	want = strings.NewReplacer("STAMP", told.Stamp(at), "ZONE", told.Zone(at)).Replace(want)
	var out bytes.Buffer
	if err := printLife(&out, life); err != nil || out.String() != strings.ReplaceAll(want, "ID", id) {
		t.Errorf("%v\ngot\n%s\nwant\n%s", err, out.String(), strings.ReplaceAll(want, "ID", id))
	}
	out.Reset()
	dead := admin.Row{ID: id, Kind: "upstream", State: entry.StateDead, MessageID: "m", Began: at, Ended: at, Device: evil, Error: "rejected: " + evil, Attempts: 3}
	if err := printLife(&out, admin.Life{Matches: []admin.Row{dead, dead}, Now: at}); err != nil {
		t.Error(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "2 messages are called so") || !strings.Contains(lines[2], safe) || strings.Contains(out.String(), "\x1b") {
		t.Errorf("matches:\n%s", out.String())
	}
}
