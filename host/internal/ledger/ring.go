package ledger

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"balhost/host/internal/entry"
)

// soon are the timers that are due next. The others are only on the disk, so a million of
// them cost no memory.
type soon struct {
	timers []dueAt // sorted
	to     dueAt   // every timer that waits and is not later than this is in timers
}

const (
	soonTimers = 4096 // in memory
	// ringEvery is how long the ledger waits for a timer before it looks at its clock
	// again: while the machine sleeps, Go's clock can stand still.
	ringEvery = time.Second
)

// never is later than every timer.
var never = dueAt{due: math.MaxInt64, seq: math.MaxUint64}

func (a dueAt) compare(b dueAt) int {
	return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq))
}

// add takes a timer in, if it is not later than to. If there are too many, the latest
// ones go out.
func (s *soon) add(at dueAt) {
	if at.compare(s.to) > 0 {
		return
	}
	i, found := slices.BinarySearchFunc(s.timers, at, dueAt.compare)
	if found {
		return
	}
	s.timers = slices.Insert(s.timers, i, at)
	if len(s.timers) > soonTimers {
		s.timers = s.timers[:soonTimers/2]
		s.to = s.timers[len(s.timers)-1]
	}
}

// take takes out the first timers that are due at now, as many as one operation may have.
func (s *soon) take(now int64) []dueAt {
	n, bytes := 0, 0
	for n < len(s.timers) && n < fireTimers && s.timers[n].due <= now {
		if bytes += int(s.timers[n].bytes); n > 0 && bytes > fireBytes {
			break
		}
		n++
	}
	due := slices.Clone(s.timers[:n])
	s.timers = slices.Delete(s.timers, 0, n)
	return due
}

// ring makes events of the timers that are due, until ctx ends.
func (l *Ledger) ring(ctx context.Context) error {
	for ctx.Err() == nil && l.failed() == nil {
		more := l.changed(&l.timersChanged)
		now, _ := l.clock.now()
		l.mu.Lock()
		due := l.soon.take(now.UnixNano())
		next, known := never, len(l.soon.timers) > 0
		if known {
			next = l.soon.timers[0]
		}
		read := len(due) == 0 && !known && l.soon.to != never
		l.mu.Unlock()
		var err error
		switch {
		case len(due) > 0:
			err = l.wait(&fire{due})
		case read:
			err = l.readSoon()
		default:
			pause(ctx, more, min(time.Duration(next.due-now.UnixNano()), ringEvery), known)
		}
		if errors.Is(err, entry.ErrClosed) {
			return nil
		}
		l.unreadable(err)
	}
	return nil
}

// pause waits for more or the end of ctx; if there is a timer, no longer than d.
func pause(ctx context.Context, more <-chan struct{}, d time.Duration, isTimer bool) {
	var late <-chan time.Time
	if isTimer {
		t := time.NewTimer(d)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-more:
	case <-late:
	case <-ctx.Done():
	}
}

// readSoon reads the timers that follow those that memory had. What commits add
// meanwhile is collected in late.
func (l *Ledger) readSoon() error {
	late := &soon{to: never}
	l.mu.Lock()
	from := l.soon.to
	l.late = late
	l.mu.Unlock()
	start := time.Now() // real time, as scan's limit is
	var read soon
	err := l.scan([]byte{kindWaiting}, appendDueKey(nil, dueAt{due: from.due, seq: from.seq + 1}), func(key, record []byte) (bool, error) {
		at, err := readDueKey(key)
		if err != nil {
			return false, err
		}
		at.bytes = uint32(len(record))
		read.timers = append(read.timers, at)
		return len(read.timers) < soonTimers/2, nil
	})
	if err != nil {
		return err
	}
	switch n := len(read.timers); {
	case n < soonTimers/2 && time.Since(start) < scanTime:
		read.to = never
	case n > 0:
		read.to = read.timers[n-1]
	default:
		read.to = from
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = nil
	if late.to.compare(read.to) < 0 {
		read.to = late.to
		n, _ := slices.BinarySearchFunc(read.timers, read.to, dueAt.compare)
		read.timers = read.timers[:n] // late has the one at n, if any
	}
	for _, at := range late.timers {
		read.add(at)
	}
	l.soon = read
	return nil
}

// scheduled takes the timers of a commit in. Ledger.mu is held.
func (l *Ledger) scheduled(due []dueAt) {
	for _, at := range due {
		l.soon.add(at)
		if l.late != nil {
			l.late.add(at)
		}
	}
	if len(due) > 0 {
		l.timersChanged.fire()
	}
}
