package flow

import "time"

// Answer is what a transport says became of one downstream. The transport has judged
// it by its own table of codes, so that nobody else needs to know the codes. Isolate and
// Hold are no verdicts on an answer, but on a connection's end, see [JudgeLoss].
type Answer struct {
	Verdict     Verdict
	Code        string        // as the peer gave it; the outcome repeats it
	Description string        // the peer's words; the outcome repeats them
	RetryAfter  time.Duration // Retry, SlowDown, Rest: not before this time has passed, see [MostImposed]; 0: the outbox decides
	NewToken    string        // Acked: use this token from now on; "": the old one stays
	Gone        bool          // Fail: the target does not exist any more
}

// MostImposed is how long a peer may make us wait; what is longer is cut to it.
// Spec: fcm-v1-and-gateway.md A5.
const MostImposed = time.Hour

// Imposed is the wait that the peer asks for.
func (a Answer) Imposed() time.Duration { return min(a.RetryAfter, MostImposed) }
