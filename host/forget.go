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
)

func forgetCommand() *cobra.Command {
	var (
		where       clientFlags
		o           admin.ForgetOrder
		yes, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "forget PLUGIN",
		Short: "Forget a plugin that is gone for good: what waits for it, its categories, its pauses",
		Long: `Without --yes it only shows what there is. With it, what waits for the plugin becomes dead
letters with the reason "` + entry.ForgottenReason + `": upstreams of its categories, outcomes, receipts
and timers. With --delete they are deleted, and the plugin's dead letters too. Its state
stays, unless --state says that it is deleted. Then its pauses end, and its categories are
nobody's: an upstream that comes later goes to a plugin that claims its category, or waits.

Downstreams that it has sent go on. Nobody is told how they end: not a new plugin of that
name either, which gets what comes from then on.

A plugin that has a file in the plugins folder, or runs, is not forgotten: remove its file
first. If the command is interrupted, repeat it: it goes on with what is left.`,
		Example: `  balhost forget shop
  balhost forget shop --yes
  balhost forget shop --delete --state --yes
  balhost dead list --reason "` + entry.ForgottenReason + `"`,
		Args: arguments(1, 1),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			o.Plan = !yes
			did, err := withStages(cmd, client, func(ctx context.Context) (entry.Forgotten, error) { return client.Forget(ctx, args[0], o) })
			return tell(cmd, asJSON, did, err, forgetPrinter{args[0], o}.print)
		}),
	}
	where.add(cmd)
	cmd.Flags().BoolVar(&o.Delete, "delete", false, "delete what waits, and its dead letters, instead of making dead letters of it")
	cmd.Flags().BoolVar(&o.State, "state", false, "delete its state too")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// withStages orders what takes long, and says on stderr what the host does for it.
func withStages[T any](cmd *cobra.Command, client *admin.Client, order func(context.Context) (T, error)) (did T, err error) {
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	go func() { //house:go ended is awaited below
		defer close(ended)
		did, err = order(ctx)
	}()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for last := ""; ; {
		select {
		case <-ended:
			return did, err
		case <-tick.C:
			if now, err := client.Erasing(ctx); err == nil && now.Running && now.Stage != last {
				last = now.Stage
				fmt.Fprintln(cmd.ErrOrStderr(), last)
			}
		}
	}
}

// forgetPrinter prints for a person what there is of a plugin, and what becomes of it.
type forgetPrinter struct {
	plugin string
	order  admin.ForgetOrder
}

func (p forgetPrinter) print(out io.Writer, f entry.Forgotten) error {
	t := newTable(out, "WHAT", "COUNT", "WHAT BECOMES OF IT")
	if !p.order.Plan {
		t = newTable(out, "WHAT", "COUNT", "WHAT BECAME OF IT")
	}
	waits, dead, state := "dead letters", "stay (balhost dead list --plugin "+p.plugin+")", fmt.Sprintf("%d bytes, stay (balhost state list %s)", f.StateBytes, p.plugin)
	if p.order.Delete {
		waits, dead = "deleted", "deleted"
	}
	if p.order.State {
		state = "deleted"
	}
	for _, row := range []struct {
		what    string
		n       int
		becomes string
	}{
		{"upstreams that wait", f.Upstreams, waits}, {"outcomes that wait", f.Outcomes, waits}, {"receipts that wait", f.Receipts, waits},
		{"timers", f.Timers, waits}, {"dead letters", f.Dead, dead}, {"state keys", f.StateKeys, state},
		{"downstreams on their way", f.Downstreams, "go on; nobody is told how they end"},
		{"categories", len(f.Categories), "nobody's: " + strings.Join(f.Categories, ", ")}, {"pauses", f.Pauses, "end"},
	} {
		if row.n > 0 {
			t.row(row.what, row.n, row.becomes)
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	var err error
	if p.order.Plan {
		_, err = fmt.Fprintf(out, "\nTo forget %s: the same command with --yes\n", p.plugin)
	} else {
		_, err = fmt.Fprintf(out, "\n%s: %s\n", p.plugin, admin.SaidForgotten(f, nil))
	}
	return err
}
