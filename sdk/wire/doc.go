// Package wire is the contract between host and plugin: plugin.proto and the
// code generated from it, go-plugin's handshake, both sides of the stream, and the
// conversions between the wire's messages and package message.
//
// The plugin is the gRPC server, the host is the client. One process serves one
// stream, the rpc Session. Each side has one goroutine that writes and one that
// reads. The writing one merges all frames that were queued since its last write:
// so a message costs microseconds (notes/goplugin.md §3). Nothing here keeps a
// message (P0). When the stream ends, every delivery on it has ended.
//
// Errors cross the wire as gRPC codes or as Reply.Code, and this package alone
// maps them: see [ErrInvalid] and its neighbours.
//
// Start at [HostStream.Run] for the host's side, at [PluginStream] for the plugin's.
package wire

//go:generate go run ./gen
