package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/plain"
	"balhost/host/internal/told"
)

func explainCommand() *cobra.Command {
	where := &clientFlags{}
	q := admin.LifeQuery{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain ID",
		Short: "Show what became of one message: each step with its time, and what came of it",
		Long: `The id is that of an event (an upstream, outcome, receipt or timer), or its first
characters; or a downstream's message id; or a device's own message id. If several
messages are called so, they are listed: give the id of one of them, or --device.

The ledger keeps what has ended as long as retention in config.hcl says.`,
		Example: "  balhost explain 01JDE0Z3N4V5X6Y7Z8A9B0C1D2\n  balhost explain 4711 --device fXyz…\n  balhost explain 01JDE0Z3N4V5X6Y7Z8A9B0C1D2-1 --json",
		Args:    arguments(1, 1),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			q.ID = args[0]
			life, err := explained(cmd, client, q)
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(cmd, life)
			}
			return printLife(cmd.OutOrStdout(), life)
		}),
	}
	where.add(cmd)
	cmd.Flags().StringVar(&q.Device, "device", "", "only messages of this device: its whole `token`")
	cmd.Flags().BoolVar(&q.Full, "full", false, "show the whole token while the message is pending")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// explained asks until the search is over. What is found then by several parts of the
// search is listed, or if it is one message, told.
func explained(cmd *cobra.Command, client *admin.Client, q admin.LifeQuery) (admin.Life, error) {
	asked := q.ID
	var matches []admin.Row
	for {
		life, err := client.Life(cmd.Context(), q)
		if err != nil {
			return life, err
		}
		if len(life.Matches) == 0 && life.Next == "" && life.ID != "" {
			return life, nil
		}
		matches = append(matches, life.Matches...)
		if life.Next != "" && len(matches) < 20 {
			fmt.Fprintln(cmd.ErrOrStderr(), "still searching …")
			q.After = life.Next
			continue
		}
		switch {
		case len(matches) == 0:
			return life, fmt.Errorf("no message is called %q: none is pending, none is a dead letter, and none has ended in the last %s", asked, short(seconds(life.Retained)))
		case len(matches) == 1 && matches[0].ID != q.ID:
			q.ID, q.After = matches[0].ID, ""
			return client.Life(cmd.Context(), q)
		}
		life.Matches = matches
		return life, nil
	}
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

func printLife(out io.Writer, life admin.Life) error {
	if len(life.Matches) > 0 {
		fmt.Fprintf(out, "%s: balhost explain ID shows one\n", count(len(life.Matches), "message is", "messages are")+" called so")
		return printRows(out, life.Matches, life.Now)
	}
	p := lifePrinter{out: out, now: life.Now}
	if c := life.Cause; c != nil {
		p.line(0, "it came of %s %s (balhost explain %s)", c.Kind, c.ID, c.ID)
	}
	p.life(0, &life)
	if life.Missing > 0 {
		p.line(0, "%s: what has ended is kept for %s", count(life.Missing, "downstream of it was not found", "downstreams of it were not found"), short(seconds(life.Retained)))
	}
	if !life.Upto.IsZero() {
		p.line(0, "what came of it was searched up to %s: balhost messages --device finds later receipts and outcomes", told.Stamp(life.Upto))
	}
	if life.Cut {
		p.line(0, "so much is pending or dead that not all was searched: balhost messages --id %s goes through the rest", life.ID)
	}
	p.waits(&life)
	p.line(0, "")
	p.line(0, "times are in %s", told.Zone(life.Now))
	return p.err
}

// lifePrinter prints lives as timelines. All texts are escaped: a device chooses some.
type lifePrinter struct {
	out io.Writer
	now time.Time
	err error
}

func (p *lifePrinter) line(depth int, format string, args ...any) {
	text := strings.Repeat("  ", depth) + plain.Text(fmt.Sprintf(format, args...))
	if _, err := fmt.Fprintln(p.out, strings.TrimRight(text, " ")); p.err == nil {
		p.err = err
	}
}

func (p *lifePrinter) life(depth int, l *admin.Life) {
	p.line(depth, "%s", heading(&l.Row))
	last := time.Time{}
	for i, s := range l.Steps {
		if s.What == admin.StepDead && i > 0 && l.Steps[i-1].Attempt == s.Attempt && l.Steps[i-1].Error == s.Error {
			s.Attempt, s.Error = 0, "" // it is said one line before
		}
		p.step(depth, s, last)
		last = latest(last, s.At)
	}
	for i := range l.Made {
		p.line(0, "")
		p.life(depth+1, &l.Made[i])
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// heading says in one line what a message is.
func heading(r *admin.Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", strings.TrimSpace(r.Kind+" "+r.ID), strings.ReplaceAll(string(r.State), "_", " "))
	for _, fact := range []struct{ what, is string }{
		{"session", r.Session}, {"device", r.Device}, {"category", r.Category}, {"the device's id", ownID(r)}, {"of", ofID(r)}, {"key", r.Key}, {"plugin", r.Plugin}, {"trace", r.TraceID},
	} {
		if fact.is != "" {
			fmt.Fprintf(&b, ", %s %s", fact.what, fact.is)
		}
	}
	return b.String()
}

func ownID(r *admin.Row) string {
	if r.Kind == "upstream" {
		return r.MessageID
	}
	return ""
}

func ofID(r *admin.Row) string {
	if r.Kind == "upstream" {
		return ""
	}
	return r.MessageID
}

// step is one line: the time of day, the time since the step before, and what happened.
func (p *lifePrinter) step(depth int, s admin.LifeStep, last time.Time) {
	at, gap := "", ""
	if !s.At.IsZero() {
		at = told.TimeOfDay(s.At, p.now)
		if !last.IsZero() && !s.At.Before(last) {
			gap = "+" + short(s.At.Sub(last))
		}
	}
	p.line(depth, "  %-12s  %-7s  %s", at, gap, said(s))
}

var sentences = map[string]string{
	admin.StepReceived: "received and on disk", admin.StepAccepted: "accepted and on disk", admin.StepMade: "became an event", admin.StepSet: "set",
	admin.StepAttempt: "attempt", admin.StepSent: "sent", admin.StepHandled: "handled", admin.StepDead: "became a dead letter",
	admin.StepAcked: "acked", admin.StepFailed: "failed", admin.StepExpired: "expired", admin.StepCanceled: "canceled",
}

// said is what happened, in words: "handled, attempt 3, order 1.2, took 12ms".
func said(s admin.LifeStep) string {
	parts := []string{cmp.Or(sentences[s.What], s.Detail, s.What)}
	switch {
	case s.What == admin.StepAttempt:
		parts[0] = fmt.Sprintf("attempt %d failed", s.Attempt)
	case s.Attempt > 1 && s.What != admin.StepAcked:
		parts = append(parts, fmt.Sprintf("attempt %d", s.Attempt))
	}
	if s.Transport != "" {
		parts = append(parts, "by "+s.Transport)
	}
	if s.Version != "" {
		parts = append(parts, "version "+s.Version)
	}
	if s.TookMS > 0 {
		parts = append(parts, "after "+took(s.TookMS))
	}
	text := strings.Join(parts, ", ")
	if why := strings.TrimSpace(strings.TrimSuffix(s.Code+": "+s.Error, ": ")); strings.TrimPrefix(why, ": ") != "" {
		text += ": " + strings.TrimPrefix(why, ": ")
	}
	if s.Detail != "" && sentences[s.What] != "" {
		text += "; " + s.Detail
	}
	return text
}

// took is a duration in milliseconds: "0.35ms", "12ms", "1m5s".
func took(ms float64) string {
	if ms < 1000 {
		return millis(ms)
	}
	return short(time.Duration(ms * float64(time.Millisecond)))
}

// waits says for what the message, or something that it made, waits now, and what to do.
func (p *lifePrinter) waits(l *admin.Life) {
	if w := l.Waits; w != nil {
		text := fmt.Sprintf("%s waits: %s", cmp.Or(l.ID, "timer "+l.Key), w.Detail)
		if !w.Since.IsZero() {
			text += fmt.Sprintf(", since %s (%s)", told.TimeOfDay(w.Since, p.now), short(p.now.Sub(w.Since)))
		}
		if !w.Until.IsZero() {
			text += fmt.Sprintf(", until %s (in %s)", told.TimeOfDay(w.Until, p.now), short(w.Until.Sub(p.now)))
		}
		p.line(0, "")
		p.line(0, "%s", text)
		for _, try := range w.Try {
			p.line(1, "%s", try)
		}
	}
	if l.State == entry.StateDead {
		p.line(0, "")
		p.line(0, "%s is a dead letter:", l.ID)
		p.line(1, "balhost dead show %s", l.ID)
		p.line(1, "balhost dead replay %s", l.ID)
	}
	for i := range l.Made {
		p.waits(&l.Made[i])
	}
}
