package flow

// Verdict says what to do with a downstream after its answer, or when it was left
// unanswered.
type Verdict uint8

// The verdicts. Retry and SlowDown count an attempt, the others do not.
const (
	Retry    Verdict = iota + 1 // send it again after a backoff of 1 s or more
	Resend                      // send it again at once, on another connection: this one drains, or has ended
	Isolate                     // as Resend, but with nothing beside it: it may be what ended the connection
	Hold                        // as Isolate, after a wait that grows: nothing shows whether it is the message
	SlowDown                    // send nothing to this token or topic for minutes, then go on
	Fail                        // it never works: record the outcome
	Halt                        // the sender's account is at fault: stop sending, and tell a person
	Rest                        // the sender is sent too much: send nothing for it for some time, then go on
	Acked                       // the peer took it: record the outcome
)

// String is the verdict in lower case.
func (v Verdict) String() string {
	return [...]string{"unknown", "retry", "resend", "isolate", "hold", "slow down", "fail", "halt", "rest", "acked"}[v]
}

// After is the verdict on a downstream that has been tried so often, this time
// included: at limit attempts (0: no limit) one that could be tried again fails.
func (v Verdict) After(attempts, limit int) Verdict {
	if (v == Retry || v == SlowDown) && limit > 0 && attempts >= limit {
		return Fail
	}
	return v
}
