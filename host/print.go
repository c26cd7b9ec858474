package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/plain"
	"balhost/host/internal/told"
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

// zoned is the head of a column of times, with their zone: "DIED (UTC)".
func zoned(head string, now time.Time) string { return head + " (" + now.Local().Format("MST") + ")" }

// What a person is told has one form, here and on the page.

func ago(now, then time.Time) string       { return told.Ago(now, then) }
func short(d time.Duration) string         { return told.Short(d) }
func millis(ms float64) string             { return told.Millis(ms) }
func size(n int64) string                  { return told.Size(n) }
func count(n int, one, many string) string { return told.Count(n, one, many) }
