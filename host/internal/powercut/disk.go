// Package powercut simulates power cuts for tests. A [Disk] watches a folder in which a
// program works. For each file it knows which bytes are durable because they were
// synced, and which are only in the page cache. [Disk.Cut] makes what may be found
// after a power cut: all durable bytes, and any pages or sectors of the others.
//
// A layer in package syscall tells the Disk of syncs and of changes of sizes and names.
// [Build] builds a test program with this layer, with the -overlay flag of go build, as
// package clocktest does for clocks. The package has no copy of Go's source. It starts
// no goroutine. Start at [Watch]; TestCuts shows how it is used.
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

// Names says which names of files a power cut leaves in the folders.
type Names int

const (
	// Ordered keeps the order of changes: a sync of a file makes its own changes
	// durable, and all that came before them. ext4 and XFS work like this, because of
	// their journal.
	Ordered Names = iota
	// Own makes the name of a synced file durable. Chance decides about others.
	Own
	// Strict is what POSIX promises and no more: a name is durable when its folder was
	// synced. Before that chance decides.
	Strict
)

// allNames are the words for the modes.
var allNames = []string{"ordered", "own", "strict"}

// String is the mode in one word.
func (n Names) String() string { return allNames[n] }

// Disk is a watched folder.
type Disk struct {
	root  string
	names Names

	// Event, if not nil, is called before, during and after each call that makes
	// something durable or that a power cut may undo. It runs on the goroutine that
	// makes the call, without a lock, so it may cut the power or wait. Set it before
	// the folder is used.
	Event func(what string)

	// mu guards what follows. While it is held, no such call goes on.
	mu      sync.Mutex
	rng     *rand.Rand
	now     map[string]*node // by path below root
	durable map[string]*node // the names that are on the disk
	pending []change         // changes that are not durable, in the order of the calls
	done    int              // how many changes there were
	missed  error            // why the Disk does not know what the program sees; nil: it does
}

// node is a file or folder. It keeps its node when its name changes.
type node struct {
	disk   *Disk
	name   string // the first one
	inode  inode
	folder bool
	file   *os.File // for the Disk's own reading
	bytes  []byte   // the durable ones
	cutOff int      // number of the last change that made bytes shorter

	syncing sync.Mutex // one sync at a time
}

type inode struct{ dev, ino uint64 }

// change is a change of a name, or of a size if from and to are empty.
type change struct {
	n         int // how many changes came before
	node      *node
	from, to  string // a name that disappears, a name that appears
	size      int64
	shortened bool
}

func (c change) ofSize() bool { return c.from == "" && c.to == "" }

// watched are all Disks. The layer finds them here.
var watched = struct {
	sync.RWMutex
	disks []*Disk
	nodes map[inode]*node
}{nodes: map[inode]*node{}}

// Watch begins to watch a folder. root is an absolute path. Everything that is in the
// folder now counts as durable.
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

// adopt makes the node of a file that the Disk does not know.
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

// forget removes a node that has no name any more.
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

// commit makes changes durable as a sync of n does. It leaves out changes from upTo on.
func (d *Disk) commit(n *node, upTo int) {
	last := -1
	for _, c := range d.pending {
		if c.n < upTo && (c.node == n || d.in(n, c)) {
			last = c.n
		}
	}
	d.makeDurable(func(c change) bool {
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

// in reports whether a change is of a name in the folder n.
func (d *Disk) in(n *node, c change) bool {
	return n.folder && (c.to != "" && d.now[parent(c.to)] == n || c.from != "" && d.now[parent(c.from)] == n)
}

// makeDurable makes the changes durable for which is returns true, in their order. The
// others stay pending.
func (d *Disk) makeDurable(is func(change) bool) {
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

// rename applies a change of a name to names. What is in a renamed folder moves with it.
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
		return b[:size:size] // without capacity, so that a later append adds zeros
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}
