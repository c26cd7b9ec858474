package ledger

import (
	"errors"
	"fmt"
)

// Last is why the last attempt of a pending event or downstream failed; "" when it was
// not tried, or is not pending any more.
func (l *Ledger) Last(seq uint64) (reason string, err error) {
	err = l.read(appendSeqKey(nil, kindTries, seq), func(r *reader) error {
		reason = readTries(r).note
		return r.done()
	})
	if errors.Is(err, errGone) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read why entry %d waits: %w", seq, err)
	}
	return reason, nil
}

// EventID is the id of a pending event; entry.ErrUnknown when it isn't pending.
func (l *Ledger) EventID(seq uint64) (id string, err error) {
	err = l.peek(&l.events, seq, func(_ uint64, it item) { id = it.(*event).id.String() })
	return id, err
}
