package powercut

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLayer: a Disk is told of each call that changes a file or makes it durable.
func TestLayer(t *testing.T) {
	if !layered {
		t.Skip("needs the layer: TestPowercut builds it")
	}
	dir := t.TempDir()
	d, err := Watch(dir, Ordered, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var heard []string
	d.Event = func(what string) {
		if before, ok := strings.CutPrefix(what, "before "); ok {
			heard = append(heard, before)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "a")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	must(err)
	defer f.Close()
	must(f.Truncate(8192))
	must(unix.Ftruncate(int(f.Fd()), 4096))
	must(unix.Fallocate(int(f.Fd()), 0, 0, 8192))
	must(f.Sync())
	must(unix.Fdatasync(int(f.Fd())))
	m, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	m[5000] = 1
	must(unix.Msync(m, unix.MS_SYNC))
	must(unix.Munmap(m))
	if d.now["a"].bytes[5000] != 1 {
		t.Error("an msync made nothing durable")
	}
	synced, err := os.OpenFile(name, os.O_WRONLY|syscall.O_DSYNC, 0)
	must(err)
	_, err = synced.WriteAt([]byte{2}, 0)
	must(err)
	_, err = synced.Write([]byte{3})
	must(err)
	must(synced.Close())
	must(os.Rename(name, name+"b"))
	must(os.Mkdir(filepath.Join(dir, "c"), 0o700))
	folder, err := os.Open(dir)
	must(err)
	must(folder.Sync())
	must(folder.Close())
	must(os.WriteFile(name+"b", []byte("new"), 0o600))
	must(os.Remove(name + "b"))
	must(d.check())
	want := []string{"open a", "truncate a", "truncate a", "allocate a", "sync a", "sync a", "msync a", "sync a", "sync a",
		"rename a", "mkdir c", "sync ", "open ab", "unlink ab"}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %q\n should be %q", heard, want)
	}
	must(os.WriteFile(filepath.Join(dir, "c", "d"), nil, 0o600))
	must(os.RemoveAll(filepath.Join(dir, "c")))
	must(d.check())
	if !slices.Contains(heard, "unlink c/d") {
		t.Errorf("heard %q", heard[len(want):])
	}
}
