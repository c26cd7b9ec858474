package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"balhost/sdk"
)

// The bounds of what a BAL has and has not acked. The number is GIMMM's.
const (
	maxUnacked      = 100
	maxUnackedBytes = 256 << 10 // the lines together, beyond the first one
)

// window is what a BAL may have and has not acked, in the order of sequence_id. It is a copy
// of what the state has under outPrefix; only the connection that serves has one.
type window struct {
	box   *mailbox
	host  *sdk.Host
	next  int64
	sent  []sent
	bytes int
	acked []string // keys to delete
	more  bool     // others wait for room
}

type sent struct {
	sequence int64
	key      string
	size     int
}

// openWindow loads what the BAL had not acked on the last connection, and gives its lines.
func openWindow(ctx context.Context, b *bridge, box *mailbox) (w *window, lines [][]byte, err error) {
	w = &window{box: box, host: b.host, more: true}
	if w.next, err = nextOf(ctx, b.host, box.session); err != nil {
		return nil, nil, err
	}
	prefix := outPrefix + box.session + "/"
	for after, more := "", true; more; {
		var items []sdk.Item
		if items, more, err = b.host.List(ctx, prefix, after, 0); err != nil {
			return nil, nil, err
		}
		for _, it := range items {
			var l line
			if err := it.Decode(&l); err != nil {
				return nil, nil, err
			}
			lines = append(lines, w.add(it.Key, l))
			after = it.Key
		}
	}
	return w, lines, nil
}

// nextOf is the sequence_id that the next message to a BAL gets. It is read with each commit
// that uses it, so no number is used twice, whatever has become of an earlier commit.
func nextOf(ctx context.Context, state interface {
	Get(ctx context.Context, key string, v any) (bool, error)
}, session string) (next int64, err error) {
	next = 1
	_, err = state.Get(ctx, nextPrefix+session, &next)
	return next, err
}

var errMoved = errors.New("the messages were moved by an earlier commit")

// add puts a line into the window, and gives its text.
func (w *window) add(key string, l line) []byte {
	text := encodeLine(l)
	w.sent = append(w.sent, sent{l.SequenceID, key, len(text)})
	w.bytes += len(text)
	return text
}

// ack notes that the BAL has taken a message. An ACK that comes again is nothing new.
func (w *window) ack(sequence int64) {
	for i, s := range w.sent {
		if s.sequence == sequence {
			w.acked = append(w.acked, s.key)
			w.bytes -= s.size
			w.sent = append(w.sent[:i], w.sent[i+1:]...)
			return
		}
	}
}

// room is how many messages the BAL may get now.
func (w *window) room() int {
	if w.bytes >= maxUnackedBytes {
		return 0
	}
	return maxUnacked - len(w.sent)
}

// advance deletes what is acked and, if it shall look for them, moves messages that there is
// room for into the window, in one commit. It gives the lines to write: their sequence_id is
// on disk before a BAL sees it.
func (w *window) advance(ctx context.Context, look bool) (lines [][]byte, err error) {
	var items []sdk.Item
	if room := w.room(); look && room > 0 {
		if items, w.more, err = w.box.list(ctx, w.host, room); err != nil {
			return nil, err
		}
	}
	keys, moved := []string{}, []line{}
	size := w.bytes
	for i, it := range items {
		var l line
		if err := it.Decode(&l); err != nil {
			return nil, fmt.Errorf("the state's %s: %w", it.Key, err)
		}
		if size += len(it.Value); i > 0 && size > maxUnackedBytes {
			items, w.more = items[:i], true
			break
		}
		l.SequenceID = w.next + int64(i)
		keys, moved = append(keys, fmt.Sprintf("%s%s/%016d", outPrefix, w.box.session, l.SequenceID)), append(moved, l)
	}
	if len(moved) == 0 && len(w.acked) == 0 {
		return nil, nil
	}
	err = update(ctx, w.host, func(tx *sdk.Tx) error {
		for _, key := range w.acked {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		if len(moved) == 0 {
			return nil
		}
		if next, err := nextOf(ctx, tx, w.box.session); err != nil {
			return err
		} else if next != w.next { // by a commit that its connection did not wait for
			return errMoved
		}
		for i, l := range moved {
			if err := errors.Join(tx.Delete(items[i].Key), tx.Put(keys[i], l)); err != nil {
				return err
			}
		}
		return tx.Put(nextPrefix+w.box.session, w.next+int64(len(moved)))
	})
	if err != nil {
		return nil, err
	}
	w.acked, w.next = w.acked[:0], w.next+int64(len(moved))
	w.box.taken(items)
	for i, l := range moved {
		lines = append(lines, w.add(keys[i], l))
	}
	return lines, nil
}

// update is Host.Update, again until the host can store: its disk may be full for a while.
func update(ctx context.Context, h *sdk.Host, fn func(tx *sdk.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := h.Update(ctx, fn)
		if !errors.Is(err, sdk.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if attempt == 1 {
			h.Log().Warn("the host can't store now, it is tried each second", "err", err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
