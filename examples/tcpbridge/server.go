package main

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"balhost/sdk"
)

const (
	maxConns    = 256  // at once, logged on or not
	maxSessions = 1000 // session ids that memory knows, when config names none
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
	slots := make(chan struct{}, maxConns)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // too many open files, for example
			<-slots
			h.Log().Warn("accept", "err", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		conns.Go(func() {
			defer func() { <-slots }()
			b.serve(ctx, nc)
		})
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
	session, err := c.logon()
	if err != nil {
		b.refuse.do(func(more int) { log.Warn("a peer has not logged on", "err", err, "more", more) })
		return
	}
	log = log.With("session_id", session)
	c.box = b.box(session)
	if !c.box.takeOver(c) {
		return
	}
	defer c.box.leave(c)
	if err := c.write(encodeLine(line{Type: typeLogonResponse, SessionID: session, Status: "SUCCESS"})); err != nil {
		return
	}
	log.Info("business layer logged on", "waiting", c.box.waiting())
	if err := c.serve(ctx); errors.Is(err, io.EOF) || running.Err() != nil {
		log.Info("business layer has left", "waiting", c.box.waiting())
	} else {
		log.Warn("business layer is cut off", "err", err, "waiting", c.box.waiting())
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
	if b.boxes[l.SessionID] == nil && len(b.boxes) >= maxSessions {
		return fmt.Errorf("there are %d session ids already: name yours in the config's sessions", maxSessions)
	}
	return nil
}

// limited does something at most once in 30 s, and knows how often it did not.
type limited struct {
	mu   sync.Mutex
	last time.Time
	more int
}

func (l *limited) do(f func(more int)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.last) < 30*time.Second {
		l.more++
		return
	}
	f(l.more)
	l.last, l.more = time.Now(), 0
}
