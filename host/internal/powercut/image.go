package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Image is what may be found after a power cut: the bytes of files by their names below
// the watched folder. The value of a folder is nil.
type Image map[string][]byte

// Cut cuts the power. It makes an image with the help of rng, and calls then with it.
// While then runs, nothing can become durable. So everything that callers were told
// before is in the image, and then is the place to look at what they were told.
func (d *Disk) Cut(rng *rand.Rand, then func(Image) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.check(); err != nil {
		return fmt.Errorf("the layer has missed something in %s: %w", d.root, err)
	}
	img := d.image(rng)
	if d.missed != nil {
		return d.missed
	}
	return then(img)
}

// check compares the names that the Disk knows with those in the folder.
func (d *Disk) check() error {
	seen := 0
	err := filepath.WalkDir(d.root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && d.now[d.rel(path)] == nil {
			err = fmt.Errorf("%s is there, but the layer did not see it", path)
		}
		seen++
		return err
	})
	if err == nil && seen != len(d.now) {
		err = fmt.Errorf("the folder has %d names, the layer has seen %d", seen, len(d.now))
	}
	return errors.Join(err, d.missed)
}

// image makes an image by chance: which pending changes are on the disk, which pages of
// a file are, and whether pages are torn.
func (d *Disk) image(rng *rand.Rand) Image {
	names := maps.Clone(d.durable)
	sizes, undone := map[*node][]int64{}, map[*node][]change{}
	for i, made := range d.made(rng) {
		switch c := d.pending[i]; {
		case made && c.ofSize():
			sizes[c.node] = append(sizes[c.node], c.size)
		case made:
			c.rename(names)
		case c.ofSize():
			undone[c.node] = append(undone[c.node], c)
		}
	}
	torn := rng.IntN(4) == 0
	img := Image{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		n := names[name]
		if above, there := img[parent(name)]; name != "" && (!there || above != nil) {
			continue // its folder does not exist
		}
		if n.folder {
			img[name] = nil
			continue
		}
		b := append(make([]byte, 0, len(n.bytes)), n.bytes...)
		for _, size := range sizes[n] {
			b = resize(b, size)
		}
		if named(d.now, n) {
			b = n.mix(rng, b, undone[n], torn)
		}
		img[name] = b
	}
	return img
}

// made decides by chance which of the pending changes are on the disk.
func (d *Disk) made(rng *rand.Rand) []bool {
	made := make([]bool, len(d.pending))
	if d.names == Ordered {
		for i := range rng.IntN(len(d.pending) + 1) {
			made[i] = true
		}
		return made
	}
	share := rng.IntN(5)    // out of four
	stuck := map[any]bool{} // names and files with an earlier change that is not on the disk
	for i, c := range d.pending {
		of := []any{c.from, c.to}
		if c.ofSize() {
			of = []any{c.node}
		}
		made[i] = rng.IntN(4) < share
		for _, o := range of {
			made[i] = made[i] && !(o != "" && stuck[o])
		}
		for _, o := range of {
			stuck[o] = stuck[o] || !made[i]
		}
	}
	return made
}

// mix copies some pages of the page cache into b, the durable bytes. undone are changes
// of the file's size that are not on the disk.
func (n *node) mix(rng *rand.Rand, b []byte, undone []change, torn bool) []byte {
	for _, c := range undone {
		if c.shortened {
			return b // bytes that were written since then are in other blocks of the disk
		}
	}
	pages := n.dirty(b, 0, wholeFile)
	if now := n.size(); len(undone) == 0 && now > int64(len(b)) { // it grew by writes
		size := now
		switch rng.IntN(3) {
		case 0:
			size = int64(len(b))
		case 1:
			size -= rng.Int64N(now - int64(len(b)))
		}
		b = resize(b, size)
	}
	piece := pageSize
	if torn {
		piece = sectorSize
	}
	share := rng.IntN(5) // out of four
	for _, p := range pages {
		for i := 0; i < len(p.bytes); i += piece {
			if at := int(p.at) + i; at < len(b) && rng.IntN(4) < share {
				copy(b[at:], p.bytes[i:min(i+piece, len(p.bytes))])
			}
		}
	}
	return b
}

// Write writes the image into the folder to. Pages of zeros become holes.
func (i Image) Write(to string) error {
	for _, name := range slices.Sorted(maps.Keys(i)) {
		path, write := filepath.Join(to, name), writeSparse
		if i[name] == nil {
			write = func(path string, _ []byte) error { return os.MkdirAll(path, 0o700) }
		}
		if err := write(path, i[name]); err != nil {
			return err
		}
	}
	return nil
}

func writeSparse(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(int64(len(b)))
	for at := 0; at < len(b) && err == nil; at += pageSize {
		if p := b[at:min(at+pageSize, len(b))]; !bytes.Equal(p, zeros[:len(p)]) {
			_, err = f.WriteAt(p, int64(at))
		}
	}
	return errors.Join(err, f.Close())
}
