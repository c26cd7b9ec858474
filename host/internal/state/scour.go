package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// scourRounds is how often Scour makes badger rewrite its tables before it gives up.
const scourRounds = 5

// ErrHeld is that somebody still reads older records, so badger keeps them.
var ErrHeld = errors.New("older records are still being read, by a backup or a verify: wait for its end, then try again")

// Scour makes badger's files hold nothing of what is in no record any more. is tells of a key
// and a value whether they have it; it is given deleted and older ones too. Commits go on
// meanwhile. It is [ErrHeld] if something is left because somebody still reads it.
//
// A deleted record is in the tables until one compaction meets it, its deletion, and no
// reader. Usually the first round is enough. What it left because of a reader is deleted again,
// so that the next round meets it again.
func (s *State) Scour(ctx context.Context, is func(key, value []byte) bool) error {
	if !s.reading.enter() {
		return ErrClosed
	}
	defer s.reading.leave()
	for range scourRounds {
		if err := s.Settle(ctx); err != nil {
			return err
		}
		if err := s.deepen(ctx); err != nil {
			return err
		}
		if err := s.db.Flatten(1); err != nil {
			return fmt.Errorf("rewrite tables: %w", err)
		}
		stale, err := s.stale(ctx, is)
		if err != nil || len(stale) == 0 {
			return err
		}
		if err := s.touch(stale); err != nil {
			return err
		}
	}
	return ErrHeld
}

// settlePause is how long Settle waits before it looks again whether badger has made a table.
const settlePause = 5 * time.Millisecond

// Settle returns when all that was applied before is in synced tables, and Durable was told.
// Commits go on meanwhile, as long as the active layer has room for them.
func (s *State) Settle(ctx context.Context) error {
	return s.alone(func(commit uint64) error {
		if err := s.rotate(commit); err != nil {
			return err
		}
		for !s.inTables(s.mark.version) {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(settlePause):
			}
		}
		return s.look(commit)
	})
}

// alone calls f when all up to commit is written to badger, and nobody else writes to it until
// f returns. What belongs to the writer of layers belongs to f.
func (s *State) alone(f func(commit uint64) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looking++
	err := s.flush()
	s.looking--
	if err != nil {
		return err
	}
	commit := s.active.commit
	s.frozen = newLayer(&layer{kinds: s.o.Ordered, commit: commit}) // an empty one, which f is the writer of
	s.mu.Unlock()
	err = f(commit)
	s.mu.Lock()
	s.frozen = nil
	s.ended.Broadcast()
	return err
}

// inTables reports whether the tables hold a version of badger.
func (s *State) inTables(version uint64) bool {
	for _, t := range s.db.Tables() {
		if t.MaxVersion >= version {
			return true
		}
	}
	return false
}

// deepen makes badger have more than its first level, or so many tables in it that Flatten
// compacts it: Flatten leaves a single level as it is.
func (s *State) deepen(ctx context.Context) error {
	for !s.deep() {
		if err := s.Settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *State) deep() bool {
	for _, l := range s.db.Levels() {
		if l.Level == 0 && l.NumTables > s.db.Opts().NumLevelZeroTables || l.Level > 0 && l.NumTables > 0 {
			return true
		}
	}
	return false
}

// stale returns the keys of which the tables still hold what no reader finds, and is is true of.
func (s *State) stale(ctx context.Context, is func(key, value []byte) bool) (keys [][]byte, err error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{AllVersions: true})
	defer it.Close()
	var last []byte
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		key := item.Key()
		newest := !bytes.Equal(key, last)
		last = append(last[:0], key...)
		if newest && !item.IsDeletedOrExpired() {
			continue
		}
		err := item.Value(func(v []byte) error {
			if n := len(keys); is(key, v) && (n == 0 || !bytes.Equal(keys[n-1], key)) {
				keys = append(keys, bytes.Clone(key))
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// touch writes records again as they are, so that the next compaction meets their older versions.
func (s *State) touch(keys [][]byte) error {
	return s.alone(func(uint64) error {
		for _, key := range keys {
			if err := s.db.Update(func(txn *badger.Txn) error { return again(txn, key) }); err != nil {
				return fmt.Errorf("write %q again: %w", key, err)
			}
		}
		return nil
	})
}

func again(txn *badger.Txn, key []byte) error {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return txn.Delete(key)
	} else if err != nil {
		return err
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return err
	}
	return txn.SetEntry(&badger.Entry{Key: bytes.Clone(key), Value: value, ExpiresAt: item.ExpiresAt()})
}
