package sdk

import (
	"errors"
	"time"

	"balhost/sdk/wire"
)

// Errors of Tx and Host methods, compared with errors.Is.
var (
	// ErrUnavailable: the host can't now (its disk is filling up, or it is
	// stopping); the same call may work later.
	ErrUnavailable = wire.ErrUnavailable
	// ErrInvalid: this call can never work; the text says why. A handler that returns it
	// is tried again like after any other error: what can't work is its code, and
	// a new version takes the event up as soon as it is there. While a new version is on
	// probation it is a failure that counts towards the way back; a [Reject] is none.
	// Where the event itself is at fault, such as a value that is too large for
	// any version, Reject the error, so that its lane goes on.
	ErrInvalid = wire.ErrInvalid
)

// Retry makes a handler's event come again after at least that long, with why
// in the host's log. The attempt counts. A negative after leaves the time to
// the host's backoff, as any other error does.
func Retry(after time.Duration, err error) error {
	if err == nil {
		err = errors.New("the plugin asked for a retry")
	}
	return &retryError{after: after, err: err}
}

// Reject sends a handler's event straight to the dead letters, where it stays,
// with the reason, until a person replays or deletes it (P8). It is for what no
// later attempt can mend.
func Reject(err error) error {
	if err == nil {
		err = errors.New("the plugin rejected it")
	}
	return &rejectError{err: err}
}

type retryError struct {
	after time.Duration
	err   error
}

func (e *retryError) Error() string { return e.err.Error() } // what it asks for is on the wire
func (e *retryError) Unwrap() error { return e.err }

type rejectError struct{ err error }

func (e *rejectError) Error() string { return e.err.Error() }
func (e *rejectError) Unwrap() error { return e.err }
