package journal

import (
	"errors"
	"fmt"
)

// Trim removes the segments that have only commits up to the given one. The segment
// with the last commit stays, so that the next number is known. Appends continue
// meanwhile; a reader inside a segment can read it to its end.
func (j *Journal) Trim(upTo uint64) error {
	j.shape.Lock()
	defer j.shape.Unlock()
	for {
		s := j.takeOldest(upTo)
		if s == nil {
			return j.usable()
		}
		// One by one, with a sync of the folder between: if a younger one were gone while
		// an older one is there, there would be a hole.
		if err := j.giveUp(s); err != nil {
			return j.broke(fmt.Errorf("trim to commit %d: %w", upTo, err))
		}
	}
}

// takeOldest takes the first segment out of the list, if it may go.
func (j *Journal) takeOldest(upTo uint64) *segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil || len(j.segments) < 2 || j.segments[1].empty() || j.segments[0].last > upTo {
		return nil
	}
	s := j.segments[0]
	j.segments = j.segments[1:]
	j.held -= s.end - segmentHead
	return s
}

// Cut drops all commits from the given one on and keeps those before. After a power cut
// meanwhile, any number of them may be gone, from the last one downwards.
func (j *Journal) Cut(from uint64) error {
	j.write.Lock()
	defer j.write.Unlock()
	j.shape.Lock()
	defer j.shape.Unlock()
	if err := j.usable(); err != nil {
		return err
	}
	if from > j.Last() {
		return nil
	}
	if err := j.cut(from); err != nil {
		return j.broke(fmt.Errorf("cut from commit %d on: %w", from, err))
	}
	j.ask()
	return nil
}

// cut drops segments from the last one downwards. It writes the segment of the given
// commit again, without that commit and those after it.
func (j *Journal) cut(from uint64) error {
	j.ask()
	p := <-j.ready // the preparer rests from here on
	if j.asked = false; p.err == nil {
		if err := j.giveUp(p.segment); err != nil {
			return err
		}
	}
	for {
		s := j.takeNewest(from)
		if s == nil {
			break
		}
		if err := j.giveUp(s); err != nil {
			return err
		}
	}
	j.mu.Lock()
	n := len(j.segments)
	if n == 0 || j.segments[n-1].last < from {
		j.mu.Unlock()
		return nil
	}
	old := j.segments[n-1]
	j.mu.Unlock()
	s, err := j.copyBefore(old, from)
	if err != nil {
		return err
	}
	j.mu.Lock()
	j.segments[n-1] = s
	j.held -= old.end - s.end
	j.mu.Unlock()
	return j.release(old)
}

// takeNewest takes the last segment out of the list, if all of it must go.
func (j *Journal) takeNewest(from uint64) *segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := len(j.segments)
	if n == 0 || !j.segments[n-1].empty() && j.segments[n-1].first < from {
		return nil
	}
	s := j.segments[n-1]
	j.segments = j.segments[:n-1]
	j.held -= s.end - segmentHead
	return s
}

// copyBefore replaces a segment by one of a new generation that has only the frames
// before a commit. The rename removes the others at one moment. Zeros over them could
// be torn, and a torn middle is damage.
func (j *Journal) copyBefore(old *segment, from uint64) (*segment, error) {
	f, name, err := j.blank(old.size)
	if err != nil {
		return nil, err
	}
	s := newSegment(old.number, f, old.size)
	err = s.begin(j.o.Key)
	c := old.cursor(segmentHead, old.end, readChunk)
	var b []byte
	for commit := old.first; commit < from && err == nil; commit++ {
		var fr frame
		if fr, err = j.frameOf(c, old, commit); err != nil {
			break
		}
		b = put(b[:0], s.seal, s.generation, commit, int(fr.place), fr.record)
		_, err = f.WriteAt(b, s.end)
		s.added(commit, fr.size)
		c.at += fr.size
	}
	if err = errors.Join(err, f.sync()); err != nil {
		return nil, errors.Join(err, f.Close(), j.disk.remove(name))
	}
	if err := j.install(s, name); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}
