//go:build !linux

package doctor

import "balhost/host/internal/ledger"

// A host for production runs on Linux. Here only what the ledger itself can see is looked at.
func disk(dir string) (Disk, error) {
	free, err := ledger.FreeSpace(dir)
	return Disk{Bytes: free.Bytes, Inodes: free.Inodes}, err
}

func clockKept() (kept, known bool) { return false, false }

func holder(dir string) (pid int, held bool) { return 0, ledger.Busy(dir) }
