package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/plain"
)

func deadCommand() *cobra.Command {
	where := &clientFlags{}
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Show, replay or delete dead letters: messages that no plugin could handle",
		Long: `A message becomes a dead letter when it can't be understood, when its plugin
rejects it, or when its attempts run out. It stays one until you replay or delete
it here. A message that can't be understood can only be shown, exported and deleted:
replaying it would change nothing.

Filters such as --plugin say which letters are meant; several of them mean those that
fit all. --since and --until are about when a letter died.

Replay and delete may be repeated, and several people may use them at the same
time. With a filter or --all they skip letters that are gone by then, and count them. If
an id that you name is gone, it is reported and the exit code is 1; the others are done.`,
		Example: `  balhost dead list --plugin orders --since 2h
  balhost dead show 01JD…
  balhost dead replay --plugin orders --reason 'no such table' --yes
  balhost dead export --plugin orders letters.jsonl`,
		Args: subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	where.add(cmd)
	cmd.AddCommand(deadListCommand(where), deadShowCommand(where),
		deadOrderCommand(where, deadOrder{
			verb: "replay", past: "replayed", short: "Put dead letters back at the end of their lanes, in their old order",
			do: (*admin.Client).Replay, can: func(d entry.DeadLetter) bool { return !d.Unusable },
		}),
		deadOrderCommand(where, deadOrder{
			verb: "delete", past: "deleted", short: "Remove dead letters for good",
			do: (*admin.Client).DeleteDead, can: func(entry.DeadLetter) bool { return true },
		}),
		deadExportCommand(where), deadImportCommand(where))
	return cmd
}

func deadListCommand(where *clientFlags) *cobra.Command {
	var (
		q      admin.DeadQuery
		filter deadFilter
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List dead letters, the oldest message first",
		Example: "  balhost dead list --limit 10\n  balhost dead list --device fGx9… --kind upstream\n  balhost dead list --json | jq -r '.dead[].id'",
		Args:    arguments(0, 0),
		PreRunE: func(*cobra.Command, []string) error {
			if q.Limit < 1 || q.Limit > 1000 {
				return usagef("--limit %d: want 1 to 1000; use --after to see more", q.Limit)
			}
			return filter.check()
		},
	}
	filter.add(cmd)
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "show at most this many")
	cmd.Flags().StringVar(&q.After, "after", "", "show those after this `id`")
	shows(cmd, where, func(ctx context.Context, c *admin.Client) (admin.DeadPage, error) {
		q.DeadFilter = filter.DeadFilter
		return firstDead(ctx, c, q)
	}, printDead)
	return cmd
}

func printDead(out io.Writer, page admin.DeadPage) error {
	if len(page.Dead) == 0 {
		_, err := fmt.Fprintln(out, "no dead letters")
		return err
	}
	t := newTable(out, "ID", zoned("DIED", time.Now()), "KIND", "DEVICE", "CATEGORY", "PLUGIN", "ATTEMPTS", "REASON")
	for _, d := range page.Dead {
		t.row(d.ID, d.Died.Local().Format(time.DateTime), d.Kind, plain.Brief(d.From), d.Category, d.Plugin, d.Attempts, d.Reason)
	}
	if err := t.flush(); err != nil || page.Next == "" {
		return err
	}
	_, err := fmt.Fprintf(out, "there may be more: add --after %s\n", page.Next)
	return err
}

// firstDead is the first page with letters, as the host looks at so many letters for a
// page that there may be none.
func firstDead(ctx context.Context, client *admin.Client, q admin.DeadQuery) (page admin.DeadPage, err error) {
	for {
		page, err = client.Dead(ctx, q)
		if err != nil || len(page.Dead) > 0 || page.Next == "" {
			return page, err
		}
		q.After = page.Next
	}
}

func deadShowCommand(where *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show one dead letter with its payload, as JSON",
		Example: "  balhost dead show 01JDE0Z3N4V5X6Y7Z8A9B0C1D2",
		Args:    arguments(1, 1),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			letter, err := client.DeadLetter(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return printJSON(cmd, letter)
		}),
	}
}
