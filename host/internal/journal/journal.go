package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"balhost/host/internal/keyfile"
)

// Options say where a journal is, and how large its files are.
type Options struct {
	Dir         string // made when it is missing
	SegmentSize int64  // bytes; 16 MiB when 0
	Light       bool   // for simulations: syncs nothing and writes no zeros, so that files are small
	// Key encrypts the records; nil: they are not encrypted. Open refuses files of another key
	// ([keyfile.ErrKey]), and with a key those that are not encrypted ([keyfile.ErrPlain]).
	Key *keyfile.Key
}

// added is how many bytes encryption adds to a record.
func (o *Options) added() int64 {
	if o.Key == nil {
		return 0
	}
	return keyfile.Overhead
}

const (
	defaultSegment = 16 << 20
	minSegment     = segmentHead + page

	// maxSpares is how many files that were given up are kept to be used again.
	// What frees segments is a flush of the state, which frees a few at once.
	maxSpares = 4
)

// Journal is a log of commits. Appends come one after another. Any goroutine may call
// the other methods at any time.
type Journal struct {
	o    Options
	disk disk

	// Append, AppendAll, Cut and Close hold write, so only one of them runs at a time.
	// It guards the fields below it.
	write  sync.Mutex
	buf    []byte
	one    [1][]byte
	asked  bool // the preparer was asked and its answer not taken
	closed bool

	// shape is held by Trim and Cut, which change which files there are. Taken
	// after write, before mu.
	shape sync.Mutex

	// mu guards the fields below it, and those of segments. Never held over I/O.
	mu       sync.Mutex
	segments []*segment // by number, without gaps; a last one may have no frame yet
	spares   []string   // names of files that may be used again
	held     int64
	broken   error // nothing may be written any more
	unused   bool  // no spare file may be used again now, see Renew

	renewing sync.Mutex // held by Renew, so that one runs at a time. Taken first

	// The preparer takes numbers from want and answers each on ready.
	want  chan uint64
	ready chan prepared
	done  chan struct{}

	unlock func() error
}

// Open opens the journal in a folder and recovers it. It drops what a power cut left of
// the last append. Everything else must be there; other damage is a
// [*DamageError].
func Open(o Options) (*Journal, error) {
	var d disk = folder(o.Dir)
	if o.Light {
		d = unsynced{d}
	}
	return open(o, d)
}

func open(o Options, d disk) (*Journal, error) {
	if o.SegmentSize == 0 {
		o.SegmentSize = defaultSegment
	}
	if o.SegmentSize < minSegment {
		return nil, fmt.Errorf("open journal %s: segments of %d bytes are too small, the least is %d", o.Dir, o.SegmentSize, minSegment)
	}
	unlock, err := d.lock()
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &Journal{
		o: o, disk: d, unlock: unlock,
		want: make(chan uint64, 1), ready: make(chan prepared, 1), done: make(chan struct{}),
	}
	if err := j.recover(); err != nil {
		for _, s := range j.segments {
			err = errors.Join(err, s.f.Close())
		}
		return nil, errors.Join(fmt.Errorf("open journal: %w", err), unlock())
	}
	go j.prepareAll() //house:go Close closes want and awaits done
	j.ask()
	return j, nil
}

// Close ends the preparer and closes the files. Every append that returned is
// durable already.
func (j *Journal) Close() error {
	j.write.Lock()
	defer j.write.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	close(j.want)
	<-j.done
	var err error
	if j.asked {
		if p := <-j.ready; p.segment != nil {
			err = p.segment.f.Close()
		}
	}
	j.shape.Lock()
	defer j.shape.Unlock()
	j.mu.Lock()
	if j.broken == nil {
		j.broken = ErrClosed
	}
	gone := j.segments
	j.segments, j.held = nil, 0
	j.mu.Unlock()
	for _, s := range gone {
		err = errors.Join(err, j.release(s))
	}
	return errors.Join(err, j.unlock())
}

// First is the oldest commit, 0 when there is none.
func (j *Journal) First() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.segments) == 0 {
		return 0
	}
	return j.segments[0].first
}

// Last is the newest commit, 0 when there is none. It is durable.
func (j *Journal) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lastCommit()
}

// lastCommit is Last. j.mu is held.
func (j *Journal) lastCommit() uint64 {
	for i := len(j.segments) - 1; i >= 0; i-- {
		if s := j.segments[i]; !s.empty() {
			return s.last
		}
	}
	return 0
}

// Held is how many bytes the frames from First to Last have.
func (j *Journal) Held() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.held
}

// Size is how many bytes the files have: those in use, and the spare ones.
func (j *Journal) Size() (n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		if j.o.Light {
			n += s.end
		} else {
			n += s.size
		}
	}
	return n + int64(len(j.spares))*j.o.SegmentSize
}

// usable is the error that prevents writes to the journal, or nil.
func (j *Journal) usable() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.broken
}

// broke stops all writes to the journal, because nobody knows which part of the failed
// operation is on disk. The next Open finds out.
func (j *Journal) broke(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = fmt.Errorf("%w after: %w", ErrBroken, err)
	}
	return err
}

// release gives a reference back; the last one closes the file.
func (j *Journal) release(s *segment) error {
	j.mu.Lock()
	s.refs--
	last := s.refs == 0
	j.mu.Unlock()
	if last {
		return s.f.Close()
	}
	return nil
}

func (j *Journal) path(name string) string { return filepath.Join(j.o.Dir, name) }
