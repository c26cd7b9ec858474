package main

import (
	"context"
	"fmt"
	"io"
	"strings"
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
it here. A message that can't be understood can only be shown and deleted:
replaying it would change nothing.

Replay and delete may be repeated, and several people may use them at the same
time. --all skips letters that are gone by then, and counts them. If an id that
you name is gone, it is reported and the exit code is 1; the others are done.`,
		Example: `  balhost dead list
  balhost dead show 01JD…
  balhost dead replay --all --yes`,
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
		}))
	return cmd
}

func deadListCommand(where *clientFlags) *cobra.Command {
	var (
		limit int
		after string
	)
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List dead letters, the oldest message first",
		Example: "  balhost dead list --limit 10\n  balhost dead list --json | jq -r '.dead[].id'",
		Args:    arguments(0, 0),
		PreRunE: func(*cobra.Command, []string) error {
			if limit < 1 || limit > 1000 {
				return usagef("--limit %d: want 1 to 1000; use --after to see more", limit)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "show at most this many")
	cmd.Flags().StringVar(&after, "after", "", "show those after this `id`")
	shows(cmd, where, func(ctx context.Context, c *admin.Client) (admin.DeadPage, error) { return c.Dead(ctx, after, limit) }, printDead)
	return cmd
}

func printDead(out io.Writer, page admin.DeadPage) error {
	if len(page.Dead) == 0 {
		_, err := fmt.Fprintln(out, "no dead letters")
		return err
	}
	t := newTable(out, "ID", "DIED", "KIND", "DEVICE", "CATEGORY", "PLUGIN", "ATTEMPTS", "REASON")
	for _, d := range page.Dead {
		t.row(d.ID, d.Died.Local().Format(time.DateTime), d.Kind, plain.Brief(d.From), d.Category, d.Plugin, d.Attempts, d.Reason)
	}
	if err := t.flush(); err != nil || page.Next == "" {
		return err
	}
	_, err := fmt.Fprintf(out, "more: balhost dead list --after %s\n", page.Next)
	return err
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

// deadOrder is the difference between replay and delete.
type deadOrder struct {
	verb, past, short string
	do                func(*admin.Client, context.Context, []string) (admin.Ordered, error)
	can               func(entry.DeadLetter) bool // --all skips the others
}

func deadOrderCommand(where *clientFlags, o deadOrder) *cobra.Command {
	var all, yes, asJSON bool
	cmd := &cobra.Command{
		Use:     o.verb + " (ID… | --all --yes)",
		Short:   o.short,
		Example: fmt.Sprintf("  balhost dead %s 01JDE0Z3N4V5X6Y7Z8A9B0C1D2\n  balhost dead %s --all --yes", o.verb, o.verb),
		PreRunE: func(_ *cobra.Command, ids []string) error {
			if all == (len(ids) > 0) {
				return usagef("give either the ids of dead letters or --all")
			}
			return nil
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, ids []string) error {
			left := 0
			if all {
				var err error
				if ids, left, err = allDead(cmd.Context(), client, o.can); err != nil {
					return err
				}
				if !yes {
					return usagef("dead letters to be %s: %d; add --yes to confirm", o.past, len(ids))
				}
			}
			did, err := o.do(client, cmd.Context(), ids)
			if err != nil {
				return fmt.Errorf("%s %d of %d, then: %w", o.past, did.Done, len(ids), err)
			}
			if err := o.tell(cmd, did, left, asJSON); err != nil || all {
				return err
			}
			return wereGone("no such dead letter; it may have been replayed or deleted", did.Gone)
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "all dead letters that exist now")
	cmd.Flags().BoolVar(&yes, "yes", false, "with --all: really")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// tell prints what was done, and how many letters --all skipped.
func (o deadOrder) tell(cmd *cobra.Command, did admin.Ordered, left int, asJSON bool) error {
	if asJSON {
		n := map[string]int{o.past: did.Done}
		if left > 0 {
			n["unusable"] = left
		}
		if len(did.Gone) > 0 {
			n["gone"] = len(did.Gone)
		}
		return printJSON(cmd, n)
	}
	out := cmd.OutOrStdout()
	_, err := fmt.Fprintf(out, "%s %d\n", o.past, did.Done)
	if n := len(did.Gone); n > 0 {
		fmt.Fprintf(out, "%d were gone: somebody else, or an earlier command, replayed or deleted them\n", n)
	}
	if left > 0 {
		fmt.Fprintf(out, "%d stay, because no plugin can understand them: balhost dead show ID, then balhost dead delete ID\n", left)
	}
	return err
}

// wereGone is the error for named ids that were gone, like rm's for missing files: the
// others are done.
func wereGone(what string, ids []string) error {
	const enough = 20
	switch n := len(ids); {
	case n == 0:
		return nil
	case n > enough:
		return fmt.Errorf("%s: %s and %d more", what, strings.Join(ids[:enough], " "), n-enough)
	}
	return fmt.Errorf("%s: %s", what, strings.Join(ids, " "))
}

// allDead collects the ids of the letters that can be ordered, and counts the others.
// It does so before anything is done. So a letter that dies again meanwhile is not
// found twice.
func allDead(ctx context.Context, client *admin.Client, can func(entry.DeadLetter) bool) (ids []string, others int, err error) {
	err = client.AllDead(ctx, func(d entry.DeadLetter) error {
		if can(d) {
			ids = append(ids, d.ID)
		} else {
			others++
		}
		return nil
	})
	return ids, others, err
}
