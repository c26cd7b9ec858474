package ledger

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"balhost/host/internal/entry"
)

// scour has the ledger's files hold nothing of a device any more that no record has.
func (l *Ledger) scour(ctx context.Context, m *matcher) error {
	l.cache.empty()
	l.deepEvents.Store(nil)
	l.deepSent.Store(nil)
	commit := func() error { return l.wait(&rewrite{keySchema}) }
	err := l.journal.Renew(ctx, commit, func() error { return l.state.Settle(ctx) })
	if err == nil {
		err = l.state.Scour(ctx, func(key, value []byte) bool { return m.has(key) || m.has(value) })
	}
	return closedAs(err)
}

// goneTime is how long badger may take to remove the files that it gave up.
const goneTime = 10 * time.Second

// prove looks once more for the device, in the records, in all bytes of the files, and in what is
// encrypted in them. Only what belongs to others, or came meanwhile, may have its name.
func (l *Ledger) prove(ctx context.Context, m *matcher, e entry.Erasure, found *entry.Erased) error {
	f := &finder{matcher: m, ctx: ctx}
	if err := f.look(l); err != nil {
		return err
	}
	found.Mentions, found.MoreMentions = f.found.Mentions, f.found.MoreMentions
	kept := len(f.found.Mentions) + f.found.Records() + len(f.found.Keys) // keys only by their value, or new
	for until := time.Now().Add(goneTime); ; {
		files, err := l.files(ctx, m)
		if found.Files = files; err != nil {
			return err
		}
		switch {
		case files == 0 || kept > 0:
			found.Proven = f.found.Records() == 0 && (files == 0 || kept > 0)
			return nil
		case time.Now().After(until):
			return errors.New("a file of the ledger still has the device's name, though no record has it: erase again")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(heldPause):
		}
	}
}

// files counts the files under the ledger's folder that have a name of the device in them, as
// they are or encrypted.
func (l *Ledger) files(ctx context.Context, m *matcher) (n int, err error) {
	with := map[string]bool{}
	for _, search := range []func(context.Context, func([]byte) bool) ([]string, error){l.journal.Search, l.state.Search} {
		paths, err := search(ctx, m.has)
		if err != nil {
			return 0, err
		}
		for _, path := range paths {
			with[path] = true
		}
	}
	err = filepath.WalkDir(l.o.Dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return ctx.Err()
		} else if err != nil {
			return err
		}
		has, err := m.inFile(ctx, path)
		if has {
			with[path] = true
		}
		return err
	})
	return len(with), err
}

// inFile reports whether a file has a name of the device. One that is removed meanwhile has not.
func (m *matcher) inFile(ctx context.Context, path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // it is only read
	longest := 0
	for _, n := range m.needles {
		longest = max(longest, len(n))
	}
	b := make([]byte, 0, 1<<20+longest)
	for {
		n, err := io.ReadFull(f, b[len(b):cap(b)])
		if b = b[:len(b)+n]; m.has(b) {
			_, gone := os.Stat(path)
			return !errors.Is(gone, fs.ErrNotExist), nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, ctx.Err()
		} else if err = errors.Join(err, ctx.Err()); err != nil {
			return false, err
		}
		b = b[:copy(b, b[max(0, len(b)-longest):])]
	}
}
