package plugintest

import (
	"fmt"
	"time"

	"balhost/sdk"
	"balhost/sdk/wire"
)

// Status is how a handler's run ended.
type Status wire.Result_Code

// The ends of a handler's run.
const (
	Done     = Status(wire.Result_DONE)    // nil: committed
	Retried  = Status(wire.Result_RETRY)   // an error or a panic: the event would come again
	Rejected = Status(wire.Result_REJECT)  // sdk.Reject: to the dead letters
	Released = Status(wire.Result_RELEASE) // given back because the plugin stopped
	Hung     = Status(-1)                  // the handler went on after its ctx had ended: the test has failed
)

// String is the status in lower case.
func (s Status) String() string {
	switch s {
	case Done:
		return "done"
	case Retried:
		return "retried"
	case Rejected:
		return "rejected"
	case Released:
		return "released"
	case Hung:
		return "hung"
	}
	return fmt.Sprintf("status %d", int(s))
}

// Result is what a handler made of an event.
type Result struct {
	Status Status
	Reason string           // the handler's error; "" when done
	Delay  time.Duration    // for Retried: as asked for by sdk.Retry; negative: the host's backoff
	Sent   []sdk.Downstream // committed with this event, in order; Data and Notification are json.RawMessage
	Runs   int              // how often the handler ran: more than once after conflicts
}

// Err is nil when the event was handled, and else says how it ended.
func (r Result) Err() error {
	if r.Status == Done {
		return nil
	}
	return fmt.Errorf("%s: %s", r.Status, r.Reason)
}
