package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/backup"
	"balhost/host/internal/config"
	"balhost/host/internal/keyfile"
	"balhost/host/internal/ledger"
	"balhost/host/internal/mend"

	"github.com/hashicorp/go-hclog"
)

func (h *host) backup(ctx context.Context, w io.Writer, perSecond int64) error {
	_, err := h.ledger.Backup(ctx, w, perSecond, h.o.Version)
	if errors.Is(err, ledger.ErrBacking) {
		err = admin.Refusal{Err: err}
	}
	return err
}

func (h *host) verify(ctx context.Context) (admin.Verified, error) {
	return examine(ctx, h.ledger)
}

func examine(ctx context.Context, l *ledger.Ledger) (admin.Verified, error) {
	start := time.Now()
	e, err := l.Examine(ctx)
	v := verified(e)
	v.Took = time.Since(start).Seconds()
	return v, err
}

func verified(e ledger.Examined) admin.Verified {
	return admin.Verified{Sound: len(e.Problems) == 0, Problems: e.Problems, Commit: e.Commit, Records: e.Records, Commits: e.Commits}
}

// Verify opens the ledger of a host that does not run, and checks that all of it is consistent.
// Opening recovers the ledger, as a start does.
func Verify(ctx context.Context, cfg config.Config, log hclog.Logger) (v admin.Verified, err error) {
	o := ledgerOptions(cfg, log)
	if !ledger.Exists(o.Dir) {
		return v, fmt.Errorf("there is no ledger in %s to verify", o.Dir)
	}
	if o.Key, err = LedgerKey(cfg); err != nil {
		return v, err
	}
	if err := mend.Access(cfg.DataDir, config.Own...); err != nil {
		return v, err
	}
	o.Ballast = 0
	l, err := ledger.Open(ctx, o)
	if err != nil {
		return v, mend.With(err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return examine(ctx, l)
}

// VerifyBackup reads a backup to its end. key is for one that is encrypted.
func VerifyBackup(ctx context.Context, r io.Reader, key *keyfile.Key) (backup.Info, admin.Verified, error) {
	info, e, err := ledger.CheckBackup(ctx, r, key)
	return info, verified(e), err
}

// Restore makes a ledger from a backup, where there is none. The host must not run. key is for a
// backup that is encrypted; the ledger is encrypted as the config says.
func Restore(ctx context.Context, cfg config.Config, log hclog.Logger, r io.Reader, key *keyfile.Key) (restored ledger.Restored, err error) {
	o := ledgerOptions(cfg, log)
	if o.Key, err = LedgerKey(cfg); err != nil {
		return restored, err
	}
	if err := ledger.MakeFolder(cfg.DataDir); err != nil {
		return restored, fmt.Errorf("make data_dir: %w", mend.With(err))
	}
	restored, err = ledger.Restore(ctx, o, r, key)
	return restored, mend.With(err)
}

// Rekey encrypts the ledger as the config says; from is the key that it is encrypted by now, nil if it
// is not. The host must not run.
func Rekey(ctx context.Context, cfg config.Config, log hclog.Logger, from *keyfile.Key) (did ledger.Rekeyed, err error) {
	o := ledgerOptions(cfg, log)
	if o.Key, err = LedgerKey(cfg); err != nil {
		return did, err
	}
	if err := mend.Access(cfg.DataDir, config.Own...); err != nil {
		return did, err
	}
	did, err = ledger.Rekey(ctx, o, from)
	return did, mend.With(err)
}
