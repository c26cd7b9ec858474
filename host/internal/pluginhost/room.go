package pluginhost

import (
	"cmp"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"balhost/host/internal/pluginhost/policy"
)

// maxFile is how many bytes a plugin's file may have.
const maxFile = 512 << 20

// stagingPrefix begins the name of a copy that isn't finished.
const stagingPrefix = ".staging-"

// Sweep removes the unfinished copies of plugins that a killed host left in a
// data folder. They may be what fills the disk, so it has to come before the
// ledger's Open, which looks for room. A host that runs on this data folder
// only loses the copy that it is making, and makes it again.
func Sweep(dataDir string) error {
	all, err := stores(dataDir)
	errs := []error{err}
	for _, s := range all {
		errs = append(errs, s.remove(isDraft))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove unfinished copies of plugins: %w", err)
	}
	return nil
}

// maxStaging is how many copies are made at the same time. One that takes long
// makes room for another.
const maxStaging = 2

// stage vets a file and takes a copy of it, unless that would bring the disk below
// what the ledger needs: then the copy that is there already must do. A refusal
// says what is wrong with the file. It may take long, and for ever if the file's
// system doesn't answer.
func (h *Host) stage(f file, to store) (draft binary, err error) {
	leave, err := h.enter(h.copying, h.stopping)
	if err != nil {
		return draft, err
	}
	defer leave()
	if reason := vet(f, h.o.Dir); reason != "" {
		return draft, refusal(reason)
	}
	release, err := h.reserve(f.size)
	if err != nil {
		if b, whole := to.whole(f, h.stopping); whole == nil {
			return b, nil
		}
		return draft, err
	}
	defer release()
	select {
	case <-h.stopping: // what was asked for has taken long
		return draft, policy.ErrStopping
	default:
	}
	return to.stage(f, h.stopping)
}

// reserve keeps room for a copy until release, which is when the copy takes it.
func (h *Host) reserve(size int64) (release func(), err error) {
	free, err := h.free(h.o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("look for room to stage the plugin: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if spare := cmp.Or(h.o.DiskSoft, 64<<20); free-h.reserved-size < spare {
		return nil, fmt.Errorf("no room to stage the plugin: its file has %d MiB, the disk of %s has %d MiB free and must keep %d (ledger.disk_soft): free some, it is tried again",
			size>>20, h.o.DataDir, free>>20, spare>>20)
	}
	h.reserved += size
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.reserved -= size
	}, nil
}

// freeBytes is what a file system has left for an unprivileged user.
func freeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
