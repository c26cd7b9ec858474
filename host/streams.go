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

// lastWords is how long an ending process waits for the reader of its stderr.
const lastWords = 2 * time.Second

// keepSIGPIPE makes a pipe without a reader an error of the write, which ends
// nothing. It is not ignored: plugins would inherit that.
func keepSIGPIPE() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// behind is what out writes to: execute leads all that a command writes through
// plain text.
func behind(out io.Writer) io.Writer {
	if w, ok := out.(plain.Writer); ok {
		return w.W
	}
	return out
}

// exit ends the process, when what was written to stderr has got out, or soon.
func exit(stderr io.Writer, code int) {
	if w, ok := behind(stderr).(*outlet.Writer); ok {
		w.Close(lastWords)
	}
	os.Exit(code)
}

// stopsWithin is the annotation of commands that have something to bring to its
// end; its value is a duration.
const stopsWithin = "stops within"

// overdue ends a process that was told to stop and doesn't. What all goroutines
// do goes to stderr first.
func overdue(stderr io.Writer, limit time.Duration) {
	stacks := make([]byte, 512<<10)
	stacks = stacks[:runtime.Stack(stacks, true)]
	fmt.Fprintf(stderr, "%s\nbalhost: stopping has taken longer than %s, so it ends now; above is what it still did. Nothing that was acked is lost\n", stacks, limit)
	exit(stderr, exitFailed)
}

// stopLimit is how long the command of a command line may take to stop.
func stopLimit(root *cobra.Command, args []string) time.Duration {
	if cmd, _, err := root.Find(args); err == nil && cmd.Annotations[stopsWithin] != "" {
		return daemon.StopLimit
	}
	return time.Second
}

// stdout takes a command's answer. Once its reader has gone, who has seen enough
// (balhost dead list | head -1), it takes everything; any other error stays, and
// execute reports it.
type stdout struct {
	file *os.File

	mu   sync.Mutex // guards what follows
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
	n, err := s.file.Write(p) // which may hang, so without mu
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

// unread reports whether nobody reads a command's answer any more.
func unread(out io.Writer) bool {
	s, ok := behind(out).(*stdout)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

// lost is why a command's answer didn't get out, nil when it did.
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
