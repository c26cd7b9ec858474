package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/host/internal/told"
)

func restoreCommand() *cobra.Command {
	var (
		path, keyFile string
		asJSON        bool
	)
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a ledger from a backup, where there is none",
		Long: `Reads FILE to its end and makes the ledger in data_dir from it. There must be no
ledger, and no host may run on that data_dir. A file that is cut off, damaged or
written by a newer balhost is refused, and nothing of it is left. The ledger appears
as the last step. After a power cut before that, repeat it; no host starts until then.

What waited at the time of the backup waits again. If a plugin has handled it since,
it comes again with the same id, and a device may get a message twice. What was acked
after the backup is lost. Duplicates from CCS are found as before. An id that the lost
ledger used is not used again.

The ledger is encrypted if the config names a key file, whether or not the backup is.
An encrypted backup needs the key that the ledger had when it was taken: without
--key-file that of the config.

Run it as the user that runs the host.`,
		Example: `  balhost restore -c /etc/balhost/config.hcl /var/backups/balhost/2026-01-31.bak
  zstd -dc today.bak.zst | balhost restore -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadWith(config.LoadData, path)
			if err != nil {
				return err
			}
			file, err := openBackup(cmd, args[0])
			if err != nil {
				return err
			}
			defer file.Close() //nolint:errcheck // only read
			start := time.Now()
			from := bufio.NewReader(file)
			key, err := backupKey(from, keyFile, func() (config.Config, error) { return cfg, nil })
			if err != nil {
				return err
			}
			restored, err := daemon.Restore(cmd.Context(), cfg, quiet(cmd), from, key)
			file.tell(-1, 0)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], otherKey(err))
			}
			for _, p := range restored.Problems {
				fmt.Fprintf(cmd.ErrOrStderr(), "balhost: warning: the ledger was damaged when the backup was taken: %s\n", p)
			}
			return printDone(cmd, asJSON, restored, fmt.Sprintf("restored to %s in %s: commit %d of %s, %d records\nstart the host: balhost run -c %s",
				cfg.DataDir, short(time.Since(start)), restored.Commit, told.Stamp(restored.Taken), restored.Records, path))
		},
		Annotations: map[string]string{stopsWithin: daemon.StopLimit.String()},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfig, "the config `file`; its data_dir is where to restore to")
	cmd.Flags().StringVar(&keyFile, "key-file", "", "the key `file` of an encrypted backup; without it, that of the config")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// quiet logs only what a person must know.
func quiet(cmd *cobra.Command) hclog.Logger {
	return logger(hclog.LoggerOptions{Name: "balhost", Level: hclog.Warn}, cmd.ErrOrStderr())
}

// backupReader reads a backup, and shows how much was read.
type backupReader struct {
	io.ReadCloser
	done, about int64
	tell        func(done, about int64)
}

// openBackup opens a backup's file; - is standard input.
func openBackup(cmd *cobra.Command, path string) (*backupReader, error) {
	r := &backupReader{tell: watchProgress(cmd)}
	if path == "-" {
		r.ReadCloser = io.NopCloser(cmd.InOrStdin())
		return r, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil {
		r.about = info.Size()
	}
	r.ReadCloser = f
	return r, nil
}

func (r *backupReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.done += int64(n)
	r.tell(r.done, r.about)
	return n, err
}
