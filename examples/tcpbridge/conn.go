package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	maxLine      = 48 << 10 // bytes that a BAL writes in one line; FCM takes 4 KiB
	maxBatch     = 100      // lines that are taken in one commit
	logonTimeout = 10 * time.Second
	writeTimeout = 30 * time.Second // a BAL that reads nothing for so long is cut off
	heartbeat    = 15 * time.Second // an empty line, when there was no other
	soonest      = 2 * time.Millisecond
	latest       = 100 * time.Millisecond // between looks for what a handler commits
	wholeLook    = time.Minute
	lastWish     = 2 * time.Second // for the ACKs of a connection that ends
)

// peerError is what a BAL has done wrong. It is told before the connection is closed.
type peerError string

func (e peerError) Error() string { return string(e) }

// conn is one connection of a BAL.
type conn struct {
	net.Conn
	bridge *bridge
	in     *bufio.Reader
	end    context.CancelCauseFunc // ends the connection; the cause is told to the BAL if it is for it
	box    *mailbox                // from its LOGON on
	acks   chan int64              // from read to push

	writing sync.Mutex // guards what follows, and the writes
	wrote   time.Time  // the last time
}

func newConn(nc net.Conn, b *bridge, end context.CancelCauseFunc) *conn {
	return &conn{Conn: nc, bridge: b, in: bufio.NewReaderSize(nc, maxLine), end: end, acks: make(chan int64, maxUnacked)}
}

// serve is the life of a connection that has logged on: one goroutine reads, this one pushes.
// Whichever fails ends the other. It returns why it ended.
func (c *conn) serve(ctx context.Context) error {
	w, lines, err := openWindow(ctx, c.bridge, c.box)
	if err != nil {
		return fmt.Errorf("load what was not acked: %w", err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { c.end(c.read(ctx)) })
	if err := c.write(lines...); err != nil {
		c.end(err)
	}
	c.end(c.push(ctx, w)) // closes the connection, which ends read
	reading.Wait()
	c.flush(ctx, w)
	return context.Cause(ctx)
}

// push writes what waits for the BAL, as far as its window has room, until ctx ends.
func (c *conn) push(ctx context.Context, w *window) error {
	look, delay, whole := true, soonest, time.Now()
	due := time.Now() // when to look again
	for {
		lines, err := w.advance(ctx, look)
		if err != nil {
			return err
		}
		if err := c.write(lines...); err != nil {
			return err
		}
		now := time.Now()
		if look && now.Sub(whole) > wholeLook {
			c.box.lookAtAll()
			whole = now
		}
		expecting := c.box.expecting()
		if !expecting || len(lines) > 0 {
			delay = soonest
		} else if look {
			delay = min(2*delay, latest)
		}
		if look {
			due = now.Add(heartbeat)
		}
		if expecting && due.After(now.Add(delay)) {
			due = now.Add(delay)
		}
		if look, err = c.wait(ctx, w, c.beatsBefore(due)); err != nil {
			return err
		}
		look = look || w.more
	}
}

// wait waits for ACKs, for a handler, for due, or for the end. look says that due has come.
func (c *conn) wait(ctx context.Context, w *window, due time.Time) (look bool, err error) {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case sequence := <-c.acks:
		w.ack(sequence)
		c.collect(w)
	case <-c.box.hint:
	case <-timer.C:
		return true, c.beat()
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	return false, nil
}

// collect notes the ACKs that are there already, so that one commit has many.
func (c *conn) collect(w *window) {
	for {
		select {
		case sequence := <-c.acks:
			w.ack(sequence)
		default:
			return
		}
	}
}

// flush deletes what the BAL has acked at the end, so that it does not come again.
func (c *conn) flush(ctx context.Context, w *window) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWish)
	defer cancel()
	c.collect(w)
	if _, err := w.advance(ctx, false); err != nil {
		c.bridge.host.Log().Debug("the last acks are not stored, their messages come again", "err", err)
	}
}

// read takes what the BAL writes, until the connection ends. Lines count in their order: when
// an ACK is taken, all downstreams before it are stored.
func (c *conn) read(ctx context.Context) error {
	for {
		batch, err := c.lines()
		var downstreams []line
		var acks []int64
		for _, l := range batch {
			if l.Type == typeAck {
				acks = append(acks, l.SequenceID)
			} else {
				downstreams = append(downstreams, l)
			}
		}
		if len(downstreams) > 0 {
			if err := c.take(ctx, downstreams); err != nil {
				return err
			}
		}
		for _, sequence := range acks {
			select {
			case c.acks <- sequence:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err != nil {
			return err
		}
	}
}

// lines waits for one line, and gives it with those that are there already. The lines are
// right even if there is an error behind them.
func (c *conn) lines() (batch []line, err error) {
	for len(batch) == 0 || len(batch) < maxBatch && c.hasLine() {
		l, err := c.line()
		if err != nil {
			return batch, err
		}
		switch l.Type {
		case "": // a heartbeat
			continue
		case typeAck:
			if l.SequenceID <= 0 {
				return batch, peerError("an ACK has no sequence_id above 0")
			}
		case typeDownstream:
			if _, err := nameOf(l); err != nil {
				return batch, err
			}
		default:
			return batch, peerError(fmt.Sprintf("the message_type %.40q: a BAL sends ACK and DOWNSTREAM after its LOGON", l.Type))
		}
		batch = append(batch, l)
	}
	return batch, nil
}

// line reads a line. That of a heartbeat has no message_type.
func (c *conn) line() (l line, err error) {
	text, err := c.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return l, peerError(fmt.Sprintf("a line has more than %d bytes", maxLine))
	case err != nil:
		return l, err
	case blank(text):
		return line{}, nil
	}
	if l, err = decodeLine(text); err != nil {
		return l, peerError(err.Error())
	}
	return l, nil
}

func (c *conn) hasLine() bool {
	there, _ := c.in.Peek(c.in.Buffered()) // it is there
	return bytes.IndexByte(there, '\n') >= 0
}

// write writes lines. A BAL that does not read for long ends the connection.
func (c *conn) write(lines ...[]byte) error {
	if len(lines) == 0 {
		return nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.wrote = time.Now()
	if err := c.SetWriteDeadline(c.wrote.Add(writeTimeout)); err != nil {
		return err
	}
	_, err := c.Write(bytes.Join(lines, nil))
	return err
}

// beatsBefore is when the next heartbeat is due, or due if that is sooner.
func (c *conn) beatsBefore(due time.Time) time.Time {
	c.writing.Lock()
	defer c.writing.Unlock()
	if next := c.wrote.Add(heartbeat); next.Before(due) {
		return next
	}
	return due
}

// beat writes an empty line if there was nothing else for a while, so that the BAL knows that
// the bridge is there.
func (c *conn) beat() error {
	c.writing.Lock()
	quiet := time.Since(c.wrote) >= heartbeat
	c.writing.Unlock()
	if !quiet {
		return nil
	}
	return c.write([]byte("\n"))
}

// hangUp closes the connection when it has to end. A BAL that it can still write to hears why.
func (c *conn) hangUp(why error) {
	if wrong := peerError(""); errors.As(why, &wrong) && c.writing.TryLock() {
		defer c.writing.Unlock()
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // it is only a courtesy
		_, _ = c.Write(encodeLine(line{Type: typeError, ErrorDescription: why.Error()}))
	}
	_ = c.Close()
}
