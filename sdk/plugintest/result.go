package plugintest

import (
	"fmt"
	"time"

	"balhost/sdk"
	"balhost/sdk/wire"
)

// Status is how a handler's run ended.
type Status wire.Result_Code

// The values of Status.
const (
	Done     = Status(wire.Result_DONE)    // the handler returned nil, and its Tx was committed
	Retried  = Status(wire.Result_RETRY)   // an error or a panic: a real host would give the event again
	Rejected = Status(wire.Result_REJECT)  // sdk.Reject: a real host would put it into the dead letters
	Released = Status(wire.Result_RELEASE) // the event came back because the plugin stopped
	Hung     = Status(-1)                  // the handler went on after its ctx had ended, and the test has failed
	Canceled = Status(-2)                  // a timer was canceled or set anew while its handler ran, and nothing was committed
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
	case Canceled:
		return "canceled"
	}
	return fmt.Sprintf("status %d", int(s))
}

// Result is how an event ended.
type Result struct {
	Status Status
	Reason string           // the handler's error; "" if Done
	Delay  time.Duration    // for Retried: the time from sdk.Retry; negative: the host's backoff decides
	Sent   []sdk.Downstream // committed with this event, in order; Data and Notification are json.RawMessage
	Runs   int              // how often the handler ran: more than once after conflicts
}

// Err is nil if the Status is Done. Otherwise it says how the event ended.
func (r Result) Err() error {
	if r.Status == Done {
		return nil
	}
	return fmt.Errorf("%s: %s", r.Status, r.Reason)
}
