package sdk

import (
	"errors"
	"time"

	"balhost/sdk/wire"
)

// Errors of Tx and Host methods. Compare with errors.Is.
var (
	// ErrUnavailable means that the host can't do it now: its disk is filling up, or
	// it is stopping. The same call may work later.
	ErrUnavailable = wire.ErrUnavailable
	// ErrInvalid means that this call can never work. The text says why.
	//
	// If a handler returns it, the event is tried again, as after any other error:
	// the fault may be in the handler's code, and a new version of the plugin then
	// handles the event. While a version is on probation, it counts as a failure,
	// and failures can bring the old version back. A [Reject] does not count.
	//
	// If the event itself is at fault, Reject it, so that its lane goes on. An
	// example is a value that is too large for any version.
	ErrInvalid = wire.ErrInvalid
)

// Retry is what a handler returns to get its event again, not before the time
// after has passed. err stands in the host's log. The attempt counts. If after is
// negative, the host's backoff decides when, as with any other error.
func Retry(after time.Duration, err error) error {
	if err == nil {
		err = errors.New("the plugin asked for a retry")
	}
	return &retryError{after: after, err: err}
}

// Reject is what a handler returns to send its event to the dead letters at once.
// The event stays there, with err as the reason, until a person replays or deletes
// it (P8). Use it when no later attempt can succeed.
func Reject(err error) error {
	if err == nil {
		err = errors.New("the plugin rejected the event")
	}
	return &rejectError{err: err}
}

type retryError struct {
	after time.Duration
	err   error
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

type rejectError struct{ err error }

func (e *rejectError) Error() string { return e.err.Error() }
func (e *rejectError) Unwrap() error { return e.err }
