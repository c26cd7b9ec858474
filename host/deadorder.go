package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

// deadOrder is the difference between replay and delete.
type deadOrder struct {
	verb, past, short string
	do                func(*admin.Client, context.Context, []string) (admin.Ordered, error)
	can               func(entry.DeadLetter) bool // a filter and --all skip the others
}

func deadOrderCommand(where *clientFlags, o deadOrder) *cobra.Command {
	var (
		all, yes, asJSON bool
		filter           deadFilter
	)
	cmd := &cobra.Command{
		Use:   o.verb + " (ID… | FILTER… --yes | --all --yes)",
		Short: o.short,
		Example: fmt.Sprintf("  balhost dead %s 01JDE0Z3N4V5X6Y7Z8A9B0C1D2\n  balhost dead %s --plugin orders --reason 'no such table' --yes\n  balhost dead %s --all --yes",
			o.verb, o.verb, o.verb),
		PreRunE: func(_ *cobra.Command, ids []string) error {
			given := 0
			for _, yes := range []bool{len(ids) > 0, all, !filter.Any()} {
				if yes {
					given++
				}
			}
			if given != 1 {
				return usagef("give the ids of dead letters, or a filter such as --plugin, or --all")
			}
			return filter.check()
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, ids []string) error {
			left, many := 0, len(ids) == 0
			if many {
				var err error
				if ids, left, err = allDead(cmd.Context(), client, filter.DeadFilter, o.can); err != nil {
					return err
				}
				if !yes {
					return usagef("dead letters to be %s: %d; add --yes to confirm", o.past, len(ids))
				}
			}
			did, err := o.each(cmd, client, ids)
			if err != nil {
				return fmt.Errorf("%s %d of %d, then: %w", o.past, did.Done, len(ids), err)
			}
			if err := o.tell(cmd, did, left, asJSON); err != nil || many {
				return err
			}
			return wereGone("no such dead letter; it may have been replayed or deleted", did.Gone)
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "all dead letters that exist now")
	filter.add(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "with a filter or --all: really")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// each orders letters in parts, and shows on a terminal how far it is.
func (o deadOrder) each(cmd *cobra.Command, client *admin.Client, ids []string) (all admin.Ordered, err error) {
	const part = 1000
	tell := watchCount(cmd, o.past)
	defer tell(-1, 0)
	for begin := 0; begin < len(ids); begin += part {
		did, err := o.do(client, cmd.Context(), ids[begin:min(begin+part, len(ids))])
		all.Done, all.Gone = all.Done+did.Done, append(all.Gone, did.Gone...)
		if err != nil {
			return all, err
		}
		tell(min(begin+part, len(ids)), len(ids))
	}
	return all, nil
}

// tell prints what was done, and how many letters --all or a filter skipped.
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
func allDead(ctx context.Context, client *admin.Client, f entry.DeadFilter, can func(entry.DeadLetter) bool) (ids []string, others int, err error) {
	err = client.AllDead(ctx, f, func(d entry.DeadLetter) error {
		if can(d) {
			ids = append(ids, d.ID)
		} else {
			others++
		}
		return nil
	})
	return ids, others, err
}
