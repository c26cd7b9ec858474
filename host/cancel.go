package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

func cancelCommand() *cobra.Command {
	var (
		where            clientFlags
		filter           pendingFilter
		all, yes, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "cancel (ID… | FILTER… --yes | --all --yes)",
		Short: "Cancel messages to devices that have not gone out yet",
		Long: `Cancels downstreams by their message ids, or by filters such as --device, whoever sent
them: a plugin, the API or balhost send. It works while a message waits: for its
--not-before, for the message before it in its group, or for a connection. One that
was sent, even if it waits for another attempt, stays; so does one that waited at a
restart of the host, unless its --not-before still lay ahead: it may have gone out.
The plugin that sent it hears the outcome "canceled".

If one that you name could not be canceled, its id is reported and the exit code is 1;
the others are done. With a filter or --all, those are counted. Several filters mean
the messages that fit all. Without --yes, a filter only says how many wait:
balhost messages --kind downstream --state waiting shows them.`,
		Example: `  balhost cancel 01JDE0Z3N4V5X6Y7Z8A9B0C1D2
  balhost cancel --device fGx9… --yes
  balhost cancel --plugin orders --min-age 2h --yes`,
		PreRunE: func(_ *cobra.Command, ids []string) error {
			given := 0
			for _, yes := range []bool{len(ids) > 0, all, !filter.any()} {
				if yes {
					given++
				}
			}
			if given != 1 {
				return usagef("give the ids of messages, or a filter such as --device, or --all")
			}
			return filter.check()
		},
		RunE: where.ask(func(cmd *cobra.Command, client *admin.Client, ids []string) error {
			if len(ids) == 0 {
				return cancelMany(cmd, client, filter, yes, asJSON)
			}
			did, err := client.Cancel(cmd.Context(), admin.CancelOrder{IDs: ids})
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
	filter.add(cmd)
	cmd.Flags().StringVar(&filter.plugin, "plugin", "", "only those that the plugin with this `name` sent")
	cmd.Flags().StringVar(&filter.category, "category", "", "only those that the plugin of this `category` sent: a downstream has none of its own")
	cmd.Flags().BoolVar(&all, "all", false, "all that wait now")
	cmd.Flags().BoolVar(&yes, "yes", false, "with a filter or --all: really")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// cancelMany cancels what a filter selects.
func cancelMany(cmd *cobra.Command, client *admin.Client, filter pendingFilter, yes, asJSON bool) error {
	if filter.category != "" {
		owner, err := ownerOf(cmd.Context(), client, filter.category)
		if err != nil {
			return err
		}
		if filter.plugin != "" && filter.plugin != owner {
			return fmt.Errorf("the category %q is of the plugin %s, not of %s", filter.category, owner, filter.plugin)
		}
		filter.plugin, filter.category = owner, ""
	}
	q := filter.narrow(admin.MessageQuery{Kinds: []string{admin.Downstream}, States: []entry.State{entry.StateWaiting}})
	bySession, n, err := idsOf(cmd.Context(), client, q)
	if err != nil {
		return err
	}
	if !yes {
		whose := ""
		if filter.plugin != "" {
			whose = " of the plugin " + filter.plugin
		}
		return usagef("downstreams%s to be canceled: %d; add --yes to confirm", whose, n)
	}
	var did admin.Ordered
	for _, session := range slices.Sorted(maps.Keys(bySession)) {
		part, err := client.Cancel(cmd.Context(), admin.CancelOrder{IDs: bySession[session], Session: session})
		did.Done, did.Gone = did.Done+part.Done, append(did.Gone, part.Gone...)
		if err != nil {
			return fmt.Errorf("canceled %d of %d, then: %w", did.Done, n, err)
		}
	}
	stay := len(did.Gone)
	if asJSON {
		return printJSON(cmd, map[string]int{"canceled": did.Done, "stay": stay})
	}
	text := fmt.Sprintf("canceled %d", did.Done)
	if stay > 0 {
		text += fmt.Sprintf("\n%d stay: they have gone out, or may have before the host was restarted", stay)
	}
	return printDone(cmd, false, nil, text)
}

// ownerOf is the plugin to which a category belongs.
func ownerOf(ctx context.Context, client *admin.Client, category string) (string, error) {
	s, err := client.Status(ctx)
	if err != nil {
		return "", err
	}
	for i := range s.Plugins {
		if p := &s.Plugins[i]; slices.Contains(p.Categories, category) && !slices.Contains(p.Lost, category) {
			return p.Name, nil
		}
	}
	return "", fmt.Errorf("no plugin claims the category %q; balhost plugins shows who claims which", category)
}
