package main

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"balhost/sdk"
)

const (
	maxLobby = 100 // connections that have not logged on; a further one pushes the oldest out
	maxLive  = 100 // BALs, when config names none
)

// run listens for BALs until the plugin must stop. When it returns, all connections have
// ended, and what their BALs had acked is deleted.
func (b *bridge) run(ctx context.Context, h *sdk.Host) (err error) {
	if err := b.count(ctx); err != nil {
		return err
	}
	l, err := b.listen("tcp", b.config.Listen)
	if err != nil {
		return err
	}
	secure, err := b.config.tls()
	if err != nil {
		return err
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	h.Log().Info("business layers can log on", "listen", l.Addr().String(), "tls", secure != nil)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return nil
		case err != nil: // too many open files, for example
			b.refused.do(func(more ...any) { h.Log().Warn("accept", append(more, "err", err)...) })
			time.Sleep(100 * time.Millisecond)
			continue
		}
		conns.Go(func() { b.serve(ctx, nc) })
	}
}

// serve is the life of a connection: log on, take over from the one before, serve.
func (b *bridge) serve(running context.Context, nc net.Conn) {
	ctx, end := context.WithCancelCause(running)
	c := newConn(nc, b, end)
	var closing sync.WaitGroup
	closing.Go(func() {
		<-ctx.Done()
		c.hangUp(context.Cause(ctx))
	})
	defer closing.Wait()
	defer end(nil)
	log := b.host.Log().With("peer", nc.RemoteAddr().String())
	b.enter(c)
	session, err := c.logon()
	b.exit(c)
	if err != nil {
		b.refused.do(func(more ...any) { log.Warn("a peer has not logged on", append(more, "err", err)...) })
		return
	}
	log = log.With("session_id", session)
	if !b.takeOver(c, session) {
		return
	}
	defer b.leave(c)
	if err := c.write(encodeLine(line{Type: typeLogonResponse, SessionID: session, Status: "SUCCESS"})); err != nil {
		return
	}
	b.logons.do(func(more ...any) { log.Info("business layer logged on", append(more, "waiting", c.box.waiting())...) })
	err = c.serve(ctx)
	b.logons.do(func(more ...any) {
		more = append(more, "waiting", c.box.waiting())
		if errors.Is(err, io.EOF) || running.Err() != nil {
			log.Info("business layer has left", more...)
		} else {
			log.Warn("business layer is cut off", append(more, "err", err)...)
		}
	})
}

const errCrowd = peerError("too many connections wait to log on")

// enter puts a connection into the lobby. Who logs on at once is not pushed out of it.
func (b *bridge) enter(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lobby = append(b.lobby, c); len(b.lobby) > maxLobby {
		b.lobby[0].end(errCrowd)
		b.lobby = b.lobby[1:]
	}
}

func (b *bridge) exit(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.lobby, c); i >= 0 {
		b.lobby = slices.Delete(b.lobby, i, i+1)
	}
}

// logon reads the LOGON, which must come soon. A refusal is answered.
func (c *conn) logon() (session string, err error) {
	if err := c.SetDeadline(time.Now().Add(logonTimeout)); err != nil {
		return "", err
	}
	l, err := c.line()
	if wrong := peerError(""); err != nil && !errors.As(err, &wrong) {
		return "", err
	}
	if err == nil {
		err = c.bridge.admit(l)
	}
	if err != nil {
		_ = c.write(encodeLine(line{Type: typeLogonResponse, SessionID: l.SessionID, Status: "FAILURE", ErrorDescription: err.Error()}))
		return "", err
	}
	return l.SessionID, c.SetDeadline(time.Time{})
}

// admit says why a LOGON is refused. It does not tell a wrong token from an unknown id.
func (b *bridge) admit(l line) error {
	if l.Type != typeLogon {
		return fmt.Errorf("the first message is %.40q, not a LOGON", l.Type)
	}
	if err := checkSessionID(l.SessionID); err != nil {
		return err
	}
	if len(b.config.Sessions) > 0 {
		token, known := b.config.Sessions[l.SessionID]
		if !known || subtle.ConstantTimeCompare([]byte(token), []byte(l.Token)) == 0 {
			return errors.New("the session id or its token is not one of config.hcl's")
		}
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	live := 0
	for session, box := range b.boxes {
		if box.live != nil && session != l.SessionID {
			live++
		}
	}
	if live >= maxLive {
		return fmt.Errorf("%d business layers are connected: for more, name them in the config's sessions", live)
	}
	return nil
}

// limited lets the log tell at most maxLogged times in 30 s, and then how often it did not.
type limited struct {
	mu    sync.Mutex
	since time.Time
	n     int // since then
}

const maxLogged = 20

// do calls f, perhaps with how many were left out.
func (l *limited) do(f func(more ...any)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.since) > 30*time.Second {
		left := l.n - maxLogged
		l.since, l.n = now, 1
		if left > 0 {
			f("left_out", left)
			return
		}
	} else if l.n++; l.n > maxLogged {
		return
	}
	f()
}
