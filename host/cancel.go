package main

import (
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
)

func cancelCommand() *cobra.Command {
	var (
		where  clientFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "cancel ID…",
		Short: "Cancel messages to devices that have not gone out yet",
		Long: `Cancels downstreams by their message ids, whoever sent them: a plugin, the API or
balhost send. It works while a message waits: for its --not-before, for the message
before it in its group, or for a connection. One that was sent, even if it waits for
another attempt, stays; so does one that waited at a restart of the host, unless its
--not-before still lay ahead: it may have gone out. The plugin that sent it hears the
outcome "canceled". If one could not be canceled, its id is reported and the exit code
is 1; the others are done.`,
		Example: "  balhost cancel 01JDE0Z3N4V5X6Y7Z8A9B0C1D2",
		Args:    arguments(1, math.MaxInt),
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, ids []string) error {
			did, err := client.Cancel(cmd.Context(), ids)
			if err != nil {
				return fmt.Errorf("canceled %d of %d, then: %w", did.Done, len(ids), err)
			}
			if err := printDone(cmd, asJSON, did, fmt.Sprintf("canceled %d", did.Done)); err != nil {
				return err
			}
			return wereGone("not canceled: it has gone out, has ended, or there is none", did.Gone)
		}),
	}
	where.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
