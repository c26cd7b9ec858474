package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/told"
)

func messagesCommand() *cobra.Command {
	where := &clientFlags{}
	var o messagesOrder
	cmd := &cobra.Command{
		Use:   "messages",
		Short: "Find messages: pending ones, dead letters, and what has ended",
		Long: `The pending ones come first, then dead letters, then what has ended; of each the
newest first. What has ended is kept as long as retention in config.hcl says. A search
that finds little reads all of it: --since and --until narrow what is read. They mean
when a message ended, or when it came if it is pending.

States: waiting, in_flight, retrying, handled and dead (events); waiting, in_flight,
retrying, acked, failed, expired and canceled (downstreams).`,
		Example: `  balhost messages --device fXyz… --since 1h
  balhost messages --state retrying,dead --plugin echo
  balhost messages --kind downstream --state failed --text UNREGISTERED
  balhost messages --since 14:00 --until 14:10 --json | jq -r '.messages[].id'
  balhost messages --watch`,
		Args:    arguments(0, 0),
		PreRunE: func(*cobra.Command, []string) error { return o.check(time.Now()) },
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, _ []string) error {
			if o.watch {
				return o.follow(cmd, client)
			}
			page, err := o.collect(cmd, client)
			switch {
			case err != nil:
				return err
			case o.json:
				return printJSON(cmd, page)
			}
			return printMessages(cmd.OutOrStdout(), page)
		}),
	}
	where.add(cmd)
	o.flags(cmd)
	return cmd
}

// messagesOrder is what the flags say.
type messagesOrder struct {
	admin.MessageQuery
	states       []string
	since, until string
	watch, json  bool
}

func (o *messagesOrder) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.Kinds, "kind", nil, "only these `kinds`: "+strings.Join(admin.Kinds, ", "))
	f.StringSliceVar(&o.states, "state", nil, "only messages in these `states`")
	f.StringVar(&o.Session, "session", "", "only the session with this `name`")
	f.StringVar(&o.Device, "device", "", "only this device: its whole `token` or FID; or /topics/NAME")
	f.StringVar(&o.Category, "category", "", "only this `category`")
	f.StringVar(&o.Plugin, "plugin", "", "only the plugin with this `name`")
	f.StringVar(&o.Group, "group", "", "only downstreams of this `group`, with their outcomes and receipts")
	f.StringVar(&o.ID, "id", "", "only messages with this `id`: an event's or its beginning, a downstream's with what came of it, or a device's own")
	f.StringVar(&o.Text, "text", "", "only messages with this `text` in an error or a code")
	f.StringVar(&o.since, "since", "", "only later ones: a `time` such as 14:03, \"2026-01-02 14:03\" or 2h for two hours ago")
	f.StringVar(&o.until, "until", "", "only earlier ones: a `time`, as for --since")
	f.DurationVar(&o.MinAge, "min-age", 0, "only messages that came so `long` ago")
	f.IntVar(&o.Limit, "limit", 50, "show at most this many")
	f.StringVar(&o.After, "after", "", "go on after a page, with the `text` that it ends with")
	f.BoolVar(&o.Full, "full", false, "show whole tokens of pending messages")
	f.BoolVar(&o.watch, "watch", false, "show new ones as they come, until Ctrl-C")
	f.BoolVar(&o.json, "json", false, "print JSON")
}

func (o *messagesOrder) check(now time.Time) (err error) {
	for _, kind := range o.Kinds {
		if !slices.Contains(admin.Kinds, kind) {
			return usagef("--kind %s: want some of %s", kind, strings.Join(admin.Kinds, ", "))
		}
	}
	for _, state := range o.states {
		if !slices.Contains(entry.States, entry.State(state)) {
			return usagef("--state %s: want some of %v", state, entry.States)
		}
		o.States = append(o.States, entry.State(state))
	}
	if o.Limit < 1 || o.Limit > 1000 {
		return usagef("--limit %d: want 1 to 1000; use --after to see more", o.Limit)
	}
	if o.Since, err = told.Moment(o.since, now); err != nil {
		return usagef("--since %s: %v", o.since, err)
	}
	if o.Until, err = told.Moment(o.until, now); err != nil {
		return usagef("--until %s: %v", o.until, err)
	}
	return nil
}

// collect asks until it has enough, or the search is over. Each answer is a bounded part
// of the search.
func (o *messagesOrder) collect(cmd *cobra.Command, client *admin.Client) (all admin.MessagePage, err error) {
	q := o.MessageQuery
	for asked := time.Now(); ; {
		page, err := client.Messages(cmd.Context(), q)
		if err != nil {
			return all, err
		}
		rows := append(all.Messages, page.Messages...)
		all, all.Messages = page, rows
		if q.After, q.Limit = page.Next, o.Limit-len(rows); q.After == "" || q.Limit == 0 {
			return all, nil
		}
		if time.Since(asked) > time.Second {
			fmt.Fprintf(cmd.ErrOrStderr(), "searched back to %s, %d found …\n", told.Stamp(page.Searched), len(rows))
		}
	}
}

func printMessages(out io.Writer, page admin.MessagePage) error {
	if len(page.Messages) == 0 {
		_, err := fmt.Fprintf(out, "no such messages: none is pending or a dead letter, and none has ended in the last %s\n", short(seconds(page.Retained)))
		return err
	}
	if err := printRows(out, page.Messages, page.Now); err != nil || page.Next == "" {
		return err
	}
	_, err := fmt.Fprintf(out, "more: the same with --after %s\n", page.Next)
	return err
}

func printRows(out io.Writer, rows []admin.Row, now time.Time) error {
	t := newTable(out, "ID", "KIND", "STATE", zoned("CAME", now), zoned("ENDED", now), "DEVICE", "CATEGORY", "PLUGIN", "ATTEMPTS", "WHY")
	for i := range rows {
		rowOf(t, &rows[i], now)
	}
	return t.flush()
}

func rowOf(t table, r *admin.Row, now time.Time) {
	ended := ""
	if !r.Ended.IsZero() {
		ended = told.TimeOfDay(r.Ended, now)
	}
	t.row(r.ID, r.Kind, r.State, told.TimeOfDay(r.Began, now), ended, r.Device, r.Category, r.Plugin, r.Attempts,
		strings.TrimSuffix(strings.TrimPrefix(r.Code+": "+r.Error, ": "), ": "))
}

// follow prints what is new, again and again.
func (o *messagesOrder) follow(cmd *cobra.Command, client *admin.Client) error {
	const every = time.Second
	shown, out := map[string]time.Time{}, cmd.OutOrStdout()
	q := o.MessageQuery
	q.Limit = 1000
	for first := true; ; first = false {
		page, err := client.Messages(cmd.Context(), q)
		if err != nil {
			return err
		}
		slices.Reverse(page.Messages)
		slices.SortStableFunc(page.Messages, func(a, b admin.Row) int {
			return cmp.Or(latest(a.Began, a.Ended).Compare(latest(b.Began, b.Ended)))
		})
		for i := range page.Messages {
			r := &page.Messages[i]
			key := r.Session + "\x00" + r.ID + "\x00" + string(r.State) + fmt.Sprint(r.Attempts)
			if _, known := shown[key]; !known && !first {
				if err := o.show(cmd, out, r, page.Now); err != nil {
					return err
				}
			}
			shown[key] = page.Now
		}
		if page.Next != "" && len(page.Messages) == q.Limit {
			fmt.Fprintln(cmd.ErrOrStderr(), "more have come than are shown here; --limit and the other flags choose fewer")
		}
		q.Since = page.Now.Add(-10 * time.Second) // some may be stored a little later than others
		for key, at := range shown {
			if page.Now.Sub(at) > time.Minute {
				delete(shown, key)
			}
		}
		if err := pause(cmd.Context(), every); err != nil {
			return nil //nolint:nilerr // the person ended it
		}
	}
}

func (o *messagesOrder) show(cmd *cobra.Command, out io.Writer, r *admin.Row, now time.Time) error {
	if o.json {
		return printJSON(cmd, r)
	}
	at, why := latest(r.Began, r.Ended), strings.TrimSuffix(strings.TrimPrefix(r.Code+": "+r.Error, ": "), ": ")
	p := lifePrinter{out: out, now: now}
	p.line(0, "%s  %-9s %-10s %s  %s %s %s %s", told.TimeOfDay(at, now), r.State, r.Kind, r.ID, r.Device, r.Category, r.Plugin, why)
	return p.err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
