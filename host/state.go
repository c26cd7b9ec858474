package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/plain"
)

func stateCommand() *cobra.Command {
	where := &clientFlags{}
	cmd := &cobra.Command{
		Use:   "state",
		Short: "Show or delete what plugins have stored in their state",
		Long: `A plugin's state is what its handlers put by Tx.Put. It stays when the plugin is
replaced or removed, until its handlers or you delete it.

A key can be deleted while the plugin runs. A handler that has read it, or listed
it, runs again from its start.`,
		Example: `  balhost state list
  balhost state list shop --prefix order/
  balhost state get shop order/17
  balhost state delete shop --prefix order/ --yes`,
		Args: subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	where.add(cmd)
	cmd.AddCommand(stateListCommand(where), stateGetCommand(where), stateDeleteCommand(where))
	return cmd
}

func stateListCommand(where *clientFlags) *cobra.Command {
	var (
		prefix, after string
		limit         int
		asJSON        bool
	)
	cmd := &cobra.Command{
		Use:     "list [PLUGIN]",
		Short:   "List the keys of a plugin in order; without PLUGIN, the plugins that have state",
		Example: "  balhost state list\n  balhost state list shop --prefix order/ --limit 10\n  balhost state list shop --json | jq -r '.items[].key'",
		Args:    arguments(0, 1),
		PreRunE: func(*cobra.Command, []string) error {
			if limit < 1 || limit > 1000 {
				return usagef("--limit %d: want 1 to 1000; use --after to see more", limit)
			}
			return nil
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			if len(args) == 0 {
				owners, err := client.StateOwners(cmd.Context())
				return tell(cmd, asJSON, owners, err, printStateOwners)
			}
			page, err := client.State(cmd.Context(), args[0], prefix, after, limit)
			return tell(cmd, asJSON, page, err, printState)
		}),
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "show keys that begin with this `text`")
	cmd.Flags().StringVar(&after, "after", "", "show those after this `key`")
	cmd.Flags().IntVar(&limit, "limit", 100, "show at most this many")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// tell prints v, to a person as print does, to a script as JSON; or returns err.
func tell[T any](cmd *cobra.Command, asJSON bool, v T, err error, print func(io.Writer, T) error) error {
	switch {
	case err != nil:
		return err
	case asJSON:
		return printJSON(cmd, v)
	}
	return print(cmd.OutOrStdout(), v)
}

func printStateOwners(out io.Writer, all admin.StateOwners) error {
	if len(all.Owners) == 0 {
		_, err := fmt.Fprintln(out, "no plugin has state")
		return err
	}
	t := newTable(out, "PLUGIN", "KEYS", "BYTES")
	for _, o := range all.Owners {
		more := ""
		if o.More {
			more = "+" // it is not counted to the end
		}
		t.row(o.Plugin, fmt.Sprint(o.Keys, more), fmt.Sprint(o.Bytes, more))
	}
	return t.flush()
}

// shownValue is how many bytes of a value a list shows.
const shownValue = 100

func printState(out io.Writer, page admin.StatePage) error {
	if len(page.Items) == 0 {
		_, err := fmt.Fprintln(out, "no keys")
		return err
	}
	t := newTable(out, "KEY", "VALUE")
	for _, it := range page.Items {
		var value bytes.Buffer
		if err := json.Compact(&value, it.Value); err != nil {
			return err
		}
		n := value.Len()
		if n > shownValue {
			value.Truncate(shownValue)
			fmt.Fprintf(&value, "… (%d bytes)", n)
		}
		t.row(it.Key, value.String())
	}
	if err := t.flush(); err != nil || page.Next == "" {
		return err
	}
	_, err := fmt.Fprintf(out, "more: --after %q\n", plain.Text(page.Next))
	return err
}

func stateGetCommand(where *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "get PLUGIN KEY",
		Short:   "Show the value of one key, as JSON",
		Example: "  balhost state get shop order/17",
		Args:    arguments(2, 2),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			item, err := client.StateValue(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return printJSON(cmd, item.Value)
		}),
	}
}

func stateDeleteCommand(where *clientFlags) *cobra.Command {
	var (
		prefix string
		yes    bool
	)
	cmd := &cobra.Command{
		Use:     "delete PLUGIN (KEY | --prefix TEXT --yes)",
		Short:   "Delete one key of a plugin, or all that begin with a text",
		Example: "  balhost state delete shop order/17\n  balhost state delete shop --prefix order/ --yes\n  balhost state delete shop --prefix '' --yes    # all of it",
		Args:    arguments(1, 2),
		PreRunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("prefix") == (len(args) == 2) {
				return usagef("give either a key or --prefix")
			}
			return nil
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			order := admin.StateOrder{Prefix: &prefix}
			if len(args) == 2 {
				order = admin.StateOrder{Key: &args[1]}
			} else if !yes {
				n, err := countState(cmd.Context(), client, args[0], prefix)
				if err != nil {
					return err
				}
				return usagef("keys to be deleted: %d; add --yes to confirm", n)
			}
			n, err := client.DeleteState(cmd.Context(), args[0], order)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted %d\n", n)
			return err
		}),
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "all keys that begin with this `text`; an empty one means all of the plugin's")
	cmd.Flags().BoolVar(&yes, "yes", false, "with --prefix: really")
	return cmd
}

func countState(ctx context.Context, client *admin.Client, plugin, prefix string) (n int, err error) {
	for after, more := "", true; more; {
		page, err := client.State(ctx, plugin, prefix, after, 1000)
		if err != nil {
			return 0, err
		}
		n, after, more = n+len(page.Items), page.Next, page.Next != ""
	}
	return n, nil
}
