// Package ccssim is a simulator of Firebase's Cloud Connection Server for
// tests, development and benchmarks: what net/http/httptest is to HTTP. Google
// switched the real one off in 2024, so this is what clients are proved against.
//
// It is a strict judge. An upstream is kept until it is acked on the connection
// that carries it, and sent again on another one when that connection ends; an
// ack for anything else is answered by the 406 stanza error; a downstream past
// the connection's limit of unanswered ones is punished and counted. It shares
// the XML framing with the host's session and nothing else: it reads and writes
// JSON by itself, so that a mistake there shows.
//
// Spec: ccs-protocol.md §1-§8 and §12; what is unconfirmed there is an option.
// A [Server] owns all its goroutines: two a connection (one reads, one writes)
// and one for each listener; Close ends them and waits. Time comes from package
// time alone, so that a server works inside a testing/synctest bubble.
// Start at [NewServer].
package ccssim
