package flow

// End is how a connection ended that left downstreams unanswered.
type End struct {
	Fault  Fault
	Code   string // the transport's, for the outcome of a downstream that fails because of such ends
	Why    string // the peer's words, or the network's; outcomes repeat them
	Useful bool   // the connection had carried an answer or an ack before
	Vague  bool   // the peer refused one of the downstreams without saying which; when each goes alone, that is clear
}

// Loss is the end of a connection that left a downstream unanswered.
type Loss struct {
	End
	Times   int  // losses in a row, this one included
	Suspect bool // the downstream was sent alone
	Only    bool // nothing else was unanswered
	// Compared: another downstream of the sender has had its answer since the last
	// loss of this one. It shows that connections live without this one. Ever: since its first loss.
	Compared, Ever bool
	Proofs         int // losses with it alone after Ever, this one included
}

// Suspicion is what is remembered of a downstream whose connections ended before
// it was answered. Any answer ends the suspicion: the peer could read the message.
type Suspicion struct {
	Suspect bool // the downstream goes alone
	Holds   int  // waits in a row that counted as no attempt

	losses   int    // connections in a row that ended so
	answers  uint64 // the sender's answers at the last of these
	compared bool   // another downstream has had its answer since the first
	proofs   int    // of the losses, those with it alone since then
}

// Lose notes the end of a connection. only says that nothing else was unanswered on
// it, and answers how many answers the sender has had so far.
func (s *Suspicion) Lose(end End, only bool, answers uint64) Loss {
	if end.Fault.Acquits() { // as if the downstream had not been sent
		return Loss{End: end, Times: s.losses, Suspect: s.Suspect}
	}
	compared := s.losses > 0 && answers != s.answers
	s.losses++
	s.answers, s.compared = answers, s.compared || compared
	if s.Suspect && only && s.compared {
		s.proofs++
	}
	return Loss{End: end, Times: s.losses, Suspect: s.Suspect, Only: only, Compared: compared, Ever: s.compared, Proofs: s.proofs}
}

const (
	// mostLosses is how many losses in a row make any downstream a suspect. Fewer
	// are put down to a bad link.
	mostLosses = 3
	// enoughProofs is how many connections must end over bytes of ours with this
	// downstream alone on them until it fails. One is not enough: the peer may have been
	// unable to read an ack of ours.
	enoughProofs = 2
)

// compared reports whether something shows that connections live without the
// downstream. A quota may be free again later, so there only what happened since
// the last loss counts. Bytes that the peer can't read stay so.
func (l Loss) compared() bool { return l.Compared || l.Ever && l.Fault == Bytes }

// JudgeLoss says what to do with a downstream after a loss; attempts and limit are
// those of [Verdict.After]. A downstream is blamed by comparison alone: connections end while it is
// in flight and nothing else is, and the answers to others show that connections
// live without it. If the peer said that it can't read our bytes, two such ends are
// enough. Any other end may have another reason, such as a bad link or a quota. So
// it counts as an attempt, like a nack that time heals. A good message gets through
// at one of the attempts, and one that ends every connection fails at the last.
// Without a comparison no attempt counts, because the account or the server may be
// at fault. Then the message waits, longer each time, until its TTL.
//
// So a message over which the peer ends every connection, without saying why, costs 18
// connections: three with whatever else is in flight, which goes again, and 15 with it alone,
// after longer and longer waits. After about 50 minutes it has failed. A sender with one connection is
// without it for 8 to 13 s in all, and for 24 s at most. Where the peer says that it can't read our
// bytes, the message has failed after three. ccs.TestPoisonHarmsNoOther has the figures.
func JudgeLoss(l Loss, attempts, limit int) Verdict {
	switch {
	case l.Fault.Acquits() && l.Suspect:
		return Isolate
	case l.Fault.Acquits():
		return Resend
	case l.Suspect && !l.compared():
		return Hold
	case l.Suspect && l.Fault == Bytes && l.Only && l.Proofs >= enoughProofs:
		return Fail
	case l.Suspect:
		return Retry.After(attempts, limit)
	case l.Fault.suspicious(), l.Vague, l.Times >= mostLosses:
		return Isolate
	}
	return Resend
}

// Blames reports whether the loss is put down to the downstream. Then the
// connection's end says nothing of the peer, the link or the account. If that is not
// clear yet, and all was well before, the downstream is blamed once: that costs one
// short wait, and the next connection shows what it was.
func (l Loss) Blames() bool {
	if l.Fault.Acquits() {
		return false
	}
	if l.Suspect {
		return l.Ever || !l.Fault.Waits()
	}
	return l.Fault == Bytes || l.Fault == Policy && l.Useful
}
