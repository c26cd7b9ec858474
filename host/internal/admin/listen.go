package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	unixPrefix    = "unix:"
	maxSocketPath = 99 // macOS allows 103, and the draft's suffix needs some
)

// listen opens "host:port" or "unix:/path". Only its owner can use a socket file. A
// socket file that nobody listens on is replaced.
func listen(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, unixPrefix)
	if !isUnix {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("open admin address (admin.listen in config.hcl; does another balhost run?): %w", err)
		}
		return l, nil
	}
	s := &socket{path: path}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

// socket is a listener at a path. It removes the file at its end, and makes it again
// when another program removed it.
type socket struct {
	path string

	mu     sync.Mutex        // guards the fields below
	l      *net.UnixListener // nil before open
	file   os.FileInfo       // the file that open made at path
	closed bool
}

// open listens at the path and replaces the earlier listener.
func (s *socket) open() error {
	if c, err := net.Dial("unix", s.path); err == nil || errors.Is(err, syscall.EAGAIN) { // EAGAIN: somebody listens, but accepts slowly
		if c != nil {
			c.Close()
		}
		return fmt.Errorf("open admin socket %s: another process listens on it; stop that, or change admin.listen", s.path)
	}
	if len(s.path) > maxSocketPath {
		return fmt.Errorf("open admin socket %s: the system allows %d bytes for a socket's path; choose a shorter one", s.path, maxSocketPath)
	}
	// First under another name, so that nobody can connect before the file's mode is set.
	draft := s.path + ".new"
	for _, name := range []string{s.path, draft} {
		if info, err := os.Lstat(name); err == nil && info.Mode().Type() != os.ModeSocket {
			return fmt.Errorf("open admin socket: %s exists and is not a socket: choose another path for admin.listen", name)
		}
	}
	if err := os.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) { // a killed host may have left it
		return fmt.Errorf("open admin socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: draft, Net: "unix"})
	if err != nil {
		return fmt.Errorf("open admin socket %s: %w", s.path, err)
	}
	l.SetUnlinkOnClose(false)
	file, err := os.Lstat(draft)
	if err := errors.Join(err, os.Chmod(draft, 0o600), os.Rename(draft, s.path)); err != nil {
		return errors.Join(fmt.Errorf("open admin socket: %w", err), l.Close(), os.Remove(draft))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.Join(net.ErrClosed, l.Close(), os.Remove(s.path))
	}
	if s.l != nil {
		s.l.Close() // Accept continues with the new one
	}
	s.l, s.file = l, file
	return nil
}

// keep makes the socket again when its file is gone, until ctx ends. Programs that
// clean temporary folders remove it.
func (s *socket) keep(ctx context.Context, log hclog.Logger) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.there() {
			continue
		}
		err := errors.Join(os.MkdirAll(filepath.Dir(s.path), 0o700), s.open())
		switch {
		case err == nil:
			said = ""
			log.Warn("admin socket was removed by another program: made again", "state", s.path)
		case ctx.Err() == nil && said != err.Error():
			said = err.Error()
			log.Error("admin socket was removed by another program and can't be made again yet", "err", err)
		}
	}
}

// there reports whether the file at the path is this listener's.
func (s *socket) there() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := os.Lstat(s.path)
	return err == nil && os.SameFile(now, s.file)
}

func (s *socket) listener() *net.UnixListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.l
}

// Accept takes the next connection.
func (s *socket) Accept() (net.Conn, error) {
	for {
		l := s.listener()
		c, err := l.Accept()
		if err == nil || l == s.listener() {
			return c, err
		}
	}
}

// Addr is the path.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Close ends it and removes the file if it is still its own.
func (s *socket) Close() error {
	ours := s.there()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	err := s.l.Close()
	if ours {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}
