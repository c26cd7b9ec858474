package journal

import (
	"errors"
	"fmt"
	"slices"
)

// prepared is the preparer's answer.
type prepared struct {
	segment *segment
	err     error
}

// prepareAll is the preparer: it makes each segment before it is needed.
func (j *Journal) prepareAll() {
	defer close(j.done)
	for number := range j.want {
		s, err := j.prepare(number)
		j.ready <- prepared{s, err}
	}
}

// ask makes the preparer prepare the next segment. j.write is held, or the journal is
// not open yet.
func (j *Journal) ask() {
	if j.asked {
		return
	}
	j.mu.Lock()
	number := uint64(1)
	if n := len(j.segments); n > 0 {
		number = j.segments[n-1].number + 1
	}
	j.mu.Unlock()
	j.asked = true
	j.want <- number
}

// next makes the prepared segment the last one. If preparing failed before, it tries
// again. j.write is held.
func (j *Journal) next() (*segment, error) {
	var p prepared
	for range 2 {
		j.ask()
		p = <-j.ready
		j.asked = false
		if p.err == nil {
			j.mu.Lock()
			j.segments = append(j.segments, p.segment)
			j.mu.Unlock()
			j.ask()
			return p.segment, nil
		}
	}
	return nil, p.err
}

// prepare makes a segment without frames. The segment gets its name when all of it is
// durable, so every segment with a name has a whole head.
func (j *Journal) prepare(number uint64) (*segment, error) {
	f, name, err := j.blank(j.o.SegmentSize)
	if err != nil {
		return nil, fmt.Errorf("prepare a segment: %w", err)
	}
	s := newSegment(number, f, j.o.SegmentSize)
	if err := errors.Join(s.begin(j.o.Key), f.sync()); err != nil {
		return nil, fmt.Errorf("prepare a segment: %w", errors.Join(err, f.Close(), j.disk.remove(name)))
	}
	if err := j.install(s, name); err != nil {
		return nil, fmt.Errorf("prepare a segment: %w", errors.Join(err, f.Close()))
	}
	return s, nil
}

// install gives a segment, all of which is durable, its name.
func (j *Journal) install(s *segment, from string) error {
	return errors.Join(j.disk.rename(from, s.name), j.disk.syncDir())
}

// blank is a file of real blocks with a name that no segment has. It is a spare file
// with old frames, or a new file full of zeros that is not synced yet.
func (j *Journal) blank(size int64) (f file, name string, err error) {
	piece := hasty
	j.mu.Lock()
	if n := len(j.spares); n > 0 && size == j.o.SegmentSize && !j.unused {
		name, j.spares = j.spares[n-1], j.spares[:n-1]
	}
	if len(j.segments) > 0 {
		piece = gentle
	}
	j.mu.Unlock()
	if name != "" {
		f, err = j.disk.open(name)
		return f, name, err
	}
	if f, err = j.disk.create(making); err != nil {
		return nil, "", err
	}
	if !j.o.Light {
		if err := fill(f, size, piece); err != nil {
			return nil, "", errors.Join(err, f.Close(), j.disk.remove(making))
		}
	}
	return f, making, nil
}

// How much of a new file is written between two syncs. It is little while there are
// appends, so that they don't wait. Measured on ext4: pieces of 128 KiB did not change
// the p99 of appends, 1 MiB doubled it, 16 MiB made it four times as long.
const (
	gentle int64 = 128 << 10
	hasty  int64 = 1 << 20 // the first append waits for the first segment
)

// fill writes zeros. When blocks have been written, a later write into them changes no
// metadata and never finds the disk full.
func fill(f file, size, piece int64) error {
	b := make([]byte, min(piece, size))
	for at := int64(0); at < size; at += piece {
		if _, err := f.WriteAt(b[:min(piece, size-at)], at); err != nil {
			return err
		}
		if err := f.sync(); err != nil {
			return err
		}
	}
	return nil
}

// giveUp removes the name of a segment that is in no list any more. It keeps the file as
// a spare, unless there are enough or a reader has it open. It syncs the folder: before
// that, the file must not be written to.
func (j *Journal) giveUp(s *segment) error {
	j.mu.Lock()
	name := segmentName(s.number, spare)
	keep := s.refs == 1 && s.size == j.o.SegmentSize && !j.o.Light && len(j.spares) < maxSpares && !slices.Contains(j.spares, name)
	j.mu.Unlock()
	var err error
	if keep {
		err = j.disk.rename(s.name, name)
	} else {
		err = j.disk.remove(s.name)
	}
	if err = errors.Join(err, j.disk.syncDir(), j.release(s)); err != nil {
		return fmt.Errorf("give up %s: %w", j.path(s.name), err)
	}
	if keep {
		j.mu.Lock()
		j.spares = append(j.spares, name)
		j.mu.Unlock()
	}
	return nil
}
