package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/admin"
	"balhost/host/internal/backup"
	"balhost/host/internal/config"
)

// made is the result of backup; its JSON is a contract with scripts.
type made struct {
	File string `json:"file"`
	backup.Info
	Took float64 `json:"took_seconds"`
}

func backupCommand() *cobra.Command {
	var (
		where         clientFlags
		rate          string
		force, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the running host's ledger to a file",
		Long: `Writes the running host's ledger, as it is at one moment, to FILE: waiting
messages, ids that are known as duplicates, dead letters and plugins' state. The
host keeps running. The backup is FILE.part until it is complete and on disk. With
- it goes to standard output; balhost verify tells whether it is complete.

During a backup, deleted records still take space in data_dir. A higher --rate
slows the acks a little, and a lower one needs more space.

The backup does not contain the config, the plugins and their secrets: back them
up as files. It contains messages of devices, so protect it like data_dir. If the ledger is
encrypted, so is the backup, by the same key. Keep the key elsewhere: without it nobody can
restore the backup.`,
		Example: `  balhost backup /var/backups/balhost/$(date +%F).bak
  balhost backup - | zstd > today.bak.zst
  balhost backup --rate 64MiB --force balhost.bak`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			perSecond, ok := config.ParseSize(rate)
			if rate == "0" {
				perSecond, ok = 0, true
			}
			if !ok || perSecond != 0 && perSecond < admin.LeastRate {
				return usagef("--rate %s: want a size for each second such as 16MiB, at least 1MiB, or 0 for no limit", rate)
			}
			path := args[0]
			if _, err := os.Lstat(path); path != "-" && err == nil && !force {
				return fmt.Errorf("%s exists: give another name, or use --force to replace it", path)
			}
			out, err := backupTo(cmd, path)
			if err != nil {
				return err
			}
			defer out.drop()
			client, err := where.client(cmd)
			if err != nil {
				return err
			}
			defer client.Close()
			start := time.Now()
			from, err := client.Backup(cmd.Context(), perSecond)
			if err != nil {
				return err
			}
			defer from.Close() //nolint:errcheck // it was read
			if err := out.open(); err != nil {
				return err
			}
			info, err := copyBackup(cmd.Context(), out, from, watchProgress(cmd))
			if err == nil {
				err = out.keep()
			}
			if err != nil {
				return fmt.Errorf("back up to %s: %w", path, err)
			}
			return tellBackup(cmd, made{path, info, time.Since(start).Seconds()}, asJSON)
		},
	}
	where.add(cmd)
	cmd.Flags().StringVar(&rate, "rate", "16MiB", "write at most this `size` a second; 0 means no limit")
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// tellBackup prints the result, to stderr if the backup itself went to standard output.
func tellBackup(cmd *cobra.Command, m made, asJSON bool) error {
	if m.File == "-" {
		cmd.SetOut(cmd.ErrOrStderr())
	}
	return printDone(cmd, asJSON, m, fmt.Sprintf("%s: commit %d, %d records, %s in %s", m.File, m.Commit, m.Records, size(m.Bytes), short(time.Duration(m.Took*float64(time.Second)))))
}

// copyBackup copies a backup and checks it on the way. It succeeds only if the backup is
// complete; the end of the stream is not enough.
func copyBackup(ctx context.Context, to io.Writer, from io.Reader, tell func(done, about int64)) (backup.Info, error) {
	b, err := backup.NewSealedReader(io.TeeReader(from, to))
	for err == nil {
		if err = ctx.Err(); err == nil {
			_, err = b.Next()
			tell(b.Info().Bytes, b.Header().About)
		}
	}
	tell(-1, 0)
	switch {
	case errors.Is(err, io.EOF):
		return b.Info(), nil
	case errors.Is(err, backup.ErrCut):
		err = errors.New("the host stopped sending; its log says why")
	}
	return backup.Info{}, err
}

// backupFile is the file or pipe that a backup is written to.
type backupFile struct {
	io.Writer
	path string       // "": a pipe
	file *backup.File // nil: a pipe, or it is not made yet, or it is kept
}

func backupTo(cmd *cobra.Command, path string) (*backupFile, error) {
	if path != "-" {
		return &backupFile{path: path}, nil
	}
	out := cmd.OutOrStdout()
	if isTerminal(out) {
		return nil, usagef("a backup is binary, so it is not written to a terminal: give a file, or - with a pipe")
	}
	w := behind(out)
	if s, ok := w.(*stdout); ok { // which accepts everything when nobody reads
		w = s.file
	}
	return &backupFile{Writer: w}, nil
}

// open makes the file when the host begins to answer.
func (b *backupFile) open() (err error) {
	if b.path == "" {
		return nil
	}
	b.file, err = backup.Create(b.path)
	b.Writer = b.file
	return err
}

// keep gives the complete file its name.
func (b *backupFile) keep() error {
	f := b.file
	if b.file = nil; f == nil {
		return nil
	}
	return f.Keep()
}

// drop removes a file that was not kept.
func (b *backupFile) drop() {
	if b.file != nil {
		b.file.Drop() //nolint:errcheck // the error that matters was returned; what is left is named .part
	}
}

// watchProgress shows on a terminal how much of a backup is done; -1 clears the line.
func watchProgress(cmd *cobra.Command) func(done, about int64) {
	start, show := time.Now(), statusLine(cmd)
	return func(done, about int64) {
		switch {
		case done < 0:
			show("")
		case about > done:
			show(fmt.Sprintf("%s of about %s, %s", size(done), size(about), short(time.Since(start))))
		default:
			show(fmt.Sprintf("%s, %s", size(done), short(time.Since(start))))
		}
	}
}
