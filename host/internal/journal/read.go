package journal

import (
	"bytes"
	"errors"
	"fmt"
)

// Read calls f with each commit from the given one on (0: from the first), up to the
// last one at the time of the call. The record is valid only during f. A commit before
// the first one is [ErrNotFound], so that no gap is missed; one after the last is no
// error. f may append and trim; what it trims is still read.
func (j *Journal) Read(from uint64, f func(commit uint64, record []byte) error) (err error) {
	spans, first := j.lend(from)
	defer func() {
		for _, s := range spans {
			err = errors.Join(err, j.release(s.segment))
		}
	}()
	if from > 0 && from < first {
		return fmt.Errorf("read commit %d: %w, which begins with %d", from, ErrNotFound, first)
	}
	c := new(cursor)
	for _, s := range spans {
		buf, plain := c.buf[:0], c.plain
		c = s.segment.cursor(s.start.at, s.end, readChunk)
		c.buf, c.base, c.plain = buf, 0, plain
		for commit := s.start.commit; commit <= s.last; commit++ {
			fr, err := j.frameOf(c, s.segment, commit)
			if err != nil {
				return err
			}
			if commit >= from {
				if err := f(commit, fr.record); err != nil {
					return err
				}
			}
			c.at += fr.size
		}
	}
	return nil
}

// Get is a copy of one commit's record, or [ErrNotFound].
func (j *Journal) Get(commit uint64) (record []byte, err error) {
	s, err := j.lendOne(commit)
	if err != nil {
		return nil, fmt.Errorf("get commit %d: %w", commit, err)
	}
	defer func() { err = errors.Join(err, j.release(s.segment)) }()
	c := s.segment.cursor(s.start.at, s.end, markEvery)
	for at := s.start.commit; at < commit; at++ {
		fr, _, ok, err := c.head()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", j.path(s.segment.name), err)
		}
		if !ok || fr.commit != at {
			return nil, j.damaged(c, s.segment, at)
		}
		c.at += fr.size
	}
	fr, err := j.frameOf(c, s.segment, commit)
	return bytes.Clone(fr.record), err
}

// frameOf is the frame at a cursor, which must be whole and a commit's. Its record is decrypted.
func (j *Journal) frameOf(c *cursor, s *segment, commit uint64) (frame, error) {
	f, ok, err := c.frame()
	switch {
	case err != nil:
		return frame{}, fmt.Errorf("read %s: %w", j.path(s.name), err)
	case !ok || f.commit != commit:
		return frame{}, j.damaged(c, s, commit)
	}
	if f.record, ok = c.open(f); !ok {
		return frame{}, &DamageError{File: j.path(s.name), Offset: c.at, Commit: commit, What: "the frame is whole, but was not encrypted by this segment's key: somebody has changed it"}
	}
	return f, nil
}

func (j *Journal) damaged(c *cursor, s *segment, commit uint64) error {
	return &DamageError{File: j.path(s.name), Offset: c.at, Commit: commit, What: "the frame was whole before and is not any more"}
}

// span is what a reader may read of a segment, which stays open for it.
type span struct {
	segment *segment
	start   mark
	last    uint64
	end     int64
}

// lend is all spans with commits from the given one on, and the first commit that
// there is. Each must be released.
func (j *Journal) lend(from uint64) (spans []span, first uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		if s.empty() {
			break
		}
		if first == 0 {
			first = s.first
		}
		if s.last >= from {
			spans = append(spans, s.lend(from))
		}
	}
	return spans, first
}

func (j *Journal) lendOne(commit uint64) (span, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		if !s.empty() && s.first <= commit && commit <= s.last {
			return s.lend(commit), nil
		}
	}
	if len(j.segments) == 0 && errors.Is(j.broken, ErrClosed) {
		return span{}, ErrClosed
	}
	return span{}, ErrNotFound
}

// lend is a span that begins at or before a commit. Journal.mu is held.
func (s *segment) lend(from uint64) span {
	s.refs++
	return span{s, s.near(max(from, s.first)), s.last, s.end}
}
