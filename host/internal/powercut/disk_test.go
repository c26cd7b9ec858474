package powercut

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// desk is a watched folder with the calls that the layer would see.
type desk struct {
	t    *testing.T
	disk *Disk
}

func newDesk(t *testing.T, names Names) *desk {
	t.Helper()
	d, err := Watch(t.TempDir(), names, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return &desk{t, d}
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) create(name string) *os.File {
	d.t.Helper()
	path := filepath.Join(d.disk.root, name)
	var f *os.File
	d.must(event(&call{name: "open", path: path, flags: os.O_CREATE}, func() (err error) {
		f, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		return err
	}))
	d.t.Cleanup(func() { f.Close() }) //nolint:errcheck // a test's
	return f
}

func (d *desk) write(f *os.File, at int64, with byte, n int) {
	d.t.Helper()
	_, err := f.WriteAt(bytes.Repeat([]byte{with}, n), at)
	d.must(err)
}

func (d *desk) sync(f *os.File) {
	d.t.Helper()
	d.must(event(&call{name: "sync", fd: int(f.Fd())}, func() error { return nil }))
}

func (d *desk) syncFolder() {
	d.t.Helper()
	f, err := os.Open(d.disk.root)
	d.must(err)
	defer f.Close()
	d.sync(f)
}

func (d *desk) truncate(f *os.File, size int64) {
	d.t.Helper()
	d.must(event(&call{name: "truncate", fd: int(f.Fd()), size: size}, func() error { return f.Truncate(size) }))
}

func (d *desk) remove(name string) {
	d.t.Helper()
	path := filepath.Join(d.disk.root, name)
	d.must(event(&call{name: "unlink", path: path}, func() error { return os.Remove(path) }))
}

func (d *desk) rename(from, to string) {
	d.t.Helper()
	c := &call{name: "rename", path: filepath.Join(d.disk.root, from), to: filepath.Join(d.disk.root, to)}
	d.must(event(c, func() error { return os.Rename(c.path, c.to) }))
}

// outcomes cuts the power many times, and counts the different results of describe.
func (d *desk) outcomes(describe func(Image) string) map[string]int {
	d.t.Helper()
	out := map[string]int{}
	for seed := range uint64(300) {
		d.must(d.disk.Cut(rand.New(rand.NewPCG(seed, 2)), func(i Image) error { out[describe(i)]++; return nil }))
	}
	return out
}

// can fails unless exactly these outcomes occurred.
func (d *desk) can(got map[string]int, want ...string) {
	d.t.Helper()
	for _, w := range want {
		if got[w] == 0 {
			d.t.Errorf("never %q", w)
		}
		delete(got, w)
	}
	for g, n := range got {
		d.t.Errorf("%d times %q", n, g)
	}
}

// pages describes a file by the first byte of each page. "none": there is no such file.
func pages(name string) func(Image) string {
	return func(i Image) string {
		b, ok := i[name]
		if !ok {
			return "none"
		}
		var s []byte
		for at := 0; at < len(b); at += pageSize {
			s = append(s, '0'+b[at])
		}
		return string(s)
	}
}

// Synced bytes stay. Bytes that were written later may be there or not.
func TestSyncedStays(t *testing.T) {
	d := newDesk(t, Ordered)
	f := d.create("f")
	d.write(f, 0, 1, 2*pageSize)
	d.sync(f)
	d.can(d.outcomes(pages("f")), "11")
	d.write(f, pageSize, 2, pageSize)
	d.can(d.outcomes(pages("f")), "11", "12")
	d.write(f, 2*pageSize, 3, pageSize)
	d.can(d.outcomes(pages("f")), "11", "12", "110", "113", "120", "123")
	d.sync(f)
	d.can(d.outcomes(pages("f")), "123")
}

// A page can be torn.
func TestTorn(t *testing.T) {
	d := newDesk(t, Ordered)
	f := d.create("f")
	d.write(f, 0, 1, pageSize)
	d.sync(f)
	d.write(f, 0, 2, pageSize)
	got := d.outcomes(func(i Image) string {
		switch bytes.Count(i["f"], []byte{2}) {
		case 0:
			return "old"
		case pageSize:
			return "new"
		default:
			return "torn"
		}
	})
	d.can(got, "old", "new", "torn")
}

// Bytes that were cut off may be back until a sync, also bytes that were never synced.
func TestCutOffComesBack(t *testing.T) {
	d := newDesk(t, Ordered)
	f := d.create("f")
	d.write(f, 0, 1, 2*pageSize)
	d.sync(f)
	d.truncate(f, pageSize)
	d.truncate(f, 2*pageSize)
	d.write(f, pageSize, 3, pageSize)
	d.can(d.outcomes(pages("f")), "11", "1", "10", "13")
	d.sync(f)
	d.can(d.outcomes(pages("f")), "13")
}

// Names become durable as the mode says.
func TestNames(t *testing.T) {
	for names, want := range map[Names][2][]string{
		Ordered: {{"", "a", "ab", "b"}, {"b"}},
		Own:     {{"", "a", "ab", "b"}, {"ab", "b"}},
		Strict:  {{"", "a", "ab", "b"}, {"", "a", "ab", "b"}},
	} {
		t.Run(names.String(), func(t *testing.T) {
			d := newDesk(t, names)
			there := func(i Image) (s string) {
				for _, name := range []string{"a", "b"} {
					if _, ok := i[name]; ok {
						s += name
					}
				}
				return s
			}
			d.sync(d.create("a"))
			if names == Strict {
				d.can(d.outcomes(there), "", "a")
			} else {
				d.can(d.outcomes(there), "a")
			}
			d.remove("a")
			b := d.create("b")
			if names == Strict {
				d.can(d.outcomes(there), want[0]...)
			}
			d.sync(b)
			d.can(d.outcomes(there), want[1]...)
			d.syncFolder()
			d.can(d.outcomes(there), "b")
			d.rename("b", "a")
			d.can(d.outcomes(there), "a", "b")
			d.syncFolder()
			d.can(d.outcomes(there), "a")
		})
	}
}

// When a folder is renamed, everything in it moves with it, all or nothing.
func TestFolderRenamed(t *testing.T) {
	d := newDesk(t, Ordered)
	path := filepath.Join(d.disk.root, "x")
	d.must(event(&call{name: "mkdir", path: path}, func() error { return os.Mkdir(path, 0o700) }))
	f := d.create("x/f")
	d.write(f, 0, 1, pageSize)
	d.sync(f)
	d.rename("x", "y")
	where := func(i Image) string { return pages("x/f")(i) + " " + pages("y/f")(i) }
	d.can(d.outcomes(where), "1 none", "none 1")
	d.write(f, 0, 2, pageSize)
	d.sync(f)
	d.can(d.outcomes(where), "2 none", "none 2")
	d.syncFolder()
	d.can(d.outcomes(where), "none 2")
}

// A name that the layer has not seen is an error.
func TestMissed(t *testing.T) {
	d := newDesk(t, Ordered)
	if err := syscall.Mkdir(filepath.Join(d.disk.root, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := d.disk.Cut(rand.New(rand.NewPCG(1, 1)), func(Image) error { return nil })
	if layered == (err != nil) {
		t.Errorf("cut: %v", err)
	}
}

// Write makes a folder that has exactly the image.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	want := Image{"": nil, "a": append(make([]byte, 3*pageSize), 1), "b": nil, "b/c": {}}
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	d, err := Watch(dir, Strict, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got := d.image(rand.New(rand.NewPCG(1, 1)))
	for name, b := range want {
		if g, ok := got[name]; !ok || !bytes.Equal(g, b) || (g == nil) != (b == nil) {
			t.Errorf("%q has %d bytes, should have %d", name, len(g), len(b))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d names, should be %d", len(got), len(want))
	}
}
