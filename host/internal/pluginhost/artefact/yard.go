package artefact

import (
	"cmp"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"balhost/host/internal/pluginhost/policy"
)

// Yard makes copies, and leaves the room on the disk that the ledger needs.
type Yard struct {
	Folder   string                          // of the plugins' files
	DataDir  string                          // of their copies
	Spare    int64                           // bytes that stay free on its disk; 0: 64 MiB
	Stopping <-chan struct{}                 // closed when no copy is needed any more
	Free     func(dir string) (int64, error) // bytes that a disk has left; nil: as the system says

	mu       sync.Mutex // guards reserved
	reserved int64      // bytes that copies which are being made may take
}

// Stage vets a file and copies it. If the disk has too little room for that, a copy that
// is there already is used. A Fault says what is wrong with the file. Stage never
// returns when the file's file system doesn't answer.
func (y *Yard) Stage(f File, to *Store) (draft Copy, err error) {
	if reason := vet(f, y.Folder); reason != "" {
		return draft, Fault(reason)
	}
	release, err := y.reserve(f.size)
	if err != nil {
		if b, whole := to.copied(f, y.Stopping); whole == nil {
			return b, nil
		}
		return draft, err
	}
	defer release()
	select {
	case <-y.Stopping: // stopped while this waited
		return draft, policy.ErrStopping
	default:
	}
	return to.stage(f, y.Stopping)
}

// reserve keeps room for a copy until release, which is when the copy takes it.
func (y *Yard) reserve(size int64) (release func(), err error) {
	look := y.Free
	if look == nil {
		look = FreeBytes
	}
	free, err := look(y.DataDir)
	if err != nil {
		return nil, fmt.Errorf("look for room to stage the plugin: %w", err)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if spare := cmp.Or(y.Spare, 64<<20); free-y.reserved-size < spare {
		return nil, fmt.Errorf("no room to stage the plugin: it has %d MiB, the disk of %s has %d MiB free and must keep %d (ledger.disk_soft): free some, it is tried again",
			size>>20, y.DataDir, free>>20, spare>>20)
	}
	y.reserved += size
	return func() {
		y.mu.Lock()
		defer y.mu.Unlock()
		y.reserved -= size
	}, nil
}

// FreeBytes is what a file system has left for an unprivileged user.
func FreeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
