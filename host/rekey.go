package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/backup"
	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/host/internal/keyfile"
	"balhost/host/internal/mend"
)

func keyGroup() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "key",
		Short:   "Make a key file that encrypts the ledger",
		Example: "  balhost key new /etc/balhost/ledger.key",
		Args:    subcommandOnly,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "new FILE",
		Short: "Make a key file",
		Long: `Makes a new random key in FILE, which only you can read. Give it to the host's user, and
name it in the config:

  ledger {
    encryption_key_file = "FILE"
  }

A ledger that does not exist yet is encrypted from its first start on. For one that does:
balhost rekey. Without the key nobody can read the ledger or its backups: keep a copy
where neither of them is.`,
		Example: "  sudo -u balhost balhost key new /etc/balhost/ledger.key",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := keyfile.Make(args[0])
			if err != nil {
				return mend.With(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "made %v\nkeep a copy of it elsewhere: without it nobody can read what is encrypted\n", key)
			return err
		},
	})
	return cmd
}

func rekeyCommand() *cobra.Command {
	var (
		path, from string
		asJSON     bool
	)
	cmd := &cobra.Command{
		Use:   "rekey",
		Short: "Encrypt the ledger as the config says: with a key, another key, or none",
		Long: `Writes all of the ledger again, encrypted by the key in ledger.encryption_key_file, or not
encrypted if the config names none. --from is the key that it is encrypted by now; leave it
out if it is not encrypted. Stop the host first: its files are written anew, while it would go
on writing to the old ones.

A power cut leaves the ledger as it was, or as it is to be. Then repeat the command, or start
the host: either ends what was begun. Meanwhile the ledger takes its space twice. If others
fill the disk meanwhile, the command fails, perhaps with a Go trace (SIGBUS, status 2): the
ledger is as it was. Free some space, and repeat the command.

The data keys are new too. So the old key opens nothing of the ledger any more, not even with
a copy of the old data keys. What it still opens: copies of data_dir and backups from before,
and the old files, which are deleted and not written over. Keep the old key as long as you
keep such backups: balhost restore --key-file.

Run it as the user that runs the host.`,
		Example: `  balhost rekey -c /etc/balhost/config.hcl                                   # encrypt it
  balhost rekey -c /etc/balhost/config.hcl --from /etc/balhost/old.key       # another key, or none`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadWith(config.LoadData, path)
			if err != nil {
				return err
			}
			var was *keyfile.Key
			if from != "" {
				if was, err = keyfile.Read(from); err != nil {
					return mend.With(err)
				}
			}
			start := time.Now()
			did, err := daemon.Rekey(cmd.Context(), cfg, quiet(cmd), was)
			if err != nil {
				return err
			}
			for _, p := range did.Problems {
				fmt.Fprintf(cmd.ErrOrStderr(), "balhost: warning: the ledger is damaged, and was copied as it is: %s\n", p) //nolint:errcheck // a warning
			}
			state := "is not encrypted"
			if cfg.Ledger.KeyFile != "" {
				state = "is encrypted by " + cfg.Ledger.KeyFile
			}
			text := fmt.Sprintf("the ledger in %s %s: commit %d, %d records written again in %s", cfg.DataDir, state, did.Commit, did.Records, short(time.Since(start)))
			if did.Already {
				text = fmt.Sprintf("the ledger in %s %s already: nothing was to be done", cfg.DataDir, state)
			}
			return printDone(cmd, asJSON, did, text)
		},
		Annotations: map[string]string{stopsWithin: daemon.StopLimit.String()},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfig, "the config `file`: its ledger becomes as it says")
	cmd.Flags().StringVar(&from, "from", "", "the key `file` that the ledger is encrypted by now")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// backupKey is the key for a backup: of a file that was named, or else of the config. It is nil for
// one that is not encrypted, which needs no config. A config that is not there names no key.
func backupKey(from *bufio.Reader, keyFile string, load func() (config.Config, error)) (*keyfile.Key, error) {
	if !backup.IsEncrypted(from) {
		return nil, nil
	}
	if keyFile != "" {
		key, err := keyfile.Read(keyFile)
		return key, mend.With(err)
	}
	cfg, err := load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return daemon.LedgerKey(cfg)
}

// otherKey says what to do if a backup's key is another one.
func otherKey(err error) error {
	if errors.Is(err, keyfile.ErrKey) {
		return fmt.Errorf("%w: give the key file that the ledger had when the backup was taken, with --key-file", err)
	}
	return err
}
