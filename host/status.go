package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/plain"
	"balhost/host/internal/told"
)

func statusCommand() *cobra.Command {
	where := &clientFlags{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the running host is doing",
		Long: `Shows what is wrong first, then the sessions, the ledger and the plugins.

Of a session, UP and DOWN count messages on the wire since the start, repeats
included. WAITING are the downstreams without an outcome, those IN FLIGHT included,
and OLDEST is for how long the first of them has waited. Of a plugin, OLDEST is that of
its PENDING events; P50 and P99 are how long it takes to handle one: half of those of
the last 5 to 10 minutes took no longer than P50, and 99 of 100 no longer than P99.
What became of the downstreams of all sessions is in the ledger's line "downstream":
acked means that CCS or FCM has taken them.`,
		Example: "  balhost status\n  balhost status --json | jq .ledger.events",
		Args:    arguments(0, 0),
	}
	where.add(cmd)
	shows(cmd, where, func(ctx context.Context, c *admin.Client) (admin.Status, error) { return c.Status(ctx) }, printStatus)
	return cmd
}

// printStatus prints one block for each part, with problems first.
func printStatus(out io.Writer, s admin.Status) error {
	text, now := strings.Builder{}, s.Now
	p := func(format string, args ...any) {
		fmt.Fprintln(&text, plain.Text(fmt.Sprintf(format, args...)))
	}

	state := "ready"
	if !s.Ready {
		state = "not ready"
	}
	p("balhost %s, pid %d, up %s, %s", s.Version, s.PID, short(time.Duration(s.UptimeSeconds)*time.Second), state)
	for _, reason := range s.Reasons {
		p("  %s", reason)
	}
	for _, warning := range s.Warnings {
		p("  warning: %s", warning)
	}
	if l := s.Log; l != nil && l.Dropped+l.Failed > 0 {
		p("  log: %d lines dropped, %d could not be written", l.Dropped, l.Failed)
	}
	p("")
	if err := printSessions(&text, s.Sessions, now); err != nil {
		return err
	}
	printLedger(p, s.Ledger)
	if err := printPlugins(&text, s.Plugins, now); err != nil {
		return err
	}
	for _, h := range s.Holding {
		p("waiting for a plugin: %d %s, since %s", h.Pending, ofCategory(h.Category), ago(now, h.Since))
	}
	if more := s.HoldingMore; more.Categories > 0 {
		p("waiting for a plugin: %d more, of %d more categories", more.Pending, more.Categories)
	}
	for _, u := range s.Unusable {
		p("unusable, %s ago, session %s: %s (from %q, message id %q)", ago(now, u.At), u.Session, u.Reason, u.From, u.MessageID)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// ofCategory says what waits for a plugin.
func ofCategory(category string) string {
	if category == "" {
		return "without a category, which one with the category \"*\" gets"
	}
	return fmt.Sprintf("of category %q", category)
}

func printLedger(p func(string, ...any), l admin.Ledger) {
	full := ""
	if l.Full {
		full = fmt.Sprintf(", FULL: takes no upstreams below %s", size(l.DiskSoft))
	}
	free := fmt.Sprintf("space unknown: %s", l.DiskError)
	if l.DiskFree != nil {
		free = size(*l.DiskFree) + " free"
	}
	timers := ""
	if l.Timers > 0 {
		timers = ", " + count(l.Timers, "timer", "timers") + " set"
	}
	encrypted := ""
	if l.Encrypted {
		encrypted = " (encrypted)"
	}
	p("ledger%s: %s and %s pending, %s%s; disk %s%s", encrypted, count(l.Events, "event", "events"), count(l.Downstreams, "downstream", "downstreams"), count(l.Dead, "dead letter", "dead letters"), timers, free, full)
	p("  upstream:   %d stored, %d known already", l.Accepted, l.Duplicates)
	p("  events:     %d handled, %d died (upstreams, outcomes, receipts, timers)", l.Handled, l.Died)
	p("  downstream: %d stored, %d acked, %d failed, %d expired, %d canceled", l.Sent, l.Acked, l.Failed, l.Expired, l.Canceled)
	p("")
}

func printPlugins(out io.Writer, plugins []admin.Plugin, now time.Time) error {
	if len(plugins) == 0 {
		_, err := fmt.Fprintln(out, "no plugins: put an executable file, or a folder with one named plugin, into the plugins folder")
		return err
	}
	t := newTable(out, "PLUGIN", "STATE", "VERSION", "SHA256", "PID", "UP", "RESTARTS", "PENDING", "OLDEST", "IN FLIGHT", "LANES", "HANDLED", "RATE", "P50", "P99", "DIED")
	for _, s := range plugins {
		var pid, up any = "", ""
		if s.PID != 0 {
			pid = s.PID
		}
		if !s.Started.IsZero() {
			up = ago(now, s.Started)
		}
		t.row(s.Name, s.State, s.Version, brief(s.SHA256), pid, up, s.Restarts, s.Pending, ago(now, s.Oldest), s.InFlight, s.Lanes, s.Handled, fmt.Sprintf("%.1f/s", s.Rate),
			millis(s.HandlingP50), millis(s.HandlingP99), s.Died)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, s := range plugins {
		printPluginTrouble(out, s, now)
	}
	return nil
}

// printPluginTrouble prints what a person should know about a plugin.
func printPluginTrouble(out io.Writer, s admin.Plugin, now time.Time) {
	for _, line := range told.Plugin(s.Name, s.Work, s.Process, now) {
		fmt.Fprintf(out, "  %s: %s\n", plain.Text(s.Name), plain.Text(line))
	}
}

// brief is the beginning of a sha256; it is enough to distinguish contents.
func brief(sha256 string) string { return told.Content(sha256) }
