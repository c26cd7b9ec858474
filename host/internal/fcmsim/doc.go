// Package fcmsim is a simulator of Firebase Cloud Messaging's HTTP v1 API, for tests,
// development and benchmarks. Google offers none: Firebase's emulators have no messaging.
//
// It is strict. It checks bearer tokens, which it gives for a service account that it
// makes itself, and each message against the API's own names and limits. Everything
// that FCM is known to answer is a [Response] with its real body, and so are the
// faults: slow and missing answers, reset streams, GOAWAY, an error after the message
// was delivered. Virtual devices remember what they got, and count what came twice.
// It has its own code for HTTP/2, tokens and messages, so that tests find a mistake in
// the host's, and so that it can do what a good server never does.
//
// Spec: fcm-v1-and-gateway.md A and F. What is unconfirmed there is an option.
// A [Server] owns all its goroutines: one for the listener, and two for each
// connection, of which one reads and one writes. Close ends them and waits. Time
// comes only from package time, so a server works inside a testing/synctest bubble.
// Start at [NewServer].
package fcmsim
