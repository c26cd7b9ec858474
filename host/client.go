package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
)

// defaultConfig is the config file unless -c names another one.
const defaultConfig = "config.hcl"

// clientFlags say how a command finds the running host.
type clientFlags struct {
	config, admin string
}

func (f *clientFlags) add(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVarP(&f.config, "config", "c", defaultConfig, "the host's config `file`; its admin block has the address")
	cmd.PersistentFlags().StringVar(&f.admin, "admin", "", "ask at this `address` instead (host:port or unix:PATH); default $BALHOST_ADMIN, with $BALHOST_ADMIN_TOKEN")
}

// client finds the host by --admin, then $BALHOST_ADMIN, then the config. Without any of
// these it uses the default address.
func (f *clientFlags) client(cmd *cobra.Command) (*admin.Client, error) {
	if address := cmp.Or(f.admin, os.Getenv("BALHOST_ADMIN")); address != "" {
		return admin.NewClient(address, os.Getenv("BALHOST_ADMIN_TOKEN")), nil
	}
	var a config.Admin
	err := daemon.Answers(f.config+", or a file that it names,", func() error {
		got, err := config.LoadAdmin(f.config)
		if errors.Is(err, os.ErrNotExist) && !cmd.Flags().Changed("config") {
			got, err = config.DefaultAdmin(), nil
		}
		if err != nil {
			return wrongConfig{err}
		}
		a = got
		return nil
	})
	if err != nil {
		return nil, err
	}
	return admin.NewClient(a.Listen, cmp.Or(a.Best().Reveal(), os.Getenv("BALHOST_ADMIN_TOKEN"))), nil
}

// ask makes a command's code of do, which gets a client of the running host.
func (f *clientFlags) ask(do func(*cobra.Command, *admin.Client, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		client, err := f.client(cmd)
		if err != nil {
			return err
		}
		defer client.Close()
		return do(cmd, client, args)
	}
}

// shows makes cmd show what get has of the running host: to a person as print does,
// to a script as JSON.
func shows[T any](cmd *cobra.Command, where *clientFlags, get func(context.Context, *admin.Client) (T, error), print func(io.Writer, T) error) {
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = where.ask(func(cmd *cobra.Command, client *admin.Client, _ []string) error {
		v, err := get(cmd.Context(), client)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printJSON(cmd, v)
		}
		return print(cmd.OutOrStdout(), v)
	})
}

// whereToAsk says what to do when no host answers a command with clientFlags.
func whereToAsk(cmd *cobra.Command) string {
	switch path, admin := cmd.Flag("config"), cmd.Flag("admin"); {
	case admin != nil && admin.Changed:
		return "is the address of --admin the one in its config's admin block?"
	case os.Getenv("BALHOST_ADMIN") != "":
		return "is $BALHOST_ADMIN the address in its config's admin block?"
	case path != nil:
		return "start it with: balhost run -c " + path.Value.String()
	}
	return "start it with: balhost run"
}
