package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/time/rate"

	"balhost/host/internal/backup"
	"balhost/host/internal/entry"
	"balhost/host/internal/state"
)

// ErrBacking means that another backup is running: there is one at a time.
var ErrBacking = errors.New("another backup is running: wait until it ends")

const (
	// backupBlock is how many bytes of records make a block. A backup writes no larger
	// piece at once.
	backupBlock = 64 << 10
	// An open backup keeps badger from freeing space. So a backup ends when its reader is
	// slower than this, on average after a minute.
	backupLeast = 256 << 10
	backupSlow  = time.Minute
)

// Backup writes the ledger as it is at one moment to w, at most perSecond bytes a second
// (0: no limit). Meanwhile the ledger works on. by is who writes it. Records that are deleted meanwhile
// take space until it ends. After an error the output is not a backup, and a
// [backup.Reader] reports that.
func (l *Ledger) Backup(ctx context.Context, w io.Writer, perSecond int64, by string) (info backup.Info, err error) {
	if !l.backing.TryLock() {
		return info, ErrBacking
	}
	defer l.backing.Unlock()
	start := time.Now()
	err = l.state.Moment(func(m *state.Moment) error {
		h, err := l.heading(m, by)
		if err != nil {
			return err
		}
		b, err := backup.NewWriter(w, h, l.o.Key)
		if err != nil {
			return err
		}
		c := &copier{l: l, b: b, start: start}
		if perSecond > 0 {
			c.pace = rate.NewLimiter(rate.Limit(perSecond), backup.MaxBlock)
			c.pace.ReserveN(start, backup.MaxBlock) // the first block is slowed down too
		}
		if err = m.Each(func(r state.Change) error { return c.add(ctx, r) }); err == nil {
			err = c.flush(ctx)
		}
		if err == nil {
			info, err = b.Close()
		}
		return err
	})
	if err != nil {
		return info, closedAs(err)
	}
	l.o.Log.Info("backup taken", "seq", info.Commit, "took", time.Since(start).Round(time.Millisecond))
	return info, nil
}

// heading is the beginning of a backup.
func (l *Ledger) heading(m *state.Moment, by string) (h backup.Header, err error) {
	h = backup.Header{Schema: schema, By: by, About: l.state.Size(), Taken: time.Now().UTC().Round(time.Millisecond)}
	get := func(key []byte, f func(*reader)) {
		found, e := m.Get(key, func(record []byte) error {
			r, err := unseal(key, record)
			if err == nil {
				f(&r)
			}
			return err
		})
		if e == nil && !found {
			e = corrupt(key)
		}
		err = errors.Join(err, e)
	}
	get(keyCounter, func(r *reader) { h.Commit = readTally(r).commit })
	get(keySchema, func(r *reader) {
		r.uvarint()
		r.time()
		h.Store = ulid.ULID(r.id()).String()
	})
	if err != nil {
		return h, err
	}
	now := l.clock.read()
	now.Ledger, _ = l.clock.now()
	h.Clock, err = json.Marshal(mark{Wall: now.Wall, Ledger: now.Ledger}) // without the uptime: the backup may be restored on another machine
	return h, err
}

// copier makes blocks of records.
type copier struct {
	l     *Ledger
	b     *backup.Writer
	pace  *rate.Limiter // nil: none
	start time.Time
	sent  int64

	changes []state.Change
	arena   []byte // what they point to
}

func (c *copier) add(ctx context.Context, r state.Change) error {
	if _, err := unseal(r.Key, r.Value); err != nil {
		return fmt.Errorf("nothing can be backed up: %w", err)
	}
	if len(c.arena)+len(r.Key)+len(r.Value) > backupBlock {
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	from := len(c.arena)
	c.arena = append(append(c.arena, r.Key...), r.Value...)
	both := c.arena[from:]
	c.changes = append(c.changes, state.Change{Key: both[:len(r.Key)], Value: both[len(r.Key):], Expires: r.Expires})
	return nil
}

// flush writes the collected records as one block, when its time has come.
func (c *copier) flush(ctx context.Context) error {
	if len(c.changes) == 0 {
		return nil
	}
	block := state.Frame(c.changes)
	if c.pace != nil {
		if err := c.pace.WaitN(ctx, len(block)); err != nil {
			return err
		}
	}
	switch {
	case c.l.closing.Load():
		return entry.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if err := c.b.Add(len(c.changes), block); err != nil {
		return err
	}
	c.sent += int64(len(block))
	if took := time.Since(c.start); took > backupSlow && float64(c.sent)/took.Seconds() < backupLeast {
		return fmt.Errorf("the reader of this backup took only %d KiB in %s, which is too slow: during a backup the ledger frees no space", c.sent>>10, took.Round(time.Second))
	}
	clear(c.changes)
	c.changes, c.arena = c.changes[:0], c.arena[:0]
	return nil
}
