package ledger

import (
	"context"
	"fmt"
	"time"
)

// How long a commit may take: from commitSlow on the disk counts as stalled,
// after commitLimit the commit will not end.
const (
	commitSlow  = 5 * time.Second
	commitLimit = 60 * time.Second
)

// Stalled is for how long the commit under way has been waiting for the disk, once
// that is commitSlow or more; else 0. It waits for nothing itself.
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

// watchCommits looks every second whether a commit hangs. It touches no disk, so
// that a disk that answers nothing does not silence it.
//
// Weak: a page fault in one of badger's mapped files is no system call to Go. On a
// disk that answers nothing it stops the next garbage collection, and with it
// all of the process, until the disk is back. Only another process sees that (daemon's notify.go).
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
