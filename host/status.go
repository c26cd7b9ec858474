package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/plain"
)

func statusCommand() *cobra.Command {
	where := &clientFlags{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the running host is doing",
		Long: `Shows what is wrong first, then the sessions, the ledger and the plugins.

Of a session, UP and DOWN count messages on the wire since the start, repeats
included. WAITING are the downstreams without an outcome, those IN FLIGHT included.
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
	p("ledger: %d events and %d downstreams pending, %d dead letters%s; disk %s%s", l.Events, l.Downstreams, l.Dead, timers, free, full)
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
	t := newTable(out, "PLUGIN", "STATE", "VERSION", "SHA256", "PID", "UP", "RESTARTS", "PENDING", "IN FLIGHT", "LANES", "HANDLED", "RATE", "DIED")
	for _, s := range plugins {
		var pid, up any = "", ""
		if s.PID != 0 {
			pid = s.PID
		}
		if !s.Started.IsZero() {
			up = ago(now, s.Started)
		}
		t.row(s.Name, s.State, s.Version, brief(s.SHA256), pid, up, s.Restarts, s.Pending, s.InFlight, s.Lanes, s.Handled, fmt.Sprintf("%.1f/s", s.Rate), s.Died)
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
	p := func(format string, args ...any) {
		fmt.Fprintf(out, "  %s: %s\n", plain.Text(s.Name), plain.Text(fmt.Sprintf(format, args...)))
	}
	if s.Reason != "" && (s.Refusal == nil || s.Refusal.Reason != s.Reason) {
		p("%s", s.Reason)
	}
	if !s.NextStart.IsZero() {
		p("started again in %s", short(s.NextStart.Sub(now)))
	}
	if s.Refusal != nil {
		p("%s", refused(s, now))
	}
	if s.Debug {
		p("debug = true: nothing notices when it hangs; take that out of its block in the config when you are done")
	}
	if s.Paused {
		p("paused; balhost resume %s", s.Name)
	}
	switch {
	case s.Probation.IsZero():
	case s.Probation.After(now):
		p("on probation until %s", s.Probation.Local().Format(time.TimeOnly))
	default:
		p("on probation until it has handled an event and finished what it got during the probation")
	}
	if s.Pinned {
		p("rolled back by hand: this stays until its file changes, or until balhost reload %s --force", s.Name)
	}
	if !s.LastFailureAt.IsZero() {
		p("%d attempts failed, the last %s ago: %s", s.Retried+s.Died, ago(now, s.LastFailureAt), s.LastFailure)
	}
	if s.Waiting > 0 {
		p("%s, each with its lane: the first in %s, the last in %s; balhost retry list --plugin %s",
			count(s.Waiting, "event waits for its next attempt", "events wait for their next attempt"), short(s.NextTry.Sub(now)), short(s.LastTry.Sub(now)), s.Name)
	}
	if f := s.RunFailure; f != nil {
		next := "it has run since"
		if f.Next.After(now) {
			next = "it is started again in " + short(f.Next.Sub(now))
		} else if f.Failing {
			next = "it was started again " + ago(now, f.Next) + " ago"
		}
		p("Run failed %d times in a row, the last %s ago: %s; %s", f.Failures, ago(now, f.At), f.Error, next)
	}
	if s.Reruns > 0 {
		p("%d handlers ran again because a state key that they had read changed; the last %s ago, key %q", s.Reruns, ago(now, s.RerunAt), s.RerunKey)
	}
	if s.Turns > 0 {
		p("%d handlers wait for state keys that others use", s.Turns)
	}
	if s.Stuck > 0 {
		p("%d handlers run beyond their time-out, so their lanes wait", s.Stuck)
	}
	for _, h := range s.StuckHandlers {
		p("  %s %s of device %q has been handled for %s", h.Kind, h.Event, h.Device, ago(now, h.Started))
	}
	if s.Suspects > 0 {
		p("%s in flight at too many crashes, and are tried alone", count(s.Suspects, "event was", "events were"))
	}
	if len(s.Lost) > 0 {
		owners := slices.Compact(slices.Sorted(slices.Values(s.LostTo)))
		p("another plugin already has its categories %s: %s. Messages go there; to change that, name the category in one plugin's block in config.hcl", strings.Join(s.Lost, ", "), strings.Join(owners, ", "))
	}
}

// refused says which content of a plugin was refused and why, which one serves
// instead, and how to fix it.
func refused(s admin.Plugin, now time.Time) string {
	serves, what := "nothing serves", "its content"
	if s.PID != 0 {
		serves, what = "content "+brief(s.SHA256)+" serves", "the new content"
	}
	if s.Refusal.SHA256 != "" {
		what += " " + brief(s.Refusal.SHA256)
	}
	text := fmt.Sprintf("%s; %s was refused %s ago: %s", serves, what, ago(now, s.Refusal.At), s.Refusal.Reason)
	switch again := fmt.Sprintf("at once: touch its file, or balhost reload %s", s.Name); {
	case !s.Refusal.Again.IsZero():
		text += fmt.Sprintf("; it is tried again in %s, or %s", short(s.Refusal.Again.Sub(now)), again)
	case s.Refusal.Tried:
		text += fmt.Sprintf("; to fix it, replace the file, change its block in the config, or try this one again: balhost reload %s --force", s.Name)
	}
	return text
}

// brief is the beginning of a sha256; it is enough to distinguish contents.
func brief(sha256 string) string { return sha256[:min(len(sha256), 12)] }
