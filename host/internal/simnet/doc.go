// Package simnet is what the simulators of Google's servers share: a CA that signs
// for this machine ([Authority]), connections that can be frozen, cut or turned into
// a black hole ([Wire]), and the way that they are controlled over HTTP ([Handle]).
//
// It starts no goroutine. Start at [OpenAuthority].
package simnet
