// Package ccs owns one session with Firebase's Cloud Connection Server: its
// connections from dialling to the end, and what replaces them. It keeps P1
// (an upstream is acked after the commit, on the connection that brought it),
// P3 (never more than the window unanswered on a connection; what a dead one
// left goes again) and, for bytes from CCS, P10.
//
// [Session.Run] owns every goroutine here: one for each slot, which keeps that
// filled with a connection, and two for each connection. One of these reads, decodes
// and submits (read.go). The other is the only writer, and alone touches the
// window (serve.go). A box (box.go) lies between them; the ledger's callbacks put
// their acks into it too. When a slot may try to log in is decided in admission.go,
// without I/O. Protocol facts are cited from ccs-protocol.md. Start at
// [Session.Run]: it leads to keep and conn.run.
package ccs
