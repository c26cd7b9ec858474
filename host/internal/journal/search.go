package journal

import (
	"context"
	"errors"
	"io/fs"
)

// Search names the files that have a record, decrypted, of which is is true, whether or not the
// journal still needs it: spare files are searched too, and what a segment has of earlier times
// under its present key. It finds what a search of the files' bytes can't find, because they are
// encrypted. Without a key there is no such thing, and it finds nothing. Appends and Trim
// go on meanwhile.
func (j *Journal) Search(ctx context.Context, is func(record []byte) bool) (files []string, err error) {
	if j.o.Key == nil {
		return nil, nil
	}
	names, err := j.disk.list()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		number, _, ok := parseName(name)
		if !ok {
			continue // one that is being made: it has no frame under a key that is kept
		}
		has, err := j.searchFile(ctx, name, number, is)
		if err != nil {
			return files, err
		}
		if has {
			files = append(files, j.path(name))
		}
	}
	return files, nil
}

func (j *Journal) searchFile(ctx context.Context, name string, number uint64, is func(record []byte) bool) (has bool, err error) {
	f, err := j.disk.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.size()
	if err != nil {
		return false, err
	}
	s := newSegment(number, f, size)
	if damage := (*DamageError)(nil); errors.As(s.readHead(j.path(name), j.o.Key), &damage) {
		return false, nil // wiped, or getting its next head: the key of what is in it is gone
	} else if s.seal == nil {
		return false, nil // not encrypted
	}
	c := s.cursor(segmentHead, size, readChunk)
	for {
		fr, ok, err := c.find()
		if !ok || err != nil {
			return false, err
		}
		if record, ok := c.open(fr); ok && is(record) {
			return true, nil
		}
		if c.at += fr.size; ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
	}
}
