package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// recover reads what is there. It judges everything before it changes anything, so a
// journal that it refuses stays as it was.
func (j *Journal) recover() error {
	// Names that a killed process changed may not be durable yet. The code below writes
	// to files because of their names.
	if err := j.disk.syncDir(); err != nil {
		return fmt.Errorf("sync %s: %w", j.o.Dir, err)
	}
	unwanted, err := j.openAll()
	if err != nil {
		return err
	}
	var starts []int64 // where each segment's last append begins
	for _, s := range j.segments {
		start, err := j.scan(s)
		if err != nil {
			return err
		}
		starts = append(starts, start)
	}
	tail, err := j.judge()
	if err != nil {
		return err
	}

	for _, name := range unwanted {
		if err := j.disk.remove(name); err != nil {
			return err
		}
	}
	// A segment without a whole frame may have a part of one. So it becomes a spare: its
	// next use has another generation.
	for i := len(j.segments) - 1; i > tail; i-- {
		s := j.segments[i]
		j.segments = j.segments[:i]
		if err := j.giveUp(s); err != nil {
			return err
		}
	}
	if tail < 0 {
		return nil
	}
	for _, s := range j.segments {
		j.held += s.end - segmentHead
	}
	s := j.segments[tail]
	if err := j.mend(s, starts[tail]); err != nil {
		return fmt.Errorf("mend the end of %s: %w", j.path(s.name), err)
	}
	return nil
}

// openAll opens the segments in order and lists the spare files. recover removes names
// that nobody needs any more.
func (j *Journal) openAll() (unwanted []string, err error) {
	names, err := j.disk.list()
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", j.o.Dir, err)
	}
	slices.Sort(names)
	for _, name := range names {
		number, kind, ok := parseName(name)
		switch {
		case name == making:
			unwanted = append(unwanted, name)
			continue
		case !ok:
			return nil, fmt.Errorf("%s is not a file of the journal: move it out of the folder", j.path(name))
		}
		f, err := j.disk.open(name)
		if err != nil {
			return nil, err
		}
		size, err := f.size()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if kind == spare {
			if size == j.o.SegmentSize && !j.o.Light && len(j.spares) < maxSpares {
				j.spares = append(j.spares, name)
			} else {
				unwanted = append(unwanted, name)
			}
			if err := f.Close(); err != nil {
				return nil, err
			}
			continue
		}
		s := newSegment(number, f, size)
		j.segments = append(j.segments, s)
		if err := s.readHead(j.path(name), j.o.Key); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(j.segments, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	for i, s := range j.segments {
		if want := j.segments[0].number + uint64(i); s.number != want {
			return nil, &DamageError{File: j.path(segmentName(want, live)), What: fmt.Sprintf("it is missing, while %s is there", s.name)}
		}
	}
	return unwanted, nil
}

// scan reads a segment's frames up to the first that is not whole, and says where
// the last append begins.
func (j *Journal) scan(s *segment) (start int64, err error) {
	c := s.cursor(segmentHead, s.size, readChunk)
	for {
		f, ok, err := c.frame()
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", j.path(s.name), err)
		}
		if !ok || !s.empty() && f.commit != s.last+1 {
			return start, nil
		}
		if f.place == 0 || s.empty() {
			start = c.at
		}
		s.added(f.commit, f.size)
		c.at += f.size
	}
}

// judge finds the tail, which is the last segment with a frame (-1 when there is none).
// It checks that everything before the tail is there, and nothing after it.
func (j *Journal) judge() (tail int, err error) {
	tail = -1
	for i, s := range j.segments {
		if s.empty() {
			continue
		}
		if gap := i - 1 - tail; gap > 0 { // a segment before this one has no frame
			return 0, j.missing(j.segments[i-1], fmt.Sprintf("its first frame is not whole, while %s has frames", s.name))
		}
		if tail >= 0 {
			if before := j.segments[tail]; s.first != before.last+1 {
				return 0, j.missing(before, fmt.Sprintf("the next whole frame is that of commit %d, in %s", s.first, s.name))
			}
		}
		tail = i
	}
	expected := uint64(0)
	if tail >= 0 {
		expected = j.segments[tail].last + 1
	}
	for _, s := range j.segments[max(tail, 0):] {
		if err := j.onlyRemains(s, &expected); err != nil {
			return 0, err
		}
	}
	return tail, nil
}

// onlyRemains reports whether the bytes after a segment's last whole frame can be the
// remains of one append after a power cut. Each append begins when the one before is
// durable. So a whole frame of a later append proves that the expected one was durable.
func (j *Journal) onlyRemains(s *segment, expected *uint64) error {
	c := s.cursor(s.end, s.size, readChunk)
	for {
		f, ok, err := c.find()
		if err != nil {
			return fmt.Errorf("read %s: %w", j.path(s.name), err)
		}
		if !ok {
			return nil
		}
		if *expected == 0 && f.place > 0 {
			*expected = f.begins() // it was to be the first append of all
		}
		if f.begins() > *expected {
			e := j.missing(s, fmt.Sprintf("a whole frame of commit %d, which was appended later, is at byte %d", f.commit, c.at))
			e.Commit = *expected
			return e
		}
		c.at += f.size
	}
}

func (j *Journal) missing(s *segment, what string) *DamageError {
	e := &DamageError{File: j.path(s.name), Offset: s.end, What: what}
	if !s.empty() {
		e.Commit = s.last + 1
	}
	return e
}

// mend makes the end of the last segment durable, and overwrites the remains of a torn
// append after it. It writes the last append again, because its sync may have failed or
// never happened. After a failed sync the operating system marks pages as written that
// are not.
func (j *Journal) mend(s *segment, start int64) error {
	c := s.cursor(start, s.end, readChunk)
	for c.at < c.limit {
		b, err := c.window(1)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return io.ErrUnexpectedEOF
		}
		if _, err := s.f.WriteAt(b, c.at); err != nil {
			return err
		}
		c.at += int64(len(b))
	}
	limit := min(s.end+maxAppend, s.size)
	b := make([]byte, min(limit-s.end, readChunk))
	for at := s.end; at < limit; at += int64(len(b)) {
		if _, err := s.f.WriteAt(b[:min(int64(len(b)), limit-at)], at); err != nil {
			return err
		}
	}
	if err := s.f.sync(); err != nil {
		return err
	}
	if j.o.Light {
		s.size = max(s.size, j.o.SegmentSize) // grows as it is written
	}
	return nil
}
