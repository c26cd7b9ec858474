package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"

	"balhost/host/internal/state"
)

// journaled is the last change of each record in the journal, by a hash of the key.
type journaled struct {
	seed maphash.Seed
	by   map[uint64]change
}

// change is the last change of a record.
type change struct {
	commit, value uint64 // value is a hash
	deleted       bool
	mayGo         bool // badger may have dropped it by now
}

// journal reads the whole journal up to the moment's commit, and notes what the records must be.
func (v *verifier) journal(log Log) error {
	v.last = journaled{maphash.MakeSeed(), map[uint64]change{}}
	enough := errors.New("enough")
	err := log.Read(0, func(commit uint64, frame []byte) error {
		if commit > v.Commit {
			return enough
		}
		v.Commits++
		if err := v.frame(commit, frame); err != nil {
			v.wrong("commit %d of the journal can't be read: %v", commit, err)
		}
		return v.ctx.Err()
	})
	if last := log.Last(); last > 0 && last < v.Commit {
		v.wrong("the journal ends with commit %d, but the counters are those of commit %d", last, v.Commit)
	}
	if err != nil && !errors.Is(err, enough) && v.ctx.Err() == nil {
		v.wrong("the journal can't be read: %v", err)
		v.last.by = nil // changes of some records may not have been read
		return nil
	}
	return v.ctx.Err()
}

func (v *verifier) frame(commit uint64, frame []byte) error {
	counted := false
	err := state.Changes(frame, func(c state.Change) {
		v.last.by[v.last.hash(c.Key)] = change{commit, v.last.hash(c.Value), c.Delete, c.Expires != 0}
		if !bytes.Equal(c.Key, keyCounter) {
			return
		}
		counted = true
		if r, err := unseal(c.Key, c.Value); err != nil || readTally(&r).commit != commit {
			v.wrong("the counters in commit %d of the journal are those of another commit", commit)
		}
	})
	if err == nil && !counted {
		err = fmt.Errorf("it has no counters")
	}
	return err
}

func (j *journaled) hash(b []byte) uint64 { return maphash.Bytes(j.seed, b) }

// met compares a record with its last change, if the journal has one.
func (j *journaled) met(v *verifier, c state.Change) {
	if len(j.by) == 0 {
		return
	}
	key := j.hash(c.Key)
	last, found := j.by[key]
	if !found {
		return
	}
	delete(j.by, key)
	switch {
	case last.deleted:
		v.wrong("record %q exists, but commit %d deleted it", c.Key, last.commit)
	case last.value != j.hash(c.Value):
		v.wrong("record %q differs from what commit %d wrote", c.Key, last.commit)
	}
}

// missed reports records that the journal has and the tables don't have.
func (j *journaled) missed(v *verifier) {
	for _, last := range j.by {
		if !last.deleted && !last.mayGo {
			v.wrong("a record of commit %d is not in the tables", last.commit)
		}
	}
}
