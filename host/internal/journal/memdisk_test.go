package journal

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// memDisk is a disk in memory that knows what is durable, and loses the rest when
// its power is cut: of each sector that was not synced any of the versions written
// since may be there, and of the changed names any subset.
type memDisk struct {
	mu    sync.Mutex
	names map[string]*inode
	kept  map[string]*inode // as of the last syncDir
	since []change          // after it

	left    int // operations until the power is cut; negative: never
	cut     bool
	failing int // syncs until one fails; negative: never
	full    atomic.Bool
	ops     int
	noSync  string // a mistake to be caught: "file" or "dir" syncs do nothing
}

const sector = 512

var (
	errCut  = errors.New("the power is cut")
	errSync = errors.New("the sync failed")
	errFull = errors.New("the disk is full")
)

// change is one of a name: gone from one, there as the other.
type change struct {
	from, to string
	node     *inode
}

func (c change) do(names map[string]*inode) {
	if c.from != "" && names[c.from] == c.node {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.node
	}
}

// inode is a file. Sectors that were written since they were last synced have their
// versions in since; those of which a sync failed stay there, but no later sync
// makes them durable unless they are written again.
type inode struct {
	bytes, kept []byte
	since       map[int64][][]byte
	dirty       map[int64]bool
}

func newDisk() *memDisk {
	return &memDisk{names: map[string]*inode{}, kept: map[string]*inode{}, left: -1, failing: -1}
}

// op counts an operation that changes something; nothing changes after the cut.
func (d *memDisk) op() error {
	if d.ops++; d.cut || d.left == 0 {
		d.cut = true
		return errCut
	}
	d.left--
	return nil
}

func (d *memDisk) lock() (func() error, error) { return func() error { return nil }, nil }

func (d *memDisk) list() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.names)), nil
}

func (d *memDisk) open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if node := d.names[name]; node != nil {
		return &memFile{d, node}, nil
	}
	return nil, fs.ErrNotExist
}

func (d *memDisk) create(name string) (file, error) {
	node := &inode{since: map[int64][][]byte{}, dirty: map[int64]bool{}}
	if err := d.change(change{from: "", to: name, node: node}); err != nil {
		return nil, err
	}
	return &memFile{d, node}, nil
}

func (d *memDisk) rename(from, to string) error {
	d.mu.Lock()
	node := d.names[from]
	d.mu.Unlock()
	return d.change(change{from, to, node})
}

func (d *memDisk) remove(name string) error {
	d.mu.Lock()
	node := d.names[name]
	d.mu.Unlock()
	return d.change(change{name, "", node})
}

func (d *memDisk) change(c change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.node == nil {
		return fs.ErrNotExist
	}
	if err := d.op(); err != nil {
		return err
	}
	c.do(d.names)
	d.since = append(d.since, c)
	return nil
}

func (d *memDisk) syncDir() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op(); err != nil {
		return err
	}
	if d.noSync != "dir" {
		d.kept, d.since = maps.Clone(d.names), nil
	}
	return nil
}

type memFile struct {
	d    *memDisk
	node *inode
}

func (f *memFile) Close() error { return nil }

func (f *memFile) size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.node.bytes)), nil
}

func (f *memFile) ReadAt(b []byte, at int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if at >= int64(len(f.node.bytes)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.bytes[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt may be torn when it is the one at which the power is cut.
func (f *memFile) WriteAt(b []byte, at int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	was := f.d.cut
	err := f.d.op()
	if was {
		return 0, err
	}
	end := at + int64(len(b))
	if end > int64(len(f.node.bytes)) {
		if f.d.full.Load() {
			return 0, errFull
		}
		f.node.bytes = append(f.node.bytes, make([]byte, end-int64(len(f.node.bytes)))...)
	}
	copy(f.node.bytes[at:], b)
	for s := at / sector; s*sector < end; s++ {
		f.node.since[s] = append(f.node.since[s], slices.Clone(f.node.bytes[s*sector:min((s+1)*sector, int64(len(f.node.bytes)))]))
		f.node.dirty[s] = true
	}
	return len(b), err
}

func (f *memFile) sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.op(); err != nil {
		return err
	}
	if f.d.failing >= 0 {
		if f.d.failing--; f.d.failing < 0 {
			clear(f.node.dirty)
			return errSync
		}
	}
	if f.d.noSync == "file" {
		return nil
	}
	for s := range f.node.dirty {
		f.node.keep(s, f.node.bytes[s*sector:min((s+1)*sector, int64(len(f.node.bytes)))])
		delete(f.node.since, s)
	}
	clear(f.node.dirty)
	return nil
}

// keep makes a version of a sector durable.
func (n *inode) keep(s int64, version []byte) {
	if missing := s*sector + int64(len(version)) - int64(len(n.kept)); missing > 0 {
		n.kept = append(n.kept, make([]byte, missing)...)
	}
	copy(n.kept[s*sector:], version)
}

// powerCut is the disk that is there afterwards.
func (d *memDisk) powerCut(r *rand.Rand) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newDisk()
	after.noSync = d.noSync
	some := []float64{0, 0.1, 0.5, 0.9, 1}[r.IntN(5)]
	for _, c := range d.since {
		if r.Float64() < some {
			c.do(d.kept)
		}
	}
	seen := map[*inode]*inode{}
	for name, node := range d.kept {
		if seen[node] == nil {
			left := &inode{kept: slices.Clone(node.kept), since: map[int64][][]byte{}, dirty: map[int64]bool{}}
			for _, s := range slices.Sorted(maps.Keys(node.since)) {
				if versions := node.since[s]; r.Float64() < some {
					left.keep(s, versions[r.IntN(len(versions))])
				}
			}
			left.bytes = slices.Clone(left.kept)
			seen[node] = left
		}
		after.names[name] = seen[node]
	}
	after.kept = maps.Clone(after.names)
	return after
}

// killed is the disk that another process finds: all that was written is there,
// and what was not synced still is not.
func (d *memDisk) killed() *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.failing, d.cut = -1, -1, false
	return d
}
