package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/plain"
)

func stuckCommand() *cobra.Command {
	where := &clientFlags{}
	cmd := &cobra.Command{
		Use:   "stuck",
		Short: "Show handlers that go on after their time is up, or give them up",
		Long: `A handler whose handler_timeout has been over for 5 seconds, and that goes on all the
same, is stuck. Until then, balhost explain says who has a message, and since when.
Only its own lane waits, such as the messages of one device. When handlers of a
plugin fill a quarter of its max_in_flight, the host restarts the plugin.

"balhost stuck giveup ID" lets the lane go on before that.`,
		Example: "  balhost stuck\n  balhost stuck giveup 01JD… --yes",
		Args:    arguments(0, 0),
	}
	where.add(cmd)
	shows(cmd, where, func(ctx context.Context, c *admin.Client) (admin.StuckPage, error) { return c.Stuck(ctx) }, printStuck)
	cmd.AddCommand(giveUpCommand(where))
	return cmd
}

func printStuck(out io.Writer, page admin.StuckPage) error {
	if len(page.Stuck) == 0 {
		_, err := fmt.Fprintln(out, "no handler is stuck: none has gone on for 5s after its handler_timeout")
		return err
	}
	t := newTable(out, "EVENT", "PLUGIN", "KIND", "DEVICE", "CATEGORY", zoned("SINCE", time.Now()), "RUNNING", "BEHIND IT", "LANE")
	for _, s := range page.Stuck {
		lane := "waits"
		if !s.GivenUp.IsZero() {
			lane = "was given up"
		}
		t.row(s.Event, s.Plugin, s.Kind, plain.Brief(s.Device), s.Category, s.Started.Local().Format(time.DateTime),
			short(time.Duration(s.RunningSeconds*float64(time.Second))), s.Behind, lane)
	}
	return t.flush()
}

func giveUpCommand(where *clientFlags) *cobra.Command {
	var (
		o           admin.GiveUpOrder
		yes, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "giveup ID",
		Short: "Let a lane go on whose handler is stuck",
		Long: `Makes the event of a stuck handler a dead letter, and its lane goes on at once with the
next one. With --replay the event goes to the end of its lane instead, and is tried
again there.

Nothing can end a handler inside of its process. The host cancels its context, and
what it does from now on by its Tx never counts. But it may still run, beside the
next message of its lane, and do other things: answer, write files, call services.
That is why --yes is needed. The plugin's restart ends it for sure: balhost reload
PLUGIN --force. Until it returns, it keeps a place of max_in_flight, and counts when the host
decides whether the plugin hangs.

A handler that is in its time is not given up.`,
		Example: "  balhost stuck giveup 01JDE0Z3N4V5X6Y7Z8A9B0C1D2 --yes\n  balhost stuck giveup 01JDE0Z3N4V5X6Y7Z8A9B0C1D2 --replay --yes",
		Args:    arguments(1, 1),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			if !yes {
				return usagef("the handler of %s may still run, beside the next message of its lane; add --yes to give it up", args[0])
			}
			o.ID = args[0]
			if err := client.GiveUp(cmd.Context(), o); err != nil {
				return err
			}
			text := "given up: it is a dead letter now; see: balhost dead show " + o.ID
			if o.Replay {
				text = "given up: it is at the end of its lane now"
			}
			return printDone(cmd, asJSON, map[string]any{"given_up": o.ID, "replay": o.Replay}, text)
		}),
	}
	cmd.Flags().BoolVar(&o.Replay, "replay", false, "put the event at the end of its lane")
	cmd.Flags().BoolVar(&yes, "yes", false, "really")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
