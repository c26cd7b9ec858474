package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/host/internal/hangup"
	"balhost/host/internal/plain"
	"balhost/sdk/logs"
	"balhost/sdk/outlet"
)

func runCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the host until it is told to stop",
		Long: `Runs the daemon in the foreground: connects to CCS, stores what comes, and feeds
it to the plugins. SIGINT or SIGTERM ends it in order: plugins finish what they
have, sessions and the ledger are closed, within 30 s in any case; a second signal
ends it at once. Nothing waits for whoever reads the log; a crash's trace is in
data_dir/crash.log as well. After kill -9 or a power cut the next
start recovers everything that was acked. SIGHUP applies the changed config file,
as balhost reload does.

It exits with 75 when it ended by intention, because the disk can't be trusted
any more: nothing was acked that is not stored. Start it again, as systemd does
with Restart=on-failure.`,
		Example: "  balhost run -c /etc/balhost/config.hcl",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(path)
			if err != nil {
				return err
			}
			stderr := cmd.ErrOrStderr()
			return daemon.Run(cmd.Context(), cfg, daemon.Options{
				Version:  version(),
				Log:      newLogger(cfg.Log, stderr),
				LogStats: logStats(stderr),
				Load:     func() (config.Config, error) { return config.Load(path) },
				Hangup:   hangup.C,
				Exit:     func(code int) { exit(stderr, code) },
				Overdue:  func() { overdue(stderr, daemon.StopLimit) },
			})
		},
		Annotations: map[string]string{stopsWithin: daemon.StopLimit.String()},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfig, "the config `file`")
	return cmd
}

// newLogger logs as the config says.
func newLogger(l config.Log, out io.Writer) hclog.Logger {
	return logger(hclog.LoggerOptions{
		Name:       "balhost",
		Level:      hclog.LevelFromString(l.Level),
		JSONFormat: l.Format == "json",
	}, out)
}

// logger logs to out, and tells of the lines that don't get there in its own format.
func logger(o hclog.LoggerOptions, out io.Writer) hclog.Logger {
	if w, ok := behind(out).(*outlet.Writer); ok {
		w.Notice(func(n uint64) []byte {
			var line bytes.Buffer
			told := o // whatever the level
			told.Output, told.Level = &line, hclog.Warn
			hclog.New(&told).Warn(fmt.Sprintf("%d lines dropped: nobody read the log, or it could not be written", n))
			return line.Bytes()
		})
	}
	o.Output = plain.Writer{W: out}
	return logs.New(&o)
}

// logStats tells what became of the lines of a log.
func logStats(out io.Writer) func() outlet.Stats {
	if w, ok := behind(out).(*outlet.Writer); ok {
		return w.Stats
	}
	return nil
}
