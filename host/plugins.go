package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
)

func pluginsCommand() *cobra.Command {
	where := &clientFlags{}
	asJSON := false
	cmd := &cobra.Command{
		Use:   "plugins",
		Short: "Show the plugins of the running host",
		Long: `Shows a row for each plugin, and below the rows what a person should know.

OLDEST is how long the first of the PENDING events has been stored. P50 and P99 are how
long the plugin takes to handle an event: half of those of the last 5 to 10 minutes took
no longer than P50, and 99 of 100 no longer than P99.`,
		Example: "  balhost plugins\n  balhost plugins --json | jq -r '.[] | select(.state != \"running\") | .name'",
		Args:    arguments(0, 0),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, _ []string) error {
			s, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, s.Plugins)
			}
			return printPlugins(cmd.OutOrStdout(), s.Plugins, s.Now)
		}),
	}
	where.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func rollbackCommand() *cobra.Command {
	return pluginCommand("rollback", "Go back to a plugin's previous proven binary",
		`Starts the content that served before this one, hands over to it, and keeps it
until the file in the plugins folder changes. Repeat it to go back one more
version: the host keeps the last three.

"balhost reload PLUGIN --force" undoes it: the file's content serves again.`, "rolled back")
}

// pluginCommand has the host do to one plugin what the command's name says.
func pluginCommand(name, short, long, did string) *cobra.Command {
	where := &clientFlags{}
	cmd := &cobra.Command{
		Use:     name + " PLUGIN",
		Short:   short,
		Long:    strings.TrimSpace(short + ".\n\n" + long),
		Example: "  balhost " + name + " chatroom",
		Args:    arguments(1, 1),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			if err := client.Plugin(cmd.Context(), name, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", args[0], did)
			return err
		}),
	}
	where.add(cmd)
	return cmd
}

func logLevelCommand() *cobra.Command {
	where := &clientFlags{}
	cmd := &cobra.Command{
		Use:   "log-level PLUGIN [LEVEL]",
		Short: "Change how much a running plugin logs",
		Long: `Changes the level of a plugin's log (trace, debug, info, warn, error) until the
host ends. Without a level, the plugin gets the host's level from the config again.`,
		Example: "  balhost log-level chatroom debug",
		Args:    arguments(1, 2),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			level := ""
			if len(args) == 2 {
				level = args[1]
			}
			return client.LogLevel(cmd.Context(), args[0], level)
		}),
	}
	where.add(cmd)
	return cmd
}

func reloadCommand() *cobra.Command {
	where := &clientFlags{}
	var order admin.ReloadOrder
	cmd := &cobra.Command{
		Use:   "reload [PLUGIN]",
		Short: "Apply the changed config, and look at the plugins folder now",
		Long: `Reads the running host's config file again, as SIGHUP does. It applies everything,
or nothing if something is wrong. A plugin whose block changed gets a new process,
which takes over from the old one. A changed session is tried while the old one
still serves: it logs in to CCS, or asks FCM. If the server accepts it, the new one
takes over; if not, the reload is refused. With the name of a plugin, only that plugin's file is looked at.

A plugin that did not start, since it was slow or lacked something, is tried again at
once. One whose content was refused for good is tried again when its file changes, or
with --force. --force also restarts an unchanged plugin, ends a rollback, and uses
changed sessions without trying them.`,
		Example: "  balhost reload\n  balhost reload chatroom --force",
		Args:    arguments(0, 1),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, args []string) error {
			if len(args) > 0 {
				order.Plugin = args[0]
			}
			did, err := client.Reload(cmd.Context(), order)
			if err != nil {
				return err
			}
			if len(did.Changed) == 0 {
				did.Changed = []string{"nothing has changed"}
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.Join(did.Changed, "\n"))
			return err
		}),
	}
	where.add(cmd)
	cmd.Flags().BoolVar(&order.Force, "force", false, "try refused content again, end a rollback, restart unchanged plugins, and don't try changed sessions first")
	return cmd
}
