package flow

// Fault says who is at fault when a connection ends. No stream condition is a
// verdict on a message: what is in flight then may have nothing to do with it. A
// message is blamed by comparison alone, see [JudgeLoss].
type Fault uint8

// The faults, and what each means for the connection and for what was in flight on it.
const (
	// Link: the connection broke, or is replaced. Connect again after the usual
	// backoff. What was in flight goes again at once.
	Link Fault = iota
	// Server: it is in trouble, or shuts down. As Link.
	Server
	// Account: the sender, its key, or what the config says of the server is wrong,
	// and somebody has to correct it. Connect again after a long backoff. What was in
	// flight goes again when there is a connection.
	Account
	// Policy: the connection or the account did too much of something, or a message
	// was over a limit of the server's. The condition does not say which. What was in
	// flight goes again, each alone. The backoff is long, until something shows that
	// it was a message.
	Policy
	// Bytes: the peer could not read what we wrote: a message, an ack, or the stream
	// itself. Connect again after the usual backoff. What was in flight goes again, each alone.
	Bytes
	// Rival: another client has logged in as the sender, and the peer keeps one of the
	// two. Once is a host that moves to another machine. While it repeats, connect again after longer and
	// longer waits, until a person stops one of the two. It says nothing of what was
	// in flight, which goes again when there is a connection.
	Rival
	// Ours: we ended the connection, for reasons of our own. It says nothing of what
	// was in flight, which goes again at once.
	Ours
)

// String is the fault in lower case.
func (f Fault) String() string {
	return [...]string{"link", "server", "account", "policy", "bytes", "rival", "ours"}[f]
}

// Waits reports whether trying again soon makes no sense.
func (f Fault) Waits() bool { return f == Account || f == Policy }

// Acquits reports whether no message can have caused the end. Then it is as if what
// was in flight had not been sent.
func (f Fault) Acquits() bool { return f == Rival || f == Ours }

// suspicious reports whether one such end is enough to send each of those in flight alone.
func (f Fault) suspicious() bool { return f == Policy || f == Bytes }
