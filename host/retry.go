package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

func retryCommand() *cobra.Command {
	where := &clientFlags{}
	cmd := &cobra.Command{
		Use:   "retry",
		Short: "Show messages that wait for their next attempt, or try them now",
		Long: `A message that its plugin could not handle comes again after 1 s, 2 s, 4 s and so
on up to 5 minutes, or at the time that its handler chose. The messages behind it
in its lane wait for it. When you have fixed the reason, you can try it at once. That
counts as an attempt: at max_attempts the message becomes a dead letter.

A downstream that was refused for a while waits for its next attempt, too: retry now
sends it at once, by its message id or with --kind downstream. One whose target or
session was sent too much has to wait.`,
		Example: `  balhost retry list
  balhost retry now --plugin echo
  balhost retry now --reason 'no such table' --category com.example.orders
  balhost retry now 01JD…`,
		Args: subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	where.add(cmd)
	cmd.AddCommand(retryListCommand(where), retryNowCommand(where))
	return cmd
}

func retryListCommand(where *clientFlags) *cobra.Command {
	var (
		plugin string
		limit  int
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the messages that wait for their next attempt, the soonest first",
		Example: "  balhost retry list --plugin echo\n  balhost retry list --json | jq -r '.retries[].id'",
		Args:    arguments(0, 0),
		PreRunE: func(*cobra.Command, []string) error {
			if limit < 1 || limit > 1000 {
				return usagef("--limit %d: want 1 to 1000", limit)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&plugin, "plugin", "", "only those of the plugin with this `name`")
	cmd.Flags().IntVar(&limit, "limit", 100, "show at most this many")
	shows(cmd, where, func(ctx context.Context, c *admin.Client) (admin.RetryPage, error) {
		return c.Retries(ctx, plugin, limit)
	}, printRetries)
	return cmd
}

func printRetries(out io.Writer, page admin.RetryPage) error {
	if len(page.Retries) == 0 {
		_, err := fmt.Fprintln(out, "no event waits for another attempt of its plugin; downstreams that wait to be sent again are in balhost status")
		return err
	}
	t := newTable(out, "ID", "NEXT IN", "PLUGIN", "KIND", "CATEGORY", "FROM", "ATTEMPTS", "BEHIND IT", "REASON")
	for _, r := range page.Retries {
		t.row(r.ID, short(r.Next.Sub(page.Now)), r.Plugin, r.Kind, r.Category, shortened(r.From), r.Attempts, r.Behind, r.Reason)
	}
	if err := t.flush(); err != nil || page.Total <= len(page.Retries) {
		return err
	}
	_, err := fmt.Fprintf(out, "%d more; --limit shows up to 1000, and balhost messages --state retrying all of them\n", page.Total-len(page.Retries))
	return err
}

// shortened is a token for a table: tokens are long.
func shortened(token string) string {
	const most = 24
	if r := []rune(token); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return token
}

func retryNowCommand(where *clientFlags) *cobra.Command {
	var (
		o      admin.RetryOrder
		filter pendingFilter
		kinds  []string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "now (ID… | FILTER… | --all)",
		Short: "Try waiting messages now, before their next attempt is due",
		Long: `Tries events now that wait for their next attempt, or with --kind downstream messages to
devices: those with the ids, or those that fit all filters. balhost messages
--state retrying shows them by the same filters.`,
		Example: "  balhost retry now 01JDE0Z3N4V5X6Y7Z8A9B0C1D2\n  balhost retry now --plugin echo\n  balhost retry now --kind downstream --session main\n  balhost retry now --all",
		PreRunE: func(_ *cobra.Command, ids []string) error {
			for _, kind := range kinds {
				if !slices.Contains(admin.Kinds, kind) {
					return usagef("--kind %s: want some of %s", kind, strings.Join(admin.Kinds, ", "))
				}
			}
			o.IDs = ids
			given := 0
			for _, yes := range []bool{len(ids) > 0, o.All, !filter.any() || len(kinds) > 0} {
				if yes {
					given++
				}
			}
			if given != 1 || len(ids) > 1000 {
				return usagef("give either the ids of up to 1000 messages, or filters such as --plugin, or --all")
			}
			if filter == (pendingFilter{plugin: filter.plugin}) && len(kinds) == 0 {
				o.Plugin = filter.plugin // in one request
			}
			return filter.check()
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, ids []string) error {
			if !o.Clear() && len(ids) == 0 {
				return retryMany(cmd, client, filter, kinds, asJSON)
			}
			did, err := client.RetryNow(cmd.Context(), o)
			if err != nil {
				return err
			}
			n := map[string]int{"tried": did.Done}
			if len(did.Gone) > 0 {
				n["gone"] = len(did.Gone)
			}
			if err := printDone(cmd, asJSON, n, fmt.Sprint("tried now: ", did.Done)); err != nil {
				return err
			}
			return wereGone("no message with this id waits for another attempt; balhost retry list shows those that do", did.Gone)
		}),
	}
	filter.add(cmd)
	cmd.Flags().StringVar(&filter.plugin, "plugin", "", "only messages of the plugin with this `name`")
	cmd.Flags().StringVar(&filter.category, "category", "", "only messages with this `category`")
	cmd.Flags().StringVar(&filter.reason, "reason", "", "only messages with this `text` in why the last attempt was in vain")
	cmd.Flags().StringSliceVar(&kinds, "kind", nil, "only these `kinds`: "+strings.Join(admin.Kinds, ", ")+"; all events without it")
	cmd.Flags().BoolVar(&o.All, "all", false, "all waiting events")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// retryMany tries what a filter selects.
func retryMany(cmd *cobra.Command, client *admin.Client, filter pendingFilter, kinds []string, asJSON bool) error {
	if len(kinds) == 0 {
		kinds = slices.DeleteFunc(slices.Clone(admin.Kinds), func(kind string) bool { return kind == admin.Downstream })
	}
	q := filter.narrow(admin.MessageQuery{Kinds: kinds, States: []entry.State{entry.StateRetrying}})
	bySession, n, err := idsOf(cmd.Context(), client, q)
	if err != nil {
		return err
	}
	tried := 0
	for ids := range slices.Chunk(slices.Concat(slices.Collect(maps.Values(bySession))...), 1000) {
		did, err := client.RetryNow(cmd.Context(), admin.RetryOrder{IDs: ids})
		if tried += did.Done; err != nil {
			return fmt.Errorf("tried %d of %d, then: %w", tried, n, err)
		}
	}
	if asJSON {
		return printJSON(cmd, map[string]int{"tried": tried, "stay": max(0, n-tried)})
	}
	text := fmt.Sprint("tried now: ", tried)
	if stay := n - tried; stay > 0 {
		text += fmt.Sprintf("\n%d stay: they have ended or are being tried, or their target has to rest", stay)
	}
	return printDone(cmd, false, nil, text)
}
