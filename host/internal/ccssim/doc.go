// Package ccssim is a simulator of Firebase's Cloud Connection Server (CCS), for
// tests, development and benchmarks. Google switched the real one off in 2024, so
// clients are tested against this one.
//
// It is strict. It keeps an upstream until the upstream is acked on the connection
// that carries it. If that connection ends before, it sends the upstream again on
// another one. It answers an ack of anything else with the stanza error 406. It
// counts each downstream over the connection's limit of unanswered ones, and does
// with it what Options.OverLimit says. It shares only the XML framing with the
// host's session. It has its own code for JSON, so that tests find a mistake in the
// host's.
//
// Spec: ccs-protocol.md §1-§8 and §12. What is unconfirmed there is an option.
// A [Server] owns all its goroutines: one for the listener, and two for each
// connection, of which one reads and one writes. Close ends them and waits. Time
// comes only from package time, so a server works inside a testing/synctest bubble.
// Start at [NewServer].
package ccssim
