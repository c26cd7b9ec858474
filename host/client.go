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
	config, admin             string
	caFile, certFile, keyFile string
}

func (f *clientFlags) add(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVarP(&f.config, "config", "c", defaultConfig, "the host's config `file`; its admin block has the address")
	flags.StringVar(&f.admin, "admin", "", "ask at this `address` instead (host:port, https://host:port or unix:PATH); default $BALHOST_ADMIN, with $BALHOST_ADMIN_TOKEN")
	flags.StringVar(&f.caFile, "ca-file", "", "a `file` with the CA of the certificate at https://; default $BALHOST_ADMIN_CA_FILE, or the system's CAs")
	flags.StringVar(&f.certFile, "cert-file", "", "a `file` with the certificate to show if the host wants one; default $BALHOST_ADMIN_CERT_FILE")
	flags.StringVar(&f.keyFile, "key-file", "", "the `file` with its key; default $BALHOST_ADMIN_KEY_FILE")
}

// client finds the host by --admin, then $BALHOST_ADMIN, then the config. Without any of
// these it uses the default address.
func (f *clientFlags) client(cmd *cobra.Command) (*admin.Client, error) {
	own := admin.Address{
		Listen: cmp.Or(f.admin, os.Getenv("BALHOST_ADMIN")), Token: os.Getenv("BALHOST_ADMIN_TOKEN"),
		CAFile:   cmp.Or(f.caFile, os.Getenv("BALHOST_ADMIN_CA_FILE")),
		CertFile: cmp.Or(f.certFile, os.Getenv("BALHOST_ADMIN_CERT_FILE")), KeyFile: cmp.Or(f.keyFile, os.Getenv("BALHOST_ADMIN_KEY_FILE")),
	}
	if own.Listen != "" {
		return clientAt(own)
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
	there := addressOf(a)
	there.Token, there.CAFile = cmp.Or(there.Token, own.Token), own.CAFile
	if own.CertFile != "" || own.KeyFile != "" {
		there.CertFile, there.KeyFile = own.CertFile, own.KeyFile
	}
	return clientAt(there)
}

// clientAt is a client for that address; what is wrong with it is the caller's to mend.
func clientAt(a admin.Address) (*admin.Client, error) {
	client, err := a.Client()
	if err != nil {
		return nil, usagef("%v", err)
	}
	return client, nil
}

// addressOf is where the host with this admin block is, for a command on the same machine.
// It knows the host by its certificate, and shows the same where the host wants one.
func addressOf(a config.Admin) admin.Address {
	if a.CertFile == "" {
		return admin.Address{Listen: a.Listen, Token: a.Best().Reveal()}
	}
	return admin.Address{Listen: "https://" + a.Listen, Token: a.Best().Reveal(), Own: a.CertFile, CertFile: a.CertFile, KeyFile: a.KeyFile}
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

// adminURL is where a browser finds a host with this admin block.
func adminURL(a config.Admin) string {
	if a.CertFile != "" {
		return "https://" + a.Listen
	}
	return "http://" + a.Listen
}
