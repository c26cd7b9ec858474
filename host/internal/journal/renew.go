package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Renew makes the files of the folder hold nothing of the commits so far. commit is called
// twice, and appends at least one commit each time. give is called then, and returns when
// Trim was told to give up all commits before the last one. Appends go on meanwhile: what
// they bring stays. After an error some files are still as they were, and the next Renew
// goes on with them.
//
// A file that was in use has frames up to its end, and the one that is prepared may have been
// used before. So both are left behind, and until then no file is used again. The spare
// files are full of zeros afterwards. Weak: a file system that copies on write, or an SSD,
// may keep the old blocks where no file has them.
func (j *Journal) Renew(ctx context.Context, commit func() error, give func() error) error {
	j.renewing.Lock()
	defer j.renewing.Unlock()
	j.mu.Lock()
	j.unused = true
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		j.unused = false
		j.mu.Unlock()
	}()
	for range 2 { // the prepared one may have been a spare file
		if err := j.turn(ctx); err != nil {
			return err
		}
		if err := commit(); err != nil {
			return err
		}
	}
	if err := give(); err != nil {
		return err
	}
	return j.wipe(ctx)
}

// turnPause is how long turn waits before it asks again whether the next segment is ready.
const turnPause = 5 * time.Millisecond

// turn makes the next append begin a segment. It waits until the preparer has one, while
// appends go on.
func (j *Journal) turn(ctx context.Context) error {
	for {
		turned, err := j.tryTurn()
		if turned || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(turnPause):
		}
	}
}

func (j *Journal) tryTurn() (turned bool, err error) {
	j.write.Lock()
	defer j.write.Unlock()
	if err := j.usable(); err != nil {
		return false, err
	}
	j.mu.Lock()
	n := len(j.segments)
	fresh := n == 0 || j.segments[n-1].empty()
	j.mu.Unlock()
	if fresh { // an empty one may only be the last: it must get a frame first
		return true, nil
	}
	if j.ask(); len(j.ready) == 0 {
		return false, nil
	}
	if _, err := j.next(); err != nil {
		return false, fmt.Errorf("begin a segment: %w", err)
	}
	return true, nil
}

// wipe writes zeros over the spare files. None is used meanwhile.
func (j *Journal) wipe(ctx context.Context) error {
	j.mu.Lock()
	names := slices.Clone(j.spares)
	j.mu.Unlock()
	for _, name := range names {
		if err := j.wipeOne(name); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

func (j *Journal) wipeOne(name string) error {
	f, err := j.disk.open(name)
	if err == nil {
		err = errors.Join(fill(f, j.o.SegmentSize, gentle), f.Close())
	}
	if err != nil {
		return fmt.Errorf("write zeros over %s: %w", j.path(name), err)
	}
	return nil
}
