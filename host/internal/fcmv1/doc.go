// Package fcmv1 sends downstreams to today's phones by FCM's HTTP v1 API. It is one of
// the transports behind the outbox, and knows nothing of the other. It keeps P3 (what
// is unanswered is bounded, and goes again with the same id), its half of P4 (each
// downstream that it takes gets one answer), and for bytes from FCM, P10.
//
// The way of a message: [Session.serve] takes it from the outbox when there is room
// (pace.go says how many may go in a second, health.go whether requests get through).
// A goroutine of its own encodes it (encode.go), with what remains of its TTL, posts it
// with an access token (post.go) and reads the answer. [judge] says what the answer means
// (judge.go, which is one table). [Session.note] draws from it what concerns the whole
// session, and the outbox hears the verdict. Nothing is sent twice below the outbox, but
// for what FCM surely did not act on: a request with an access token that it does not
// take, and what net/http itself repeats.
//
// [Session.Run] owns every goroutine here: serve, one for each request in flight, one
// that owns the access token (bearer.go, with keys.go and assertion.go), and one that
// watches the key file. Facts about FCM are cited from fcm-v1-and-gateway.md. Start at
// [Session.Run].
package fcmv1
