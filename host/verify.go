package main

import (
	"bufio"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/backup"
	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/host/internal/told"
)

// whole is the result of verify for a backup's file; its JSON is a contract with scripts.
type whole struct {
	File string `json:"file"`
	backup.Info
	Sound    bool     `json:"sound"`
	Problems []string `json:"problems"`
}

func verifyCommand() *cobra.Command {
	var (
		where   clientFlags
		keyFile string
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check the whole ledger, or a backup of it",
		Long: `Reads every record of the ledger and of its journal, and checks that they agree
with each other and with the ledger's counters. A running host does this itself and
keeps running. When no host runs, this command opens the ledger in data_dir, which
recovers it as a start of the host does, and closes it again.

With FILE it reads a backup to its end (- is standard input). It checks that the
backup is complete and that its records agree. This needs no host. Only for an encrypted
backup it needs a key: that of --key-file, or else that of the config.

Exit codes: 0 sound, 1 not sound.`,
		Example: `  balhost verify -c /etc/balhost/config.hcl
  balhost verify /var/backups/balhost/2026-01-31.bak`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return verifyFile(cmd, args[0], asJSON, keyFile, where.config)
			}
			v, how, err := verifyLedger(cmd, &where)
			if err != nil {
				return err
			}
			err = printDone(cmd, asJSON, v, fmt.Sprintf("%s: commit %d, %d records, %d commits of the journal, in %s",
				how, v.Commit, v.Records, v.Commits, short(time.Duration(v.Took*float64(time.Second)))))
			return errors.Join(err, unsound(v.Problems, "keep a copy of data_dir, and restore the last sound backup (balhost restore --help)"))
		},
		Annotations: map[string]string{stopsWithin: daemon.StopLimit.String()},
	}
	where.add(cmd)
	cmd.Flags().StringVar(&keyFile, "key-file", "", "the key `file` of an encrypted backup; without it, that of the config")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// verifyLedger asks the running host, or opens the ledger when no host runs. With an
// address it only asks.
func verifyLedger(cmd *cobra.Command, where *clientFlags) (v admin.Verified, how string, err error) {
	client, err := where.client(cmd)
	if err != nil {
		return v, "", err
	}
	defer client.Close()
	v, err = client.Verify(cmd.Context())
	if !errors.Is(err, admin.ErrNotRunning) || where.admin != "" {
		return v, "the running host's ledger", err
	}
	cfg, err := loadWith(config.LoadData, where.config)
	if err != nil {
		return v, "", err
	}
	v, err = daemon.Verify(cmd.Context(), cfg, quiet(cmd))
	return v, "the ledger in " + cfg.DataDir, err
}

func verifyFile(cmd *cobra.Command, path string, asJSON bool, keyFile, configFile string) error {
	file, err := openBackup(cmd, path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	from := bufio.NewReader(file)
	key, err := backupKey(from, keyFile, func() (config.Config, error) { return loadWith(config.LoadData, configFile) })
	if err != nil {
		return err
	}
	info, v, err := daemon.VerifyBackup(cmd.Context(), from, key)
	file.tell(-1, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", path, otherKey(err))
	}
	err = printDone(cmd, asJSON, whole{path, info, v.Sound, v.Problems}, fmt.Sprintf("%s: whole, commit %d of %s, %d records, %s",
		path, info.Commit, told.Stamp(info.Taken), info.Records, size(info.Bytes)))
	return errors.Join(err, unsound(v.Problems, "the ledger was damaged when this backup was taken: take an older one, or ask for help with a copy"))
}

// unsound is the error for problems; nil when there are none.
func unsound(problems []string, do string) error {
	if len(problems) == 0 {
		return nil
	}
	const enough = 20
	var errs []error
	for _, p := range problems[:min(len(problems), enough)] {
		errs = append(errs, errors.New(p))
	}
	if more := len(problems) - enough; more > 0 {
		errs = append(errs, fmt.Errorf("and %d more", more))
	}
	return fmt.Errorf("it is not sound: %s\n%w", do, errors.Join(errs...))
}
