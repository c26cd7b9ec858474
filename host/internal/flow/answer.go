package flow

import "time"

// Answer is what a transport says became of one downstream. The transport has judged
// it by its own table of codes, so that nobody else needs to know the codes.
type Answer struct {
	Verdict     Verdict
	Code        string        // as the peer gave it; the outcome repeats it
	Description string        // the peer's words; the outcome repeats them
	RetryAfter  time.Duration // Retry, SlowDown, Rest: not before this time has passed; 0: the outbox decides
	NewToken    string        // Acked: use this token from now on; "": the old one stays
	Gone        bool          // Fail: the target does not exist any more
}
