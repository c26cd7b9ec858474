// Package ccs owns one session with Firebase's Cloud Connection Server: its
// connections from dialling to the end, and what replaces them. It keeps P1
// (an upstream is acked after the commit, on the connection that brought it),
// P3 (never more than the window unanswered on a connection; what a dead one
// left goes again) and, for bytes from CCS, P10.
//
// [Session.Run] owns every goroutine here: one for each slot (keeper.go: what
// outlives a connection, namely delay and handover) and two for each
// connection. One reads, decodes and submits (read.go), the other is the only
// writer and alone touches the window (serve.go); a box (box.go) lies between
// them, into which the ledger's callbacks put their acks too. Protocol facts
// are cited from ccs-protocol.md. Start at [Session.Run] and conn.run.
package ccs
