package journal

import (
	"crypto/cipher"
	"fmt"
)

// Append adds one commit, which is durable when it returns. The first commit may
// have any number but 0, each later one follows the last.
//
// If a commit doesn't follow, a record is too large, or the disk has no space for
// another segment, Append returns an error and changes nothing. After any other error
// nobody knows what is on disk, so the journal is not written any more.
func (j *Journal) Append(commit uint64, record []byte) error {
	j.write.Lock()
	defer j.write.Unlock()
	j.one[0] = record
	err := j.append(commit, j.one[:])
	j.one[0] = nil
	return err
}

// AppendAll adds several commits in as few writes as possible. Each write is synced
// before the next. After an error or a power cut, the first few of them may be there,
// without gaps.
func (j *Journal) AppendAll(first uint64, records ...[]byte) error {
	j.write.Lock()
	defer j.write.Unlock()
	return j.append(first, records)
}

func (j *Journal) append(commit uint64, records [][]byte) error {
	j.mu.Lock()
	err, last := j.broken, j.lastCommit()
	var at *segment // the one that is appended to
	if n := len(j.segments); n > 0 {
		at = j.segments[n-1]
	}
	j.mu.Unlock()
	if err != nil {
		return err
	}
	if commit == 0 || last > 0 && commit != last+1 {
		return fmt.Errorf("append commit %d: it does not follow %d", commit, last)
	}
	largest := min(MaxRecord, j.o.SegmentSize-segmentHead-frameHead-frameAlign-j.o.added())
	for i, r := range records {
		if int64(len(r)) > largest {
			return fmt.Errorf("append commit %d: %w: %d bytes, %d are possible", commit+uint64(i), ErrTooLarge, len(r), largest)
		}
	}
	for len(records) > 0 {
		n := 0
		if at != nil {
			n = fitting(records, at.size-at.end, at.seal)
		}
		if n == 0 {
			if at, err = j.next(); err != nil {
				return fmt.Errorf("append commit %d: %w", commit, err)
			}
			continue
		}
		if err := j.writeFrames(at, commit, records[:n]); err != nil {
			return j.broke(fmt.Errorf("append commit %d to %s: %w", commit, j.path(at.name), err))
		}
		commit, records = commit+uint64(n), records[n:]
	}
	return nil
}

// fitting is how many records fit into one write of that size.
func fitting(records [][]byte, room int64, seal cipher.AEAD) (n int) {
	room = min(room, maxAppend-page)
	for _, r := range records {
		if room -= frameSize(stored(len(r), seal)); room < 0 {
			break
		}
		n++
	}
	return n
}

// keepBuffer is the largest buffer that is kept from one append to the next.
const keepBuffer = 1 << 20

// writeFrames writes records after the last frame of a segment, with one write and one
// sync. Readers see the records only after the sync, when they are durable.
func (j *Journal) writeFrames(s *segment, commit uint64, records [][]byte) error {
	b := j.buf[:0]
	for i, r := range records {
		b = put(b, s.seal, s.generation, commit+uint64(i), i, r)
	}
	b = pad(b, min(roundUp(s.end+int64(len(b)), page), s.size)-s.end)
	if j.buf = nil; cap(b) <= keepBuffer {
		j.buf = b
	}
	if _, err := s.f.WriteAt(b, s.end); err != nil {
		return err
	}
	if err := s.f.sync(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, r := range records {
		size := frameSize(stored(len(r), s.seal))
		s.added(commit+uint64(i), size)
		j.held += size
	}
	return nil
}
