package fcmsim

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

var errEnded = errors.New("the simulator ended the connection")

// serveHTTP1 answers requests one after the other.
func (c *conn) serveHTTP1() error {
	c.wire.LimitIdle(max(0, c.srv.opts.IdleTimeout))
	for {
		request, err := http.ReadRequest(c.r)
		if err != nil {
			return err
		}
		x, err := c.request(request)
		if err != nil {
			return err
		}
		if err := c.answer(x, request.Close); err != nil {
			return err
		}
	}
}

// request reads the rest of a request, and decides what becomes of it.
func (c *conn) request(r *http.Request) (*exchange, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	x := &exchange{method: r.Method, path: r.URL.Path, auth: r.Header.Get("Authorization"), body: body, ended: true}
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	if c.lost {
		return nil, errEnded
	}
	c.begin(x)
	c.streams[0] = x
	c.srv.handle(x, time.Now())
	return x, nil
}

// answer waits until an answer is due and writes it. An error ends the connection.
func (c *conn) answer(x *exchange, last bool) error {
	if !c.pause(time.Until(x.due)) {
		return errEnded
	}
	head, err := c.head(x, last)
	if err != nil {
		return err
	}
	if head == nil { // it hangs until the client has enough
		return c.hang()
	}
	if _, err := c.rw.Write(head); err != nil {
		return err
	}
	if !c.pause(time.Duration(x.response.BodyDelay)) {
		return errEnded
	}
	w := bufio.NewWriterSize(c.rw, 64<<10) // it keeps the first error for Flush
	for x.sent < x.end {
		n, err := w.Write(x.piece(maxFrame))
		if err != nil {
			return err
		}
		x.sent += int64(n)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return c.finish(x, last)
}

// head settles a request whose time has come. It is the answer's head; nil for one
// that hangs.
func (c *conn) head(x *exchange, last bool) ([]byte, error) {
	s := c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.lost {
		return nil, errEnded
	}
	now := time.Now()
	c.settle(x, now, x.response.outcome())
	switch r := x.response; {
	case r.Status != 0:
	case r.Cut != "":
		c.kill(r.Cut)
		return nil, errEnded
	case r.Reset != "":
		c.end(x, now)
		c.wire.Reset()
		return nil, errEnded
	default:
		return nil, nil
	}
	s.prepare(x)
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", x.response.Status, http.StatusText(x.response.Status))
	for _, h := range s.headers(x, now) {
		fmt.Fprintf(&b, "%s: %s\r\n", http.CanonicalHeaderKey(h.name), h.value)
	}
	if last || c.last {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes(), nil
}

// finish ends a request whose answer is written, as far as it goes.
func (c *conn) finish(x *exchange, last bool) error {
	r := x.response
	if r.Hang {
		return c.hang()
	}
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.end(x, time.Now())
	delete(c.streams, 0)
	switch {
	case r.Cut != "":
		c.kill(r.Cut)
		return errEnded
	case r.Reset != "":
		c.wire.Reset()
		return errEnded
	case last, c.last, x.end < x.size:
		return errEnded
	}
	return nil
}

// hang waits until the client closes the connection.
func (c *conn) hang() error {
	c.wire.LimitIdle(0)
	c.wire.SetReadDeadline(time.Time{})
	_, err := io.Copy(io.Discard, c.r)
	return err
}

// pause waits. False: the connection has ended.
func (c *conn) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.wire.Closed():
		return false
	}
}
