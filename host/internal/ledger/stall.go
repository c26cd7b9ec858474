package ledger

import (
	"context"
	"fmt"
	"time"
)

// How long a commit may take. From commitSlow on, the disk counts as stalled. After
// commitLimit, the ledger doesn't wait for the commit any more.
const (
	commitSlow  = 5 * time.Second
	commitLimit = 60 * time.Second
)

// Stalled is how long the current commit has waited for the disk, if that is commitSlow or
// more; else 0. It never blocks.
func (l *Ledger) Stalled() time.Duration {
	began := l.committing.Load()
	if began == nil {
		return 0
	}
	if age := time.Since(*began); age >= commitSlow {
		return age
	}
	return 0
}

// watchCommits checks every second whether a commit hangs. It does not use the disk, so
// it works while the disk does not answer.
//
// Weak: for Go, a page fault in one of badger's mapped files is not a system call. If the
// disk doesn't answer, it blocks the next garbage collection, and so the whole process,
// until the disk is back. Only another process notices that (daemon's notify.go).
func (l *Ledger) watchCommits(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	stalled := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		age := l.Stalled()
		switch {
		case age > commitLimit:
			l.poison(fmt.Errorf("a commit has not ended after %s", commitLimit))
			return nil
		case age > 0 && !stalled:
			l.o.Log.Error("the disk does not answer: a commit waits for it, and nothing is acked", "state", "stalled", "took", age.Round(time.Second))
		case age == 0 && stalled:
			l.o.Log.Info("the disk answers again", "state", "open")
		}
		stalled = age > 0
	}
}
