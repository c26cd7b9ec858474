package powercut

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// layered says whether this program was built with the layer.
var layered bool

// call is a system call that makes something durable, or that a power cut may undo.
type call struct {
	name          string // open, mkdir, unlink, rename; sync, msync, truncate, allocate
	path, to      string
	flags         int
	fd            int
	size          int64
	address, span uintptr
}

// event is called by the layer for each such call. do makes the real call. A sync is
// never made for real: it takes time, and the Disk alone keeps what is durable.
func event(c *call, do func() error) error {
	switch c.name {
	case "open", "mkdir", "unlink", "rename":
		d := diskOf(c.path)
		if d == nil {
			return do()
		}
		return d.tell(c.name+" "+d.rel(c.path), func() error { return d.name(c, do) })
	}
	n, from, to := nodeOf(c)
	if n == nil {
		return do()
	}
	what := c.name + " " + n.name
	return n.disk.tell(what, func() error {
		if c.name == "sync" || c.name == "msync" {
			n.sync(from, to, what)
			return nil
		}
		return n.truncate(c, do)
	})
}

func (d *Disk) tell(what string, do func() error) error {
	d.event("before " + what)
	defer d.event("after " + what)
	return do()
}

func (d *Disk) event(what string) {
	if d.Event != nil {
		d.Event(what)
	}
}

func diskOf(path string) *Disk {
	watched.RLock()
	defer watched.RUnlock()
	for _, d := range watched.disks {
		if d.holds(path) {
			return d
		}
	}
	return nil
}

// nodeOf finds the file of a call, and the range of its bytes that the call is for.
func nodeOf(c *call) (n *node, from, to int64) {
	var id inode
	if c.name == "msync" {
		if id, from = mapped(c.address); id == (inode{}) {
			return nil, 0, 0
		}
		to = from + int64(c.span)
	} else {
		var s syscall.Stat_t
		if syscall.Fstat(c.fd, &s) != nil {
			return nil, 0, 0
		}
		id, to = inode{uint64(s.Dev), s.Ino}, wholeFile //nolint:unconvert // other systems have other types
	}
	watched.RLock()
	defer watched.RUnlock()
	return watched.nodes[id], from, to
}

// mapped finds which file is mapped at an address, and the offset in the file.
func mapped(address uintptr) (inode, int64) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return inode{}, 0
	}
	for line := range strings.Lines(string(maps)) {
		var low, high uintptr
		var rights string
		var offset int64
		var major, minor, ino uint64
		_, err := fmt.Sscanf(line, "%x-%x %s %x %x:%x %d", &low, &high, &rights, &offset, &major, &minor, &ino)
		if err == nil && low <= address && address < high {
			return inode{major<<8 | minor&0xff | minor&^0xff<<12, ino}, offset + int64(address-low)
		}
	}
	return inode{}, 0
}

// name makes the calls that change names: mkdir, unlink, rename, and open with O_CREAT
// or O_TRUNC.
func (d *Disk) name(c *call, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	rel := d.rel(c.path)
	was, cuts := d.now[rel], c.name == "open" && c.flags&os.O_TRUNC != 0
	if was != nil && (cuts || c.name == "unlink") {
		d.writeBack(was, 0)
	}
	if err := do(); err != nil {
		return err
	}
	switch {
	case c.name == "unlink":
		delete(d.now, rel)
		d.note(change{node: was, from: rel})
	case c.name == "rename":
		if was == nil || !d.holds(c.to) {
			d.miss(fmt.Errorf("rename of %s to %s: one of them is outside of the folder", c.path, c.to))
			return nil
		}
		moved := change{node: was, from: rel, to: d.rel(c.to)}
		moved.rename(d.now)
		d.note(moved)
	case was == nil: // open, mkdir
		n, err := d.adopt(c.path)
		if err != nil {
			d.miss(err)
			return nil
		}
		d.now[rel] = n
		d.note(change{node: n, to: rel})
	case cuts:
		d.note(change{node: was, shortened: true})
	}
	return nil
}

// miss notes an error after which the Disk can't say what a cut leaves.
func (d *Disk) miss(err error) { d.missed = errors.Join(d.missed, err) }

// truncate makes the calls ftruncate and fallocate.
func (n *node) truncate(c *call, do func() error) error {
	d := n.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	was := n.size()
	if c.name == "allocate" && c.size <= was {
		return do()
	}
	if c.size < was {
		d.writeBack(n, c.size)
	}
	if err := do(); err != nil {
		return err
	}
	d.note(change{node: n, size: c.size, shortened: c.size < was})
	return nil
}

// sync makes durable what is in the page cache when sync begins. Bytes that are
// written during the sync are not included.
func (n *node) sync(from, to int64, what string) {
	n.syncing.Lock()
	defer n.syncing.Unlock()
	d := n.disk
	d.mu.Lock()
	upTo := d.done
	var pages []page
	var size int64
	if !n.folder {
		pages, size = n.dirty(n.bytes, from, to), n.size()
	}
	d.mu.Unlock()
	d.event("in " + what)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commit(n, upTo)
	if size > int64(len(n.bytes)) && n.cutOff < upTo {
		n.bytes = resize(n.bytes, size)
	}
	n.apply(pages)
}

// apply copies pages into the durable bytes. What is beyond their end is left out.
func (n *node) apply(pages []page) {
	for _, p := range pages {
		if p.at < int64(len(n.bytes)) {
			copy(n.bytes[p.at:], p.bytes)
		}
	}
}

// writeBack writes some dirty pages to the disk, as a system does at any time. It is
// called before bytes are cut off, because a power cut may bring these bytes back.
func (d *Disk) writeBack(n *node, from int64) {
	share := d.rng.IntN(3) // out of two
	if n.folder || share == 0 {
		return
	}
	sized := false // a change of the size is not durable yet
	for _, c := range d.pending {
		sized = sized || c.node == n && c.ofSize()
	}
	for _, p := range n.dirty(n.bytes, from, wholeFile) {
		if d.rng.IntN(2) >= share {
			continue
		}
		if end := p.at + int64(len(p.bytes)); end > int64(len(n.bytes)) && !sized {
			n.bytes = resize(n.bytes, end)
		}
		n.apply([]page{p})
	}
}
