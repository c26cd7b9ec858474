package journal

import (
	"errors"
	"fmt"
)

var (
	ErrNotFound = errors.New("the commit is not in the journal") // it was trimmed or cut off, or never appended
	ErrTooLarge = errors.New("the record is too large")
	ErrClosed   = errors.New("the journal is closed")
	ErrBroken   = errors.New("the journal is not written any more") // after an operation that failed half way
)

// DamageError means that bytes which were durable are not there any more. Neither a
// power cut nor a crash leaves a journal like this.
type DamageError struct {
	File   string
	Offset int64
	Commit uint64 // the first one that is missing, 0 when that is not known
	What   string
}

func (e *DamageError) Error() string {
	which := ""
	if e.Commit > 0 {
		which = fmt.Sprintf(" (commit %d)", e.Commit)
	}
	return fmt.Sprintf("%s is damaged at byte %d%s: %s. No power cut does that, and commits that were acked are lost: look at the disk, then restore a backup; if there is none, keep a copy of the folder", e.File, e.Offset, which, e.What)
}
