//go:build !linux

package main

import "os"

// logFile is the process's stderr.
//
// Weak: a panic's trace waits here for whoever reads stderr: the descriptor can't
// be opened anew, and what it shares with others is theirs, too.
func logFile() *os.File { return os.Stderr }
