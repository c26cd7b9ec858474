package flow

// End is how a connection has ended that left something unanswered.
type End struct {
	Fault  Fault
	Why    string // in CCS's words, or the network's; it becomes part of an outcome's description
	Useful bool   // it had carried an answer or an ack before
	Vague  bool   // CCS had refused one of those without saying which: alone, the next time is clear
}

// Loss is the end of a connection that left a downstream unanswered.
type Loss struct {
	End
	Times   int  // in a row that this downstream's connection ended so, this one included
	Suspect bool // the downstream was sent alone
	Only    bool // nothing else was unanswered
	// Compared: another downstream of the session has had its answer since this
	// one's last loss. So a connection without it lives, now. Ever: since its first.
	Compared, Ever bool
	Proofs         int // of these losses, those with it alone after Ever, this one included
}

const (
	// mostLosses is at how many ends in a row a downstream is sent alone that
	// nothing points at. Under that it is the link that is bad, as far as we know.
	mostLosses = 3
	// enoughProofs is how often a connection must have ended over bytes of ours
	// with this downstream alone on it, and lived without it, until it has failed.
	// Once is not enough: an ack of ours may have been what CCS could not read.
	enoughProofs = 2
)

// compared reports whether something shows that connections live without the
// downstream. A quota comes and goes, bytes that CCS can't read don't get better.
func (l Loss) compared() bool { return l.Compared || l.Ever && l.Fault == Bytes }

// JudgeLoss says what to do with a downstream after a loss; attempts and limit
// are Judge's. It is blamed by comparison alone: connections end with it and
// nothing else in flight, and live without it, which the answers to others show.
// Where CCS said that it can't read our bytes two such ends are enough. Any other
// end may have another reason, such as a bad link or a quota, so there each is like
// a nack that time heals: a good message gets through at one of the attempts, one
// that ends every connection fails at the last. Without a comparison no attempt
// counts: it may be the account, or the server, and the message waits, ever
// longer, until its TTL.
func JudgeLoss(l Loss, attempts, limit int) Verdict {
	switch {
	case l.Fault.Acquits() && l.Suspect:
		return Isolate
	case l.Fault.Acquits():
		return Resend
	case l.Suspect && !l.compared():
		return Hold
	case l.Suspect && l.Fault == Bytes && l.Only && l.Proofs >= enoughProofs, l.Suspect && limit > 0 && attempts >= limit:
		return Fail
	case l.Suspect:
		return Retry
	case l.Fault.suspicious(), l.Vague, l.Times >= mostLosses:
		return Isolate
	}
	return Resend
}

// Blames reports whether the loss is put down to the downstream, so that the
// connection's end says nothing of CCS, the link or the account. Where that is an
// open question, and all was well before, it is put down to it once: that costs one
// short wait, and the next connection gives the answer.
func (l Loss) Blames() bool {
	if l.Fault.Acquits() {
		return false
	}
	if l.Suspect {
		return l.Ever || !l.Fault.Waits()
	}
	return l.Fault == Bytes || l.Fault == Policy && l.Useful
}
