package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/feed"
	"balhost/host/internal/plain"
	"balhost/host/internal/told"
)

func tailCommand() *cobra.Command {
	where, t := &clientFlags{}, &tail{}
	var what []string
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show what happens to messages, plugins and sessions, while it happens",
		Long: `Each line is one step of a message: stored, handed to its plugin, handled; sent,
acked; retried, dead. It begins now, and ends with Ctrl-C. All filters must fit. The
host never waits for a reader: when this one is slow, it says how many steps are
missing. When the host restarts, it goes on; what happened meanwhile is not shown.

What happens: ` + sorts(feed.Whats) + `.
Of what: ` + sorts(feed.Kinds) + `.`,
		Example: `  balhost tail --trouble                  # only what goes wrong
  balhost tail --device fR3x… --bodies    # one phone, with what it says
  balhost tail --plugin echo --what handed,handled,retried
  balhost tail --json | jq -c 'select(.took_ms > 500)'`,
		Args: arguments(0, 0),
		PreRunE: func(*cobra.Command, []string) error {
			for _, word := range what {
				t.query.What = append(t.query.What, feed.What(word))
			}
			return t.check()
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, _ []string) error {
			t.out, t.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			t.colours = isTerminal(t.out) && os.Getenv("NO_COLOR") == ""
			return t.run(cmd.Context(), client)
		}),
	}
	where.add(cmd)
	q, flags := &t.query, cmd.Flags()
	flags.StringSliceVar(&what, "what", nil, "only these `steps`, with commas between them")
	flags.StringSliceVar(&q.Kinds, "kind", nil, "only steps of these `kinds`, with commas between them")
	flags.StringVar(&q.ID, "id", "", "only the event or the message with this `id`")
	flags.StringVar(&q.Device, "device", "", "only this device: its `token`, or the beginning of it")
	flags.StringVar(&q.Category, "category", "", "only this `category`")
	flags.StringVar(&q.Plugin, "plugin", "", "only the plugin with this `name`")
	flags.StringVar(&q.Session, "session", "", "only the session with this `name`")
	flags.StringVar(&q.Text, "text", "", "only steps with this `text` in the error or the code")
	flags.BoolVar(&t.trouble, "trouble", false, "only what goes wrong: "+sorts(feed.Troubles))
	flags.BoolVar(&q.Bodies, "bodies", false, "with the beginning of each body (2 KiB)")
	flags.BoolVar(&q.Full, "full", false, "with whole tokens")
	flags.BoolVar(&t.json, "json", false, "print JSON, one object a line")
	return cmd
}

// sorts are words of the feed, for people.
func sorts[T ~string](words []T) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = string(w)
	}
	return strings.Join(all, ", ")
}

// tail shows the steps that a query asks for.
type tail struct {
	query         admin.TailQuery
	trouble, json bool
	colours       bool
	out, err      io.Writer
}

// check looks at the flags.
func (t *tail) check() error {
	for _, w := range t.query.What {
		if !slices.Contains(feed.Whats, w) {
			return usagef("--what %s: there are %s", w, sorts(feed.Whats))
		}
	}
	for _, k := range t.query.Kinds {
		if !slices.Contains(feed.Kinds, k) {
			return usagef("--kind %s: there are %s", k, sorts(feed.Kinds))
		}
	}
	if t.trouble {
		if len(t.query.What) > 0 {
			return usagef("give either --what or --trouble")
		}
		t.query.What = feed.Troubles
	}
	return nil
}

// comeBack is the time between two tries to reach a host that has gone.
const comeBack = 500 * time.Millisecond

// run shows steps until ctx ends. A host that goes after the first answer is waited for.
func (t *tail) run(ctx context.Context, client *admin.Client) error {
	begun, waiting := false, false
	for {
		err := client.Tail(ctx, t.query, func(e admin.TailEvent) error {
			switch {
			case e.Hello == nil:
			case begun:
				fmt.Fprintln(t.err, "the host is there again; what happened meanwhile is not shown")
			default:
				fmt.Fprintln(t.err, "watching from now on; times are in "+told.Zone(time.Now())+"; Ctrl-C ends this")
			}
			if e.Hello != nil {
				begun, waiting = true, false
			}
			return t.show(e)
		})
		switch {
		case ctx.Err() != nil, errors.Is(err, errUnread):
			return nil
		case !begun, errors.As(err, new(admin.Refusal)):
			return err
		case !waiting && errors.Is(err, io.EOF):
			fmt.Fprintln(t.err, "the host stops; waiting for it to come back")
		case !waiting:
			fmt.Fprintf(t.err, "%v; waiting for the host to come back\n", err)
		}
		waiting = true
		select {
		case <-time.After(comeBack):
		case <-ctx.Done():
			return nil
		}
	}
}

// show prints one event.
func (t *tail) show(e admin.TailEvent) error {
	switch {
	case e.Step != nil && t.json:
		t.print(e.Step)
	case e.Step != nil:
		fmt.Fprint(behind(t.out), t.line(e.Step)) // line has made it plain; there may be colours in it
	case e.Skipped > 0 && t.json:
		t.print(admin.Skipped{Skipped: e.Skipped})
	case e.Skipped > 0:
		fmt.Fprintf(t.out, "… %s skipped here: this reader was too slow\n", count(int(e.Skipped), "step", "steps"))
	}
	if unread(t.out) {
		return errUnread
	}
	return nil
}

func (t *tail) print(v any) {
	e := json.NewEncoder(t.out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // execute says what can't be written
}

// line is a step for a person: the same columns for each, then what only some have.
func (t *tail) line(s *admin.Step) string {
	about := s.ID
	switch {
	case s.Kind == feed.Plugin:
		about = s.Plugin
	case s.Kind == feed.Session:
		about = s.Session
	case about == "":
		about = s.MessageID
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %-10s  %-28s  %-17s", s.At.Local().Format("15:04:05.000"), t.coloured(s.What), s.Kind, plain.Text(about), plain.Text(s.Device))
	for _, more := range t.more(s) {
		if more != "" {
			b.WriteString("  " + plain.Text(more))
		}
	}
	line := strings.TrimRight(b.String(), " ") + "\n"
	if s.Body == "" {
		return line
	}
	line += strings.Repeat(" ", 14) + plain.Text(s.Body)
	if s.BodyBytes > 0 {
		line += fmt.Sprintf("… (%d bytes)", s.BodyBytes)
	}
	return line + "\n"
}

// more is what not every step has.
func (t *tail) more(s *admin.Step) (all []string) {
	all = append(all, s.Category)
	if s.Kind != feed.Plugin {
		all = append(all, s.Plugin)
	}
	if s.Version != "" {
		all = append(all, "version "+s.Version)
	}
	if s.By != "" {
		all = append(all, "by "+s.By)
	}
	all = append(all, s.Address)
	if s.Attempt > 1 || s.Attempt == 1 && s.What == feed.Retried {
		all = append(all, fmt.Sprintf("attempt %d", s.Attempt))
	}
	if s.Took > 0 {
		all = append(all, fmt.Sprintf("%.1f ms", s.Took))
	}
	switch due := s.Due.Local(); {
	case s.Due.IsZero():
	case due.Sub(s.At) < 12*time.Hour:
		all = append(all, "due "+due.Format(time.TimeOnly))
	default:
		all = append(all, "due "+due.Format(time.DateTime))
	}
	if s.ID != "" && s.MessageID != "" {
		all = append(all, "message "+s.MessageID)
	}
	return append(all, s.Code, s.Error)
}

// coloured is the word for what happened, as wide as the longest.
func (t *tail) coloured(w feed.What) string {
	text := fmt.Sprintf("%-9s", plain.Text(string(w)))
	if !t.colours {
		return text
	}
	switch w {
	case feed.Handled, feed.Acked, feed.Started, feed.Connected:
		return "\x1b[32m" + text + "\x1b[0m"
	case feed.Retried, feed.Postponed, feed.Returned, feed.Expired, feed.Canceled, feed.Draining, feed.Duplicate:
		return "\x1b[33m" + text + "\x1b[0m"
	case feed.Dead, feed.Failed, feed.Unusable, feed.Crashed, feed.Refused, feed.Lost:
		return "\x1b[31m" + text + "\x1b[0m"
	}
	return text
}
