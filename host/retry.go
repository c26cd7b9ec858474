package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
)

func retryCommand() *cobra.Command {
	where := &clientFlags{}
	cmd := &cobra.Command{
		Use:   "retry",
		Short: "Show messages that wait for their next attempt, or try them now",
		Long: `A message that its plugin could not handle comes again after 1 s, 2 s, 4 s and so
on up to 5 minutes, or at the time that its handler chose. The messages behind it
in its lane wait for it. When you have fixed the reason, you can try it at once. That
counts as an attempt: at max_attempts the message becomes a dead letter.`,
		Example: `  balhost retry list
  balhost retry now --plugin echo
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
	_, err := fmt.Fprintf(out, "%d more; --limit shows up to 1000\n", page.Total-len(page.Retries))
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
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "now (ID… | --plugin NAME | --all)",
		Short:   "Try waiting messages now, before their next attempt is due",
		Example: "  balhost retry now 01JDE0Z3N4V5X6Y7Z8A9B0C1D2\n  balhost retry now --plugin echo\n  balhost retry now --all",
		PreRunE: func(_ *cobra.Command, ids []string) error {
			o.IDs = ids
			if !o.Clear() {
				return usagef("give either the ids of up to 1000 messages, or --plugin, or --all")
			}
			return nil
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, _ []string) error {
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
			return wereGone("no event with this id waits for another attempt; balhost retry list shows those that do", did.Gone)
		}),
	}
	cmd.Flags().StringVar(&o.Plugin, "plugin", "", "all messages of the plugin with this `name`")
	cmd.Flags().BoolVar(&o.All, "all", false, "all waiting messages")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
