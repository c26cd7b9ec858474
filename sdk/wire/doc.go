// Package wire is the contract between host and plugin: plugin.proto and the
// code generated from it, go-plugin's handshake, the session stream for both
// sides, and the conversions between the wire's messages and package message.
//
// The plugin is the gRPC server, the host is the client; one process serves
// one session. Both ends of a session write from one goroutine that merges
// whatever has gathered since its last write, and read from one: batching is
// what makes a message cost microseconds (notes/goplugin.md §3). Nothing here
// keeps a message (P0); the end of a session is the end of every delivery on it.
//
// Errors cross the wire as gRPC codes or as Reply.Code, and this package alone
// maps them: see [ErrInvalid] and its neighbours.
//
// Start at [Client] for the host's side and at [Stream] for the plugin's.
package wire

//go:generate go run ./gen
