// Package powercut is a disk whose power is cut at any moment, for tests. A [Disk]
// watches a folder in which a program works: of each file it knows what is durable,
// which is what was synced, and what only the page cache has. [Disk.Cut] makes of that
// what may be found after a power cut: every synced byte, and any of the others, by
// the page or by the sector.
//
// A Disk hears of syncs, sizes and names by a layer below the system calls of
// package syscall. [Build] builds a test program with that layer by the -overlay flag
// of go build, as package clocktest does for clocks; nothing of Go's source is kept
// here. The package starts no goroutine. Start at [Watch]; TestCuts is what it is for.
package powercut

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Names says what a power cut leaves of the names in folders.
type Names int

const (
	// Ordered keeps them in the order in which they were made: a sync of a file keeps
	// all that came before its own changes too. So do ext4 and XFS, by their journal.
	Ordered Names = iota
	// Own keeps the name of a file that was synced, and others by the dice.
	Own
	// Strict keeps what POSIX asks for and no more: a name is durable once its
	// folder was synced, and before that a matter of the dice.
	Strict
)

// allNames are the modes as tests call them.
var allNames = []string{"ordered", "own", "strict"}

// String is the mode in one word.
func (n Names) String() string { return allNames[n] }

// Disk is a watched folder.
type Disk struct {
	root  string
	names Names

	// Event, when not nil, is told what goes on: before, in the middle of, and after
	// each call that makes something durable or that a power cut may undo. It is called on
	// the goroutine that makes the call, with no lock held: to cut, or to wait. It
	// is set before the folder is worked in.
	Event func(what string)

	// mu guards what follows. While it is held, no event goes on.
	mu      sync.Mutex
	rng     *rand.Rand
	now     map[string]*node // by path below root
	durable map[string]*node // the names that are on the disk
	pending []change         // what is not, in the order of the calls
	done    int              // how many changes there were
	missed  error            // the Disk doesn't know what the program sees
}

// node is one file or folder, whatever its name.
type node struct {
	disk   *Disk
	name   string // its first
	inode  inode
	folder bool
	file   *os.File // the Disk's own, to read
	bytes  []byte   // what is durable
	cutOff int      // the change that last made bytes shorter

	syncing sync.Mutex // one sync at a time
}

type inode struct{ dev, ino uint64 }

// change is of a name, or, when it has neither from nor to, of a size.
type change struct {
	n         int // how many came before
	node      *node
	from, to  string // a name that goes, a name that comes
	size      int64
	shortened bool
}

func (c change) ofSize() bool { return c.from == "" && c.to == "" }

// watched are all Disks, for the layer to find.
var watched = struct {
	sync.RWMutex
	disks []*Disk
	nodes map[inode]*node
}{nodes: map[inode]*node{}}

// Watch begins to watch a folder, an absolute path. All that is in it is taken for durable.
func Watch(root string, names Names, seed uint64) (*Disk, error) {
	d := &Disk{root: filepath.Clean(root), names: names, rng: rand.New(rand.NewPCG(seed, 1)), now: map[string]*node{}, durable: map[string]*node{}}
	err := filepath.WalkDir(d.root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		n, err := d.adopt(path)
		if err == nil && !n.folder {
			n.bytes, err = io.ReadAll(n.file)
		}
		d.now[d.rel(path)], d.durable[d.rel(path)] = n, n
		return err
	})
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("watch %s: %w", root, err)
	}
	watched.Lock()
	defer watched.Unlock()
	watched.disks = append(watched.disks, d)
	return d, nil
}

// Close ends the watch. The folder stays as it is.
func (d *Disk) Close() {
	watched.Lock()
	defer watched.Unlock()
	for i, other := range watched.disks {
		if other == d {
			watched.disks = append(watched.disks[:i], watched.disks[i+1:]...)
			break
		}
	}
	for id, n := range watched.nodes {
		if n.disk == d {
			n.file.Close() //nolint:errcheck // only read
			delete(watched.nodes, id)
		}
	}
}

// adopt makes a node of a file that the Disk doesn't know.
func (d *Disk) adopt(path string) (*node, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close() //nolint:errcheck // only read
		return nil, err
	}
	s := info.Sys().(*syscall.Stat_t)
	n := &node{disk: d, name: d.rel(path), folder: info.IsDir(), file: f, inode: inode{uint64(s.Dev), s.Ino}, cutOff: -1} //nolint:unconvert // other systems have other types
	watched.Lock()
	defer watched.Unlock()
	watched.nodes[n.inode] = n
	return n, nil
}

// forget lets go of a file that has no name any more.
func (d *Disk) forget(n *node) {
	if n == nil || named(d.now, n) || named(d.durable, n) {
		return
	}
	watched.Lock()
	defer watched.Unlock()
	if watched.nodes[n.inode] == n {
		delete(watched.nodes, n.inode)
	}
	n.file.Close() //nolint:errcheck // only read
}

func named(names map[string]*node, n *node) bool {
	for _, other := range names {
		if other == n {
			return true
		}
	}
	return false
}

// rel is a path below root; "" for root.
func (d *Disk) rel(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(filepath.Clean(path), d.root), "/")
}

func (d *Disk) holds(path string) bool { return strings.HasPrefix(path, d.root+"/") }

// parent is the folder of a path below root.
func parent(rel string) string {
	if p := filepath.Dir(rel); p != "." {
		return p
	}
	return ""
}

// note appends a change that is not durable yet.
func (d *Disk) note(c change) {
	c.n = d.done
	d.done++
	d.pending = append(d.pending, c)
}

// commit makes durable what a sync of n does, of the changes that came before upTo.
func (d *Disk) commit(n *node, upTo int) {
	last := -1
	for _, c := range d.pending {
		if c.n < upTo && (c.node == n || d.in(n, c)) {
			last = c.n
		}
	}
	d.settle(func(c change) bool {
		switch d.names {
		case Ordered:
			return c.n <= last
		case Own:
			return c.n < upTo && (c.node == n || d.in(n, c))
		default:
			return c.n < upTo && (c.node == n && c.ofSize() || d.in(n, c))
		}
	})
}

// in is whether a change is of a name in the folder n.
func (d *Disk) in(n *node, c change) bool {
	return n.folder && (c.to != "" && d.now[parent(c.to)] == n || c.from != "" && d.now[parent(c.from)] == n)
}

// settle makes changes durable, in their order, and keeps the others.
func (d *Disk) settle(is func(change) bool) {
	left := d.pending[:0]
	var gone []*node
	for _, c := range d.pending {
		switch {
		case !is(c):
			left = append(left, c)
		case c.ofSize():
			if c.node.bytes = resize(c.node.bytes, c.size); c.shortened {
				c.node.cutOff = c.n
			}
		default:
			gone = append(gone, d.durable[c.from], d.durable[c.to])
			c.rename(d.durable)
		}
	}
	clear(d.pending[len(left):])
	d.pending = left
	for _, n := range gone {
		d.forget(n)
	}
}

// rename makes a change of names. A folder takes along what is in it.
func (c change) rename(names map[string]*node) {
	if c.from != "" && c.to != "" && c.node.folder {
		for name, n := range maps.Clone(names) {
			if in, ok := strings.CutPrefix(name, c.from+"/"); ok {
				delete(names, name)
				names[c.to+"/"+in] = n
			}
		}
	}
	if c.from != "" {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.node
	}
}

// resize cuts bytes off, or adds zeros.
func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size:size] // no room behind it: what was cut off doesn't come back
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}
