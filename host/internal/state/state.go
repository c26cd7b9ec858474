package state

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/btree"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"balhost/host/internal/keyfile"
)

// Options says where a state is. Dir, Schema and the functions are required.
type Options struct {
	Dir    string // of badger's files; made if it is missing; only one process at a time can use it
	Schema uint16 // the version of keys and records; Open refuses other versions
	// Ordered has the first bytes of the keys that Scan can read. The layers keep these in order.
	Ordered string
	Light   bool         // for simulations: small files, no compaction
	Key     *keyfile.Key // encrypts badger's files; nil: they are not encrypted. Open refuses those of another key, as CheckKey does
	Log     hclog.Logger // badger's

	// Bad is called, from any goroutine, when badger can't be trusted any more.
	Bad func(error)
	// Durable is called when all commits up to one are in synced tables and need no
	// replay any more. Bad gets its error.
	Durable func(commit uint64) error

	Layer    int // bytes of frames from which a layer is written to badger; 4 MiB when 0
	MemTable int // bytes of one of badger's memtables, of which there are two; 8 MiB when 0
	Rotate   int // after so many bytes of frames at the latest, what was applied is made durable; 64 MiB when 0
}

func (o Options) withDefaults() Options {
	o.Layer = cmp.Or(o.Layer, 4<<20)
	o.MemTable = cmp.Or(o.MemTable, 8<<20)
	o.Rotate = cmp.Or(o.Rotate, 64<<20)
	return o
}

// ErrClosed is the error of reads after Close.
var ErrClosed = errors.New("the state is closed")

// keyApplied is the record of the last commit that badger got: the last write of each
// group. No key of the ledger begins with this byte.
var keyApplied = []byte{0xff, 'c'}

// State is records by key. One goroutine, the committer, calls Apply and has a View. Any
// goroutine may call the other methods.
type State struct {
	o       Options
	db      *badger.DB
	watch   *watch
	reading gate // the readers of badger

	mu     sync.RWMutex // guards the fields below, and the map of the active layer
	active *layer
	frozen *layer // being written to badger; nil: none is
	err    error  // a write to badger failed, and the frozen layer stays
	ended  sync.Cond
	// looking is how many callers wait for a moment between two layers. While there are
	// any, Apply freezes no layer.
	looking int

	writers errgroup.Group // at most one writes a layer
	mark    mark           // the writer's
	since   int            // bytes of frames since the mark; the writer's
}

// layer holds the last change of each key that some commits changed.
type layer struct {
	records map[string]record     // keys and values are the frames'
	ordered *btree.BTreeG[string] // the keys of records that begin with one of the bytes of kinds
	kinds   string
	bytes   int    // of the frames
	commit  uint64 // the last one
}

type record struct {
	value   []byte // nil: deleted
	expires uint64
	isNew   bool // no older layer, and nothing in badger, has the key
}

// newLayer follows another layer, and is probably as large.
func newLayer(last *layer) *layer {
	return &layer{
		records: make(map[string]record, len(last.records)), commit: last.commit,
		ordered: btree.NewOrderedG[string](32), kinds: last.kinds,
	}
}

// origin says where a commit comes from.
type origin int

const (
	fresh    origin = iota // it was made just now
	replayed               // it was in the journal at the start
)

// change records a change in the layer.
func (l *layer) change(c Change, of origin) {
	r := record{expires: c.Expires, isNew: c.New && of == fresh}
	last, found := l.records[text(c.Key)]
	if found {
		r.isNew = last.isNew
	}
	inOrder := len(c.Key) > 0 && strings.IndexByte(l.kinds, c.Key[0]) >= 0
	switch {
	case !c.Delete:
		r.value = c.Value
	case r.isNew:
		delete(l.records, text(c.Key))
		if inOrder {
			l.ordered.Delete(text(c.Key))
		}
		return
	}
	if inOrder && !found {
		l.ordered.ReplaceOrInsert(text(c.Key))
	}
	l.records[text(c.Key)] = r
}

// Open opens or makes the state as it is in badger's tables. Commits after Commit must be
// applied again, by Replay.
func Open(o Options) (*State, error) {
	s := &State{o: o.withDefaults(), active: newLayer(&layer{kinds: o.Ordered})}
	s.ended.L = &s.mu
	s.watch = &watch{log: o.Log}
	var err error
	if s.db, err = openBadger(&s.o, s.watch); err != nil {
		return nil, err
	}
	s.watch.tell(s.o.Bad)
	applied, err := s.applied()
	if err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	s.active.commit = applied
	s.mark = mark{commit: applied, version: s.db.MaxVersion()}
	return s, nil
}

// Commit is the last commit that was applied; after Open, the last one that badger's tables have completely.
func (s *State) Commit() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.active.commit
}

// applied reads the record of the last commit.
func (s *State) applied() (commit uint64, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(keyApplied)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			if len(v) != 8 {
				return errors.New("the record of the last commit is damaged: restore a backup")
			}
			commit = binary.BigEndian.Uint64(v)
			return nil
		})
	})
	return commit, err
}

// Apply makes the changes of one commit visible; the commit is on disk already. The frame
// belongs to the state from now on. Apply waits while two layers are full and the first
// is not written yet.
func (s *State) Apply(commit uint64, frame []byte) error { return s.apply(commit, frame, fresh) }

// Replay is Apply for a commit that was in the journal at the start. A record that was new
// then may be in badger now: the tables may have parts of commits after their last
// complete one. So Replay writes every deletion.
func (s *State) Replay(commit uint64, frame []byte) error { return s.apply(commit, frame, replayed) }

func (s *State) apply(commit uint64, frame []byte, of origin) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if commit != s.active.commit+1 && s.active.commit != 0 {
		return fmt.Errorf("commit %d does not follow commit %d", commit, s.active.commit)
	}
	a := s.active
	err := Changes(frame, func(c Change) { a.change(c, of) })
	if err != nil {
		return err
	}
	a.bytes += len(frame)
	a.commit = commit
	if a.bytes >= s.o.Layer && s.free() {
		s.freeze()
	}
	for s.active.bytes >= 2*s.o.Layer && !s.free() && s.err == nil {
		s.ended.Wait()
		if s.active.bytes >= s.o.Layer && s.free() {
			s.freeze()
		}
	}
	return nil
}

// free reports whether a layer may be frozen. State.mu is held.
func (s *State) free() bool { return s.frozen == nil && s.looking == 0 }

// text is a key as a string, without a copy. The bytes belong to a frame, which nobody changes.
func text(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }

// Close writes everything that was applied, so that the next Open finds it in tables, and
// closes badger.
func (s *State) Close() error {
	err := s.Flush()
	s.writers.Wait() //nolint:errcheck // it returns nil
	s.reading.shut()
	return errors.Join(err, s.db.Close())
}

// Abandon closes badger as it is, when the ledger has failed.
func (s *State) Abandon() error {
	s.writers.Wait() //nolint:errcheck // it returns nil
	s.reading.shut()
	return s.db.Close()
}

// Flatten makes badger rewrite its tables without deleted records.
func (s *State) Flatten() error { return s.db.Flatten(1) }
