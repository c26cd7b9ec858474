package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
)

// Watcher is told by Erase of what concerns those who hand out events.
type Watcher struct {
	// Seen is the seq of the last event that they know of. No later one is erased.
	Seen func(context.Context) (uint64, error)
	// Gone is called with events that are erased, when that is on disk.
	Gone func([]entry.Event)
	// Stage is called with what Erase does from now on, for people who wait.
	Stage func(what string)
}

const (
	erasePasses = 20                    // through all records, while something new is found
	heldTime    = 30 * time.Second      // how long Erase waits for handlers
	heldPause   = 50 * time.Millisecond // how often it looks
)

// ErrHeldByHandler is that a handler works on an event of the device and does not end.
var ErrHeldByHandler = errors.New("a handler works on a message of this device and has not ended. What else there was of it may be erased already: wait for the handler, or give its message up (balhost stuck), then erase again")

// ErrErasing is that another erasure runs.
var ErrErasing = errors.New("another erasure runs: wait for its end")

// Erase erases all that the ledger has of a device, and returns what there was. Nobody hears of
// it: a pending event gets no handler, a pending downstream ends as canceled without an outcome
// (P4, P8: a person erases them). Then nothing of the device is in the ledger's files, which it
// proves by reading them. All else goes on meanwhile. A message of the device that comes while it
// runs may be erased too; one that comes later is a new one. After an error, or a crash, the
// next Erase goes on with what is left.
//
// Dedup keys stay until they are too old: they are hashes, and keep CCS from bringing an
// erased message again (P6).
func (l *Ledger) Erase(ctx context.Context, e entry.Erasure, w Watcher) (entry.Erased, error) {
	if !l.erasing.TryLock() {
		return entry.Erased{}, ErrErasing
	}
	defer l.erasing.Unlock()
	ctx, end := l.untilClosed(ctx)
	defer end()
	m := newMatcher(e)
	f := &finder{matcher: m, ctx: ctx}
	if err := f.look(l); err != nil {
		return f.found, fmt.Errorf("look for the device: %w", err)
	}
	files, err := l.files(ctx, m)
	f.found.Files = files
	if err != nil || e.Plan {
		return f.found, err
	}
	if err := l.eraseRecords(ctx, m, e, w, &f.found); err != nil {
		return f.found, err
	}
	w.Stage("rewriting the ledger's files")
	if f.found.Files > 0 || f.found.Records() > 0 || len(f.found.Keys) > 0 {
		if err := l.scour(ctx, m); err != nil {
			return f.found, fmt.Errorf("the records are erased, but older ones may still be in the files: %w", err)
		}
	}
	w.Stage("reading the ledger's files")
	err = l.prove(ctx, m, e, &f.found)
	return f.found, err
}

// eraseRecords goes through all records until nothing of the device is left.
func (l *Ledger) eraseRecords(ctx context.Context, m *matcher, e entry.Erasure, w Watcher, found *entry.Erased) error {
	var since time.Time // handlers are waited for
	for range erasePasses {
		seen, err := w.Seen(ctx)
		if err != nil {
			return err
		}
		do := &eraser{l: l, m: m, values: e.Values, upTo: seen, gone: w.Gone, pages: map[byte][]uint64{}, keys: map[string][]entry.Write{}}
		w.Stage("erasing records")
		if err := (&finder{matcher: m, ctx: ctx, do: do}).look(l); err != nil {
			return fmt.Errorf("erase records: %w", err)
		}
		if found.Held = nil; do.did == 0 && len(do.held) == 0 {
			return nil
		}
		for _, h := range do.held {
			found.Held = append(found.Held, h.id.String())
		}
		if len(do.held) == 0 {
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		w.Stage("waiting for a handler")
		if err := l.waitHeld(ctx, do.held, since); err != nil {
			return err
		}
	}
	return errors.New("messages of this device come faster than they are erased: let it end its connection, then erase again")
}

// untilClosed is ctx, which ends when the ledger closes too.
func (l *Ledger) untilClosed(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	l.keepers.Go(func() error {
		select {
		case <-l.stopping:
			cancel(entry.ErrClosed)
		case <-ctx.Done():
		}
		return nil
	})
	return ctx, func() { cancel(nil) }
}

// held is an event that a handler works on.
type held struct {
	seq uint64
	id  ulid.ULID
}

// waitHeld waits until no handler has one of these events.
func (l *Ledger) waitHeld(ctx context.Context, all []held, since time.Time) error {
	for _, h := range all {
		for l.leases.of(h.seq) != 0 {
			if time.Since(since) > heldTime {
				return fmt.Errorf("event %s: %w", h.id, ErrHeldByHandler)
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(heldPause):
			}
		}
	}
	return nil
}
