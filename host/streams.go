package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"balhost/host/internal/daemon"
	"balhost/host/internal/plain"
	"balhost/sdk/outlet"
)

// lastWords is how long a process waits at its end for the reader of its stderr.
const lastWords = 2 * time.Second

// keepSIGPIPE makes a write to a pipe without a reader an error, instead of the end of
// the process. It doesn't ignore the signal, because plugins would inherit that.
func keepSIGPIPE() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// behind is the writer behind out: execute passes everything that a command writes
// through plain text.
func behind(out io.Writer) io.Writer {
	if w, ok := out.(plain.Writer); ok {
		return w.W
	}
	return out
}

// exit ends the process when stderr has been read, or after lastWords.
func exit(stderr io.Writer, code int) {
	if w, ok := behind(stderr).(*outlet.Writer); ok {
		w.Close(lastWords)
	}
	os.Exit(code)
}

// stopsWithin is the annotation of commands that need time to stop; its value is a
// duration.
const stopsWithin = "stops within"

// overdue ends a process that does not stop in time. First it writes the stacks of all
// goroutines to stderr.
func overdue(stderr io.Writer, limit time.Duration) {
	stacks := make([]byte, 512<<10)
	stacks = stacks[:runtime.Stack(stacks, true)]
	fmt.Fprintf(stderr, "%s\nbalhost: stopping took longer than %s, so it ends now; above is what it was still doing. Nothing that was acked is lost\n", stacks, limit)
	exit(stderr, exitFailed)
}

// stopLimit is how long the command of a command line may take to stop.
func stopLimit(root *cobra.Command, args []string) time.Duration {
	if cmd, _, err := root.Find(args); err == nil && cmd.Annotations[stopsWithin] != "" {
		return daemon.StopLimit
	}
	return time.Second
}

// stdout takes a command's answer. When its reader has gone (balhost dead list |
// head -1), it accepts and drops everything. It keeps any other error, and execute
// reports it.
type stdout struct {
	file *os.File

	mu   sync.Mutex // guards the fields below
	gone bool
	err  error
}

func (s *stdout) Write(p []byte) (int, error) {
	s.mu.Lock()
	gone, err := s.gone, s.err
	s.mu.Unlock()
	if gone || err != nil {
		return len(p), err
	}
	n, err := s.file.Write(p) // without mu, because it may hang
	if err == nil {
		return n, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone = errors.Is(err, syscall.EPIPE); s.gone {
		return len(p), nil
	}
	s.err = err
	return n, err
}

// Stat is the file's, for isTerminal.
func (s *stdout) Stat() (os.FileInfo, error) { return s.file.Stat() }

// Fd is the file's, for terminalSize.
func (s *stdout) Fd() uintptr { return s.file.Fd() }

// unread reports whether the reader of a command's answer has gone.
func unread(out io.Writer) bool {
	s, ok := behind(out).(*stdout)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

// lost is why a command's answer could not be written; nil if it was.
func lost(out io.Writer) error {
	s, ok := behind(out).(*stdout)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// isStderr reports whether out leads to this process's stderr.
func isStderr(out io.Writer) bool {
	_, is := behind(out).(*outlet.Writer)
	return is
}
