package doctor

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"balhost/host/internal/ledger"
)

// kinds are the file systems that matter, by the numbers of statfs(2).
var kinds = map[int64]string{
	unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.NFS_SUPER_MAGIC: "nfs", unix.CIFS_SUPER_MAGIC: "cifs",
	unix.SMB2_SUPER_MAGIC: "smb2", unix.V9FS_MAGIC: "9p", unix.FUSE_SUPER_MAGIC: "fuse",
}

func disk(dir string) (Disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Disk{}, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	d := Disk{Kind: kinds[int64(uint32(s.Type))], ReadOnly: s.Flags&unix.ST_RDONLY != 0, Bytes: int64(s.Bavail) * s.Bsize, Inodes: s.Ffree}
	if s.Files == 0 {
		d.Inodes = math.MaxUint64 // btrfs and others make inodes when they need them
	}
	return d, nil
}

// clockKept asks the kernel (adjtimex(2)).
func clockKept() (kept, known bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return state != unix.TIME_ERROR, err == nil
}

// holder asks the kernel which process has badger's lock (/proc/locks, proc(5)).
func holder(dir string) (pid int, held bool) {
	if !ledger.Busy(dir) {
		return 0, false
	}
	var folder unix.Stat_t
	locks, err := os.Open("/proc/locks")
	if err != nil || unix.Stat(filepath.Join(dir, "db"), &folder) != nil {
		return 0, true
	}
	defer locks.Close() //nolint:errcheck // only read
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// 1: FLOCK ADVISORY WRITE 1234 fe:00:5678 0 EOF
		if f := strings.Fields(lines.Text()); len(f) > 5 && f[1] == "FLOCK" && strings.HasSuffix(f[5], ":"+strconv.FormatUint(folder.Ino, 10)) {
			pid, _ = strconv.Atoi(f[4])
		}
	}
	return pid, true
}
