//go:build !linux

package main

import "os"

// logFile is the process's stderr.
//
// Weak: here a panic's trace waits for the reader of stderr. The descriptor can't be
// opened again, and other processes share its flags.
func logFile() *os.File { return os.Stderr }
