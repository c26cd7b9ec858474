package main

import (
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
)

func runCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the host until it is told to stop",
		Long: `Runs the daemon in the foreground: connects to CCS, stores what comes, and feeds
it to the plugins. SIGINT or SIGTERM ends it in order: plugins finish what they
have, sessions and the ledger are closed. After kill -9 or a power cut the next
start recovers everything that was acked. SIGHUP applies the changed config file,
as balhost reload does.

It exits with 75 when it ended by intention, because the disk can't be trusted
any more: nothing was acked that is not stored. Start it again, as systemd does
with Restart=on-failure.`,
		Example: "  balhost run -c /etc/balhost/config.hcl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(path)
			if err != nil {
				return err
			}
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			return daemon.Run(cmd.Context(), cfg, daemon.Options{
				Version: version(),
				Log:     newLogger(cfg.Log, cmd.ErrOrStderr()),
				Load:    func() (config.Config, error) { return config.Load(path) },
				Hangup:  hangup,
			})
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfig, "the config `file`")
	return cmd
}

// newLogger logs as the config says.
func newLogger(l config.Log, out io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:       "balhost",
		Level:      hclog.LevelFromString(l.Level),
		JSONFormat: l.Format == "json",
		Output:     out,
	})
}
