// Package doctor looks at the machine that a host runs on, and says what is wrong with
// it and what to do: the clock, the disk under data_dir, limits, and who else has the
// ledger. It changes nothing but one small file that it writes, syncs and removes. What
// the config alone shows is balhost check's to say. Start at [Machine.Look].
package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/host/internal/mend"
)

// Finding is one thing that is wrong.
type Finding struct {
	About string `json:"about"` // config, files, plugins, clock, disk, limits, host, session
	Wrong string `json:"wrong"`
	Do    string `json:"do,omitempty"` // absent if Wrong says it
	// Grave: the host can't do its work, or can lose messages. Else it can, but not well.
	Grave bool `json:"grave"`
}

// Disk is the file system under a folder.
type Disk struct {
	Kind     string // "tmpfs", "nfs", "fuse" and such, as far as it matters; else ""
	ReadOnly bool
	Bytes    int64 // free for the user
	Inodes   uint64
}

// Machine is what is looked at. Tests put other functions in.
type Machine struct {
	Now func() time.Time
	// Kept reports whether something keeps the clock right. It is not known everywhere.
	Kept func() (kept, known bool)
	Disk func(dir string) (Disk, error)
	// SameDisk reports whether two files are in one file system.
	SameDisk func(a, b string) bool
	// Sync makes some bytes durable in a folder, and returns how long the sync took.
	Sync func(dir string) (time.Duration, error)
	// Files is how many files the process may have open.
	Files func() uint64
	// Memory is the container's limit in bytes; 0: there is none.
	Memory func() int64
	// Holder is the process that has the ledger; 0: nobody has it, or the process is not known.
	Holder func(ledger string) (pid int, held bool)
}

// This is the machine that the command runs on.
var This = Machine{
	Now: time.Now, Kept: clockKept, Disk: disk, SameDisk: sameDisk, Sync: syncIn, Files: mend.Files, Memory: daemon.ContainerMemory, Holder: holder,
}

const (
	// written is about when this was written. An earlier clock is wrong.
	written = "2026-11-01"
	// slowSync is how long the fastest of some syncs may take. An ack waits for one.
	slowSync = 25 * time.Millisecond
	// leastMemory is what host and plugins need together in a container.
	leastMemory = 256 << 20
)

// Look returns what is wrong with the machine for a host with this config.
func (m Machine) Look(cfg config.Config) (all []Finding) {
	all = append(all, m.clock()...)
	all = append(all, m.disk(cfg)...)
	all = append(all, m.key(cfg)...)
	return append(all, m.limits(cfg)...)
}

func (m Machine) clock() []Finding {
	now := m.Now()
	if floor, err := time.Parse(time.DateOnly, written); err == nil && now.Before(floor) {
		return []Finding{{About: "clock", Grave: true, Wrong: fmt.Sprintf("the clock says %s, which is over", now.UTC().Format(time.DateTime)),
			Do: "set it, and start the host after time-sync.target: certificates, tokens and TTLs are judged by it"}}
	}
	if kept, known := m.Kept(); known && !kept {
		return []Finding{{About: "clock", Wrong: "nothing keeps the clock right (the kernel says: not synchronised)",
			Do: "run chrony or systemd-timesyncd: tokens of Google and of devices are refused when the clock is minutes wrong"}}
	}
	return nil
}

func (m Machine) disk(cfg config.Config) (all []Finding) {
	find := func(grave bool, wrong, do string) {
		all = append(all, Finding{About: "disk", Grave: grave, Wrong: wrong, Do: do})
	}
	dir := nearest(cfg.DataDir)
	d, err := m.Disk(dir)
	if err != nil {
		find(true, err.Error(), "")
		return all
	}
	switch d.Kind {
	case "tmpfs", "ramfs":
		find(true, fmt.Sprintf("data_dir %s is on a %s, which forgets everything when the machine stops", cfg.DataDir, d.Kind), "put data_dir on a local disk, with ext4 for example")
	case "nfs", "cifs", "smb2", "9p", "fuse":
		find(false, fmt.Sprintf("data_dir %s is on a %s file system: what a sync promises there, and a lock, is the server's to keep", cfg.DataDir, d.Kind), "put data_dir on a local disk, with ext4 for example")
	}
	if d.ReadOnly {
		find(true, fmt.Sprintf("the disk of data_dir %s is mounted read-only", cfg.DataDir), "look in dmesg why (a file system that found a fault does this by itself), then mount -o remount,rw")
		return all
	}
	l := cfg.Ledger
	switch {
	case d.Bytes < l.DiskHard:
		find(true, fmt.Sprintf("the disk of data_dir %s has %s free, less than disk_hard (%s): the host does not start", cfg.DataDir, size(d.Bytes), size(l.DiskHard)), "free some space")
	case d.Bytes < l.DiskSoft:
		find(true, fmt.Sprintf("the disk of data_dir %s has %s free, less than disk_soft (%s): no new message is stored", cfg.DataDir, size(d.Bytes), size(l.DiskSoft)), "free some space, or lower disk_soft in the ledger block")
	}
	if d.Inodes < l.Inodes {
		find(true, fmt.Sprintf("the disk of data_dir %s has %d inodes free, less than ledger.inodes (%d)", cfg.DataDir, d.Inodes, l.Inodes), "remove files: df -i shows the disk, find its folders with many")
	}
	switch took, err := m.Sync(dir); {
	case errors.Is(err, os.ErrPermission):
		hint := mend.Hint(err)
		find(true, fmt.Sprintf("this user (%d) can't write in %s", os.Geteuid(), dir), hint)
	case err != nil:
		find(true, fmt.Sprintf("a file in %s can't be made durable: %v", dir, err), "")
	case took > slowSync:
		find(false, fmt.Sprintf("the disk of data_dir takes %s to make 4 KiB durable, at its best of five: every ack waits that long", took.Round(time.Millisecond)), "use a faster disk; find out who else writes to this one (iostat -x 1)")
	}
	return all
}

// key says that the ledger's key file is beside what it encrypts. Whether it can be used is check's to say.
func (m Machine) key(cfg config.Config) []Finding {
	file := cfg.Ledger.KeyFile
	if file == "" || !m.SameDisk(file, nearest(cfg.DataDir)) {
		return nil
	}
	return []Finding{{About: "disk", Wrong: fmt.Sprintf("the key file %s is on the disk of data_dir: who gets that disk, or a copy of it, has the key too", file),
		Do: "keep it on another disk, or in a credential of the unit (LoadCredential=), and a copy of it somewhere else"}}
}

// sameDisk reports whether two files that exist are in one file system.
func sameDisk(a, b string) bool {
	var of [2]*syscall.Stat_t
	for i, path := range []string{a, b} {
		info, err := os.Stat(path)
		if err != nil {
			return false
		}
		of[i], _ = info.Sys().(*syscall.Stat_t)
	}
	return of[0] != nil && of[1] != nil && of[0].Dev == of[1].Dev
}

func (m Machine) limits(cfg config.Config) (all []Finding) {
	if most, need := m.Files(), daemon.NeedsFiles(cfg); most < need {
		all = append(all, Finding{About: "limits", Wrong: fmt.Sprintf("a process of this user may open %d files, and the host may need %d", most, need),
			Do: "LimitNOFILE in its unit, or ulimit -n; a limit of the shell is not that of the unit"})
	}
	if most := m.Memory(); most > 0 && most < leastMemory {
		all = append(all, Finding{About: "limits", Wrong: fmt.Sprintf("this container may use %s of memory; host and plugins need %s together at least", size(most), size(leastMemory)),
			Do: "raise the container's limit"})
	}
	return all
}

// Rival says who has the ledger when no host answers at the config's address.
func (m Machine) Rival(cfg config.Config) []Finding {
	pid, held := m.Holder(filepath.Join(cfg.DataDir, "ledger"))
	if !held {
		return nil
	}
	who := "another process"
	if pid > 0 {
		who = fmt.Sprintf("process %d", pid)
	}
	return []Finding{{About: "host", Grave: true, Wrong: fmt.Sprintf("%s has the ledger in %s, but no host answers at %s", who, cfg.DataDir, cfg.Admin.Listen),
		Do: "it runs with another config (its admin.listen differs), or it is starting or ending: look at it, and start no second one"}}
}

// nearest is a folder, or the one nearest above it that there is.
func nearest(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// syncIn writes a small file five times, and returns how long the fastest sync took.
func syncIn(dir string) (best time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".balhost-doctor-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	page := make([]byte, 4<<10)
	for i := range 5 {
		if _, err := f.WriteAt(page, 0); err != nil {
			return 0, err
		}
		start := time.Now()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		if took := time.Since(start); i == 0 || took < best {
			best = took
		}
	}
	return best, nil
}

// size is a number of bytes for a person.
func size(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
