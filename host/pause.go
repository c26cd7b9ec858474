package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
)

func pauseCommand() *cobra.Command {
	list, where := false, &clientFlags{}
	cmd := pausing(where, "pause", "Hold a plugin's events, one device's or lane's, or a session until it is resumed", (*admin.Client).Pause)
	cmd.Long = `Nothing is lost by a pause, and a restart of the host keeps it. balhost status and
/readyz warn of all that is paused, with the command that ends it.

PLUGIN: it gets no more events. They are stored, acked to CCS, and wait. Those that it
has already go on.
PLUGIN --device TOKEN: the same for one device's upstreams and the timers that are
ordered with them. What stands behind them in a lane waits too.
PLUGIN --lane KEY: the same for what has this ordering key, as the order of the plugin
reads it from the data ("lobby" for key:data.room), whatever its device is.
--session NAME --intake: nothing that comes is stored or acked, as if the disk were
full. CCS and devices send it again.
--session NAME --delivery: no downstream goes out. What is in flight ends as usual.
What waits can expire: a TTL goes on. Without --intake and --delivery it is both.`
	cmd.Example = "  balhost pause chatroom\n  balhost pause chatroom --device fGx9…\n  balhost pause chatroom --lane lobby\n  balhost pause --session main --delivery\n  balhost pause --list"
	cmd.Flags().BoolVar(&list, "list", false, "show what is paused")
	asJSON := cmd.Flags().Bool("json", false, "with --list: print JSON")
	check, run := cmd.PreRunE, cmd.RunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if list {
			return nil
		}
		return check(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !list {
			return run(cmd, args)
		}
		return where.ask(func(cmd *cobra.Command, client *admin.Client, _ []string) error {
			page, err := client.Pauses(cmd.Context())
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(cmd, page)
			}
			return printPauses(cmd.OutOrStdout(), page)
		})(cmd, args)
	}
	return cmd
}

func resumeCommand() *cobra.Command {
	cmd := pausing(&clientFlags{}, "resume", "End a pause of a plugin, a device, a lane or a session", (*admin.Client).Resume)
	cmd.Long = `Ends a pause. What waited goes on in its order. The device is named by its token, and
the lane by its key, or as balhost pause --list shows them.`
	cmd.Example = "  balhost resume chatroom\n  balhost resume chatroom --device fGx9…\n  balhost resume --session main"
	return cmd
}

// pausing is what pause and resume have in common.
func pausing(where *clientFlags, verb, short string, do func(*admin.Client, context.Context, admin.PauseOrder) error) *cobra.Command {
	var o admin.PauseOrder
	cmd := &cobra.Command{
		Use:   verb + " (PLUGIN [--device TOKEN | --lane KEY] | --session NAME [--intake | --delivery])",
		Short: short,
		Args:  arguments(0, 1),
		PreRunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && o.Plugin != "" {
				return usagef("give the plugin once: %s, or --plugin %s", args[0], o.Plugin)
			} else if len(args) == 1 {
				o.Plugin = args[0]
			}
			if err := o.Check(); err != nil {
				return usagef("%v; balhost %s --help has examples", err, verb)
			}
			return nil
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, _ []string) error {
			if err := do(client, cmd.Context(), o); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is %sd\n", pausedThing(o), verb)
			return err
		}),
	}
	where.add(cmd)
	cmd.Flags().StringVar(&o.Plugin, "plugin", "", "the plugin with this `name`; the same as PLUGIN")
	cmd.Flags().StringVar(&o.Device, "device", "", "only what is of the device with this `token`")
	cmd.Flags().StringVar(&o.Lane, "lane", "", "only what has this ordering `key`")
	cmd.Flags().StringVar(&o.Session, "session", "", "the session with this `name`; with --device, the one that the device belongs to, if there are several")
	cmd.Flags().BoolVar(&o.Intake, "intake", false, "of the session, only what comes in")
	cmd.Flags().BoolVar(&o.Delivery, "delivery", false, "of the session, only what goes out")
	return cmd
}

func pausedThing(o admin.PauseOrder) string {
	switch {
	case o.Device != "":
		return "device " + shortened(o.Device) + " of " + o.Plugin
	case o.Lane != "":
		return "lane " + shortened(o.Lane) + " of " + o.Plugin
	case o.Plugin != "":
		return o.Plugin
	case o.Intake && !o.Delivery:
		return "the intake of " + o.Session
	case o.Delivery && !o.Intake:
		return "the delivery of " + o.Session
	}
	return o.Session
}

func printPauses(out io.Writer, page admin.PausePage) error {
	if len(page.Pauses) == 0 {
		_, err := fmt.Fprintln(out, "nothing is paused")
		return err
	}
	t := newTable(out, "WHAT", "PART", zoned("SINCE", time.Now()), "RESUME WITH")
	for _, p := range page.Pauses {
		what, since := "plugin "+p.Plugin, ""
		if p.Plugin == "" {
			what = "session " + p.Session
		}
		if p.Device != "" {
			p.Part = "device " + p.Device
		} else if p.Lane != "" {
			p.Part = "lane " + p.Lane
		}
		if !p.Since.IsZero() {
			since = p.Since.Local().Format(time.DateTime)
		}
		t.row(what, p.Part, since, p.Resume)
	}
	return t.flush()
}
