package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/plain"
)

// printJSON writes a value as the API does.
func printJSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printDone tells what was done: a script by v, a person by a line of text.
func printDone(cmd *cobra.Command, asJSON bool, v any, text string) error {
	if asJSON {
		return printJSON(cmd, v)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}

// table aligns columns for a person. Its first write error comes from flush.
type table struct {
	w *tabwriter.Writer
}

func newTable(out io.Writer, heads ...any) table {
	t := table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	t.row(heads...)
	return t
}

func (t table) row(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(t.w, "\t")
		}
		text := plain.Text(fmt.Sprint(cell))
		if text == "" {
			text = "-"
		}
		fmt.Fprint(t.w, text)
	}
	fmt.Fprintln(t.w)
}

func (t table) flush() error { return t.w.Flush() }

// ago is how long a moment is before now, in at most two units.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	return short(now.Sub(then))
}

// short is a duration for a table: "850ms", "12s", "3m5s", "2h10m", "3d4h".
func short(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// size is a number of bytes for a person: "13.2 GiB".
func size(n int64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), 0
	for ; f >= step && unit < 5; unit++ {
		f /= step
	}
	return fmt.Sprintf("%.1f %ciB", f, " KMGTP"[unit])
}

// count is a number with what it counts.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
