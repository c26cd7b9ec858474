package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/plain"
)

func bindingsCommand() *cobra.Command {
	var (
		where  clientFlags
		q      admin.BindingQuery
		full   bool
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "bindings [USER]",
		Short: "Show which device belongs to which user of the running host's gateway",
		Long: `Where a user's credential doesn't say which device it is, the device says so itself, and
belongs to the user that used it first. A user has at most 20 devices.

Devices are shown by their beginning; --full and --json show all of it.`,
		Example: `  balhost device bindings
  balhost device bindings alice --full
  balhost device bindings --from "$TOKEN" --json`,
		Args: arguments(0, 1),
		PreRunE: func(cmd *cobra.Command, args []string) error {
			if q.Limit < 1 || q.Limit > 1000 {
				return usagef("--limit %d: want 1 to 1000 users; use --after to see more", q.Limit)
			}
			if len(args) == 1 && cmd.Flags().Changed("from") {
				return usagef("give either a user or --from")
			}
			return nil
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			if len(args) == 1 {
				q.User = args[0]
			}
			page, err := client.Bindings(cmd.Context(), q)
			return tell(cmd, asJSON, page, err, bindingsPrinter{full}.print)
		}),
	}
	where.add(cmd)
	cmd.Flags().StringVar(&q.Session, "session", "", "`name` of the session, if several have a gateway")
	cmd.Flags().StringVar(&q.From, "from", "", "show who has this device: a registration `token` or FID")
	cmd.Flags().StringVar(&q.After, "after", "", "show users after this `name`")
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "show at most this many users")
	cmd.Flags().BoolVar(&full, "full", false, "show devices whole")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// bindingsPrinter prints bindings for a person.
type bindingsPrinter struct{ full bool }

func (p bindingsPrinter) print(out io.Writer, page admin.BindingPage) error {
	if len(page.Bindings) == 0 {
		_, err := fmt.Fprintln(out, "no devices of users")
		return err
	}
	t := newTable(out, "USER", "DEVICE", "USED")
	for _, b := range page.Bindings {
		user, used, from := b.User, b.Used.Local().Format(time.DateOnly), b.From
		if b.Used.IsZero() {
			user, used = "(none can have it: a credential names it)", "-"
		}
		if !p.full {
			from = plain.Brief(from)
		}
		t.row(user, from, used)
	}
	if err := t.flush(); err != nil || page.Next == "" {
		return err
	}
	_, err := fmt.Fprintf(out, "more: --after %q\n", plain.Text(page.Next))
	return err
}

func unbindCommand() *cobra.Command {
	var (
		where  clientFlags
		o      admin.UnbindOrder
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "unbind FROM...",
		Short: "Take devices from their users, so that who signs in next on them gets them",
		Long: `The device's next connection binds it again, to whoever signs in then. A connection
that it has now goes on. "balhost device bindings USER --full" shows a user's devices.`,
		Example: `  balhost device unbind "$TOKEN"
  balhost device bindings alice --json | jq -r '.bindings[].from' | xargs balhost device unbind`,
		Args: arguments(1, 1000),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			o.From = args
			did, err := client.Unbind(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := tell(cmd, asJSON, did, nil, printUnbound); err != nil || len(did.Gone) == 0 {
				return err
			}
			return fmt.Errorf("%d of %d belong to nobody: give them whole, as in --full", len(did.Gone), len(args))
		}),
	}
	where.add(cmd)
	cmd.Flags().StringVar(&o.Session, "session", "", "`name` of the session, if several have a gateway")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printUnbound(out io.Writer, did admin.Unbound) error {
	_, err := fmt.Fprintf(out, "unbound %d\n", did.Done)
	return err
}
