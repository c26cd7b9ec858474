package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/host/internal/plain"
	"balhost/host/internal/plugincheck"
	"balhost/host/internal/pluginhost"
)

// pluginCheckFlags are the flags of plugin check.
type pluginCheckFlags struct {
	config   string // a config.hcl; "": none
	object   string // the plugin's own config; "": that of the file
	data     []string
	category string
	messages int
	only     []string
	asJSON   bool
}

func pluginCheckCommand() *cobra.Command {
	var f pluginCheckFlags
	cmd := &cobra.Command{
		Use:   "check FILE|FOLDER",
		Short: "Try a plugin in any language: does it keep to the contract?",
		Long: `Starts the plugin as a host does, without a host, and treats it as a host will and
as badly as life will. It prints a row for each thing that it tries, with what it
found, and below a row that fails or warns what to mend. The contract is
sdk/wire/PROTOCOL.md.

The check does not know what the plugin's messages mean. Give it samples of what
devices send, with --data. A handler may refuse a sample (RETRY or REJECT). The row
then says so, and what only a sample that is handled would show is not checked.

` + checkedRows() + `

Exit codes: 0 no row fails, 1 a row fails, 2 wrong arguments, 78 the config is wrong.`,
		Example: `  balhost plugin check bin/examples/echo
  balhost plugin check ./chatroom --data '{"do":"join","room":"r","name":"Ann"}' --config '{"max_members":5}'
  balhost plugin check plugins/orders -c config.hcl     # with its block, and the host's sessions
  balhost plugin check ./orders --only load,memory --messages 100000
  balhost plugin check ./orders --json | jq -r '.rows[] | select(.verdict == "fails") | .found'`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options(args[0])
			if err != nil {
				return err
			}
			if !f.asJSON {
				o.Tell = rowPrinter(cmd.OutOrStdout())
			}
			report, err := plugincheck.Run(cmd.Context(), o)
			if wrong := (plugincheck.UnknownRow{}); errors.As(err, &wrong) {
				return usagef("--only: %v", err)
			} else if err != nil {
				return err
			}
			if f.asJSON {
				err = printJSON(cmd, report)
			} else {
				fmt.Fprintf(cmd.OutOrStdout(), "checked in %.1f s\n", report.Took)
			}
			return errors.Join(err, refusedBy(report))
		},
	}
	cmd.Flags().StringVarP(&f.config, "config-file", "c", "", "the `file` config.hcl with the plugin's block and the sessions; without it the defaults")
	cmd.Flags().StringVar(&f.object, "config", "", "the plugin's own config, a `JSON` object")
	cmd.Flags().StringArrayVar(&f.data, "data", nil, "what a device sends in data, `JSON`; give it several times for several samples")
	cmd.Flags().StringVar(&f.category, "category", "", "the `category` of upstreams; without it the plugin's first")
	cmd.Flags().IntVar(&f.messages, "messages", 10_000, "how many messages the row load delivers")
	cmd.Flags().StringSliceVar(&f.only, "only", nil, "check these `rows` only, with commas between them")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

// checkedRows is the list of rows for the help.
func checkedRows() string {
	var text strings.Builder
	text.WriteString("The rows:\n")
	for _, r := range plugincheck.Rows() {
		fmt.Fprintf(&text, "  %-13s %s\n", r[0], r[1])
	}
	return strings.TrimRight(text.String(), "\n")
}

// options are what the flags mean for the plugin at path.
func (f pluginCheckFlags) options(path string) (o plugincheck.Options, err error) {
	o = plugincheck.Options{Path: path, Version: version(), Category: f.category, Messages: f.messages, Only: f.only}
	if f.messages < 1 {
		return o, usagef("--messages %d: want 1 or more", f.messages)
	}
	if f.config != "" {
		cfg, err := loadConfig(f.config)
		if err != nil {
			return o, err
		}
		if path, err = filepath.Abs(path); err != nil {
			return o, err
		}
		o.Bounds = pluginhost.Bounds{Bytes: cfg.PluginBytes, Entries: cfg.PluginEntries}
		o.Plugin = daemon.PluginOptions(cfg.Plugin(filepath.Base(path)))
		o.Sessions = toldSessions(cfg.Sessions)
	}
	if f.object != "" {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(f.object), &object); err != nil || object == nil {
			return o, usagef("--config is no JSON object; write for example --config '{\"max_members\":5}', and give a config.hcl with -c")
		}
		o.Plugin.Config = json.RawMessage(f.object)
	}
	for _, data := range f.data {
		if !json.Valid([]byte(data)) {
			return o, usagef("--data %s is not JSON; write for example --data '{\"text\":\"hi\"}'", data)
		}
		o.Data = append(o.Data, json.RawMessage(data))
	}
	return o, nil
}

// toldSessions are a config's sessions as plugins are told them.
func toldSessions(all []config.Session) (told []plugincheck.Session) {
	for _, s := range all {
		told = append(told, plugincheck.Session{Name: s.Name, Transport: s.Transport()})
	}
	return told
}

// refusedBy is the error that makes the command fail; nil: no row fails.
func refusedBy(r plugincheck.Report) error {
	if names := r.Names(plugincheck.Fails); names != nil {
		return fmt.Errorf("%s does not keep to the contract: %s", r.Plugin, strings.Join(names, ", "))
	}
	if names := r.Names(plugincheck.Unknown); names != nil {
		return fmt.Errorf("%s could not be checked: %s", r.Plugin, strings.Join(names, ", "))
	}
	return nil
}

// rowPrinter prints each row as soon as it is there: a check takes a while.
func rowPrinter(out io.Writer) func(plugincheck.Row) {
	const columns = "%-13s %-14s %s\n"
	head := sync.OnceFunc(func() { fmt.Fprintf(out, columns, "ROW", "VERDICT", "FOUND") })
	return func(r plugincheck.Row) {
		head()
		fmt.Fprintf(out, columns, r.Name, r.Verdict, plain.Text(r.Found))
		if r.Mend != "" {
			fmt.Fprintf(out, columns, "", "", "mend: "+plain.Text(r.Mend))
		}
	}
}
