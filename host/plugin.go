package main

import (
	"github.com/spf13/cobra"
)

// pluginGroup groups what one needs to make plugins.
func pluginGroup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Make a new plugin, and check one that you have made",
		Long: `Commands for those who write plugins. They need no host. What runs in a host
is shown by "balhost plugins".`,
		Example: "  balhost plugin new weather --lang go\n  balhost plugin check ./chatroom --data '{\"do\":\"join\",\"room\":\"r\",\"name\":\"Ann\"}'",
		Args:    subcommandOnly,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(pluginNewCommand(), pluginCheckCommand())
	return cmd
}
