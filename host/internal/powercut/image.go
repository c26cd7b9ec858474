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

// Image is what may be found after a power cut: files by their names below the
// folder, nil for folders.
type Image map[string][]byte

// Cut cuts the power: it throws rng's dice for an image, and gives it to then while
// nothing can become durable. Who was told of a success before then is called was
// told the truth, so then is where to ask what they know.
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

// check compares the names with those that are there.
func (d *Disk) check() error {
	seen := 0
	err := filepath.WalkDir(d.root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && d.now[d.rel(path)] == nil {
			err = fmt.Errorf("nobody made %s", path)
		}
		seen++
		return err
	})
	if err == nil && seen != len(d.now) {
		err = fmt.Errorf("%d names are there, there should be %d", seen, len(d.now))
	}
	return errors.Join(err, d.missed)
}

// image throws the dice: for the changes that are not durable, for how many of a
// file's pages made it to the disk, and whether those are torn.
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
			continue // its folder is not there
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

// made decides which of the pending changes made it to the disk.
func (d *Disk) made(rng *rand.Rand) []bool {
	made := make([]bool, len(d.pending))
	if d.names == Ordered {
		for i := range rng.IntN(len(d.pending) + 1) {
			made[i] = true
		}
		return made
	}
	share := rng.IntN(5)    // of four
	stuck := map[any]bool{} // names and files of which an earlier change did not make it
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

// mix puts into b, which is what is durable, some of what only the page cache has.
// undone are changes of its size that did not make it to the disk.
func (n *node) mix(rng *rand.Rand, b []byte, undone []change, torn bool) []byte {
	for _, c := range undone {
		if c.shortened {
			return b // what was written since then went to other blocks
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
	share := rng.IntN(5) // of four
	for _, p := range pages {
		for i := 0; i < len(p.bytes); i += piece {
			if at := int(p.at) + i; at < len(b) && rng.IntN(4) < share {
				copy(b[at:], p.bytes[i:min(i+piece, len(p.bytes))])
			}
		}
	}
	return b
}

// Write makes the image a folder, with holes where there are zeros.
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
