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
		Long: `Runs the daemon in the foreground: opens its sessions, stores what comes, and gives
it to the plugins. SIGINT or SIGTERM stops it: plugins finish what they have, and
sessions and the ledger are closed. That takes at most 30 s. A second signal ends
it at once. The host never waits for the reader of its log. A crash's trace is
also in data_dir/crash.log. After kill -9 or a power cut, the next start recovers
everything that was acked. SIGHUP applies the changed config file, as balhost
reload does.

Exit code 75 means that it ended on purpose, because the disk failed or is full.
Nothing that was acked is lost. Start it again, as systemd does with
Restart=on-failure.`,
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

// logger logs to out. It also logs how many lines were lost, in the same format.
func logger(o hclog.LoggerOptions, out io.Writer) hclog.Logger {
	if w, ok := behind(out).(*outlet.Writer); ok {
		w.Notice(func(n uint64) []byte {
			var line bytes.Buffer
			told := o // logs at every level
			told.Output, told.Level = &line, hclog.Warn
			hclog.New(&told).Warn(fmt.Sprintf("%d lines dropped: nobody read the log, or it could not be written", n))
			return line.Bytes()
		})
	}
	o.Output = plain.Writer{W: out}
	return logs.New(&o)
}

// logStats counts the lines of a log that were lost.
func logStats(out io.Writer) func() outlet.Stats {
	if w, ok := behind(out).(*outlet.Writer); ok {
		return w.Stats
	}
	return nil
}
