package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"balhost/host/internal/config"
)

// healthy is a machine on which nothing is wrong.
func healthy() Machine {
	return Machine{
		Now:  func() time.Time { return time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC) },
		Kept: func() (bool, bool) { return true, true },
		Disk: func(string) (Disk, error) { return Disk{Bytes: 100 << 30, Inodes: 1 << 20}, nil },

		SameDisk: func(string, string) bool { return false },

		Sync:   func(string) (time.Duration, error) { return time.Millisecond, nil },
		Files:  func() uint64 { return 65536 },
		Memory: func() int64 { return 0 },
		Holder: func(string) (int, bool) { return 0, false },
	}
}

// Each thing that can be wrong is said, with what to do, and nothing else is.
func TestFindings(t *testing.T) {
	cfg := config.Config{DataDir: t.TempDir(), Ledger: config.Ledger{DiskSoft: 1 << 30, DiskHard: 64 << 20, Inodes: 10000, KeyFile: "/keys/ledger.key"}}
	cfg.Sessions = []config.Session{{Name: "main", Gateway: &config.Gateway{MaxConnections: 10000}}}
	on := func(d Disk) func(*Machine) {
		return func(m *Machine) { m.Disk = func(string) (Disk, error) { return d, nil } }
	}
	large := Disk{Bytes: 100 << 30, Inodes: 1 << 20}
	with := func(change func(*Disk)) Disk { d := large; change(&d); return d }
	for _, c := range []struct {
		name  string
		ill   func(*Machine)
		about string
		grave bool
		wrong string // a part of it
		do    string // a part of it
	}{
		{"healthy", func(*Machine) {}, "", false, "", ""},
		{"clock of the past", func(m *Machine) { m.Now = func() time.Time { return time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC) } }, "clock", true, "1970-01-02", "time-sync.target"},
		{"clock that nobody sets", func(m *Machine) { m.Kept = func() (bool, bool) { return false, true } }, "clock", false, "not synchronised", "chrony"},
		{"clock of which nothing is known", func(m *Machine) { m.Kept = func() (bool, bool) { return false, false } }, "", false, "", ""},
		{"tmpfs", on(with(func(d *Disk) { d.Kind = "tmpfs" })), "disk", true, "tmpfs", "ext4"},
		{"nfs", on(with(func(d *Disk) { d.Kind = "nfs" })), "disk", false, "nfs", "local disk"},
		{"read-only", on(with(func(d *Disk) { d.ReadOnly = true })), "disk", true, "read-only", "remount,rw"},
		{"below disk_soft", on(with(func(d *Disk) { d.Bytes = 500 << 20 })), "disk", true, "500 MiB free, less than disk_soft (1.0 GiB)", "free some space"},
		{"below disk_hard", on(with(func(d *Disk) { d.Bytes = 10 << 20 })), "disk", true, "less than disk_hard (64 MiB)", "free some space"},
		{"few inodes", on(with(func(d *Disk) { d.Inodes = 99 })), "disk", true, "99 inodes free", "df -i"},
		{"disk that can't be looked at", func(m *Machine) { m.Disk = func(string) (Disk, error) { return Disk{}, errors.New("look: no") } }, "disk", true, "look: no", ""},
		{"slow disk", func(m *Machine) { m.Sync = func(string) (time.Duration, error) { return 80 * time.Millisecond, nil } }, "disk", false, "takes 80ms", "iostat"},
		{"disk that fails", func(m *Machine) { m.Sync = func(string) (time.Duration, error) { return 0, unix.EIO } }, "disk", true, "input/output error", ""},
		{"folder of somebody else", func(m *Machine) {
			m.Sync = func(dir string) (time.Duration, error) {
				return 0, &os.PathError{Op: "open", Path: dir, Err: unix.EACCES}
			}
		}, "disk", true, "can't write in", ""},
		{"key beside the data", func(m *Machine) { m.SameDisk = func(string, string) bool { return true } }, "disk", false, "/keys/ledger.key is on the disk of data_dir", "LoadCredential="},
		{"few files", func(m *Machine) { m.Files = func() uint64 { return 1024 } }, "limits", false, "may open 1024 files, and the host may need 11024", "LimitNOFILE"},
		{"small container", func(m *Machine) { m.Memory = func() int64 { return 128 << 20 } }, "limits", false, "128 MiB of memory", "raise"},
	} {
		m := healthy()
		c.ill(&m)
		got := m.Look(cfg)
		if c.about == "" {
			if len(got) != 0 {
				t.Errorf("%s: %+v", c.name, got)
			}
			continue
		}
		if len(got) != 1 {
			t.Errorf("%s: %+v, want one finding", c.name, got)
			continue
		}
		if f := got[0]; f.About != c.about || f.Grave != c.grave || !strings.Contains(f.Wrong, c.wrong) || !strings.Contains(f.Do, c.do) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// What asks the system gives an answer, and leaves no file behind.
func TestThisMachine(t *testing.T) {
	dir := t.TempDir()
	if d, err := This.Disk(dir); err != nil || d.Bytes == 0 || d.Inodes == 0 || d.ReadOnly {
		t.Errorf("disk %+v, %v", d, err)
	}
	if !This.SameDisk(dir, filepath.Dir(dir)) || This.SameDisk(dir, filepath.Join(dir, "none")) || This.SameDisk("/proc/self", dir) {
		t.Error("which files are on one disk is not right")
	}
	if _, err := This.Disk(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there has a disk")
	}
	if took, err := This.Sync(dir); err != nil || took <= 0 {
		t.Errorf("sync took %v, %v", took, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if near := nearest(filepath.Join(dir, "a", "b")); near != dir {
		t.Errorf("nearest is %s", near)
	}
	if This.Files() == 0 {
		t.Error("no file may be open")
	}
}

// A ledger that another process has is named with the process, if the system tells it.
func TestRival(t *testing.T) {
	cfg := config.Config{DataDir: t.TempDir(), Admin: config.Admin{Listen: "127.0.0.1:1"}}
	if got := This.Rival(cfg); len(got) > 0 {
		t.Errorf("nobody has it: %+v", got)
	}
	db := filepath.Join(cfg.DataDir, "ledger", "db")
	if err := os.MkdirAll(db, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := This.Rival(cfg); len(got) > 0 {
		t.Errorf("nobody has it yet: %+v", got)
	}
	f, err := os.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	got := This.Rival(cfg)
	if len(got) != 1 || !got[0].Grave || !strings.Contains(got[0].Wrong, "no host answers at 127.0.0.1:1") {
		t.Fatalf("%+v", got)
	}
	if mine := fmt.Sprintf("process %d has", os.Getpid()); !strings.HasPrefix(got[0].Wrong, mine) && !strings.HasPrefix(got[0].Wrong, "another process has") {
		t.Errorf("%q, want %q", got[0].Wrong, mine)
	}
}
