package fcmsim

import (
	"bytes"
	"container/heap"
	"errors"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var errLost = errors.New("the simulator cut the connection")

// fullBuffer is how many bytes are written at once.
const fullBuffer = 64 << 10

// h2writer makes the frames of one connection.
type h2writer struct {
	c     *conn
	buf   bytes.Buffer
	fr    *http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
	cut   CutMode // lose the connection after what is in buf; "": go on
}

// writeHTTP2 writes all that is due, until the connection ends.
func (c *conn) writeHTTP2() error {
	w := &h2writer{c: c}
	w.fr = http2.NewFramer(&w.buf, nil)
	w.enc = hpack.NewEncoder(&w.block)
	w.enc.SetMaxDynamicTableSizeLimit(0) // whatever the client allows
	w.start()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c.srv.mu.Lock()
		now := time.Now()
		end := w.fill(now)
		wake := c.nextWake()
		c.srv.mu.Unlock()
		full := w.buf.Len() > 0
		if full {
			if _, err := c.rw.Write(w.buf.Bytes()); err != nil {
				c.wire.Close() // ends the reader too
				return err
			}
			w.buf.Reset()
		}
		if w.cut != "" {
			c.locked(func(time.Time) error { c.kill(w.cut); return nil })
			end = errLost
		}
		switch {
		case end == errLost:
			<-c.gone // in a black hole the reader goes on
			return end
		case end != nil:
			return end
		case full:
			continue // more may have come meanwhile
		}
		if !wake.IsZero() {
			timer.Reset(time.Until(wake))
		}
		select {
		case <-c.kick:
		case <-timer.C:
		case <-c.gone:
			return nil
		}
	}
}

// start writes the server's preface. A bytes.Buffer takes all frames.
func (w *h2writer) start() {
	o := w.c.srv.opts
	settings := []http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: uint32(o.MaxStreams)},
		{ID: http2.SettingInitialWindowSize, Val: maxBody + maxFrame},
		{ID: http2.SettingMaxHeaderListSize, Val: 32 << 10},
	}
	if o.Grease {
		settings = append(settings, http2.Setting{ID: 0x1a1a, Val: 7})
	}
	w.fr.WriteSettings(settings...)
	w.fr.WriteWindowUpdate(0, ourWindow-defaultWindow)
}

// fill makes the frames that may be written now. An error ends the connection after them.
func (w *h2writer) fill(now time.Time) error {
	c, h := w.c, &w.c.h2
	if c.lost {
		return errLost
	}
	for _, write := range h.out {
		write(w.fr)
	}
	h.out = h.out[:0]
	if h.closing != nil {
		return h.closing
	}
	for w.buf.Len() < fullBuffer && w.cut == "" {
		x := h.due.next(now)
		if x == nil {
			break
		}
		w.step(x, now)
	}
	w.bodies(now)
	if len(c.streams) > 0 || w.cut != "" {
		return nil
	}
	limit := c.srv.opts.IdleTimeout
	if !c.last && limit > 0 && now.Sub(c.idle) >= limit {
		c.last, h.drained = true, true
		w.fr.WriteGoAway(h.lastID, http2.ErrCodeNo, nil)
	}
	if h.drained {
		return errEnded
	}
	return nil
}

// step takes an answer one step on: to its headers, to its body, or to its end
// without one.
func (w *h2writer) step(x *exchange, now time.Time) {
	c, r := w.c, x.response
	if x.headed {
		c.h2.sending = append(c.h2.sending, x)
		return
	}
	c.settle(x, now, r.outcome())
	if r.Status == 0 {
		w.fail(x, now)
		return
	}
	c.srv.prepare(x)
	x.headed = true
	whole := x.size == 0 && x.end == 0 && !r.Hang && r.Reset == "" && r.Cut == ""
	w.head(x, now, whole)
	switch {
	case whole:
		w.done(x, now)
	case r.BodyDelay > 0:
		x.due = now.Add(time.Duration(r.BodyDelay))
		heap.Push(&c.h2.due, x)
	default:
		c.h2.sending = append(c.h2.sending, x)
	}
}

// head writes an answer's headers.
func (w *h2writer) head(x *exchange, now time.Time, end bool) {
	w.block.Reset()
	w.enc.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(x.response.Status)})
	for _, h := range w.c.srv.headers(x, now) {
		w.enc.WriteField(hpack.HeaderField{Name: h.name, Value: h.value})
	}
	w.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: x.stream, BlockFragment: w.block.Bytes(), EndStream: end, EndHeaders: true})
}

// bodies writes as much of the bodies as the client allows.
func (w *h2writer) bodies(now time.Time) {
	h := &w.c.h2
	h.sending = slices.DeleteFunc(h.sending, func(x *exchange) bool { return x.gone || w.body(x, now) })
}

// body writes a part of one body. It reports whether nothing follows.
func (w *h2writer) body(x *exchange, now time.Time) bool {
	h := &w.c.h2
	for x.sent < x.end {
		n := min(x.window, h.window)
		if n <= 0 || w.buf.Len() >= fullBuffer {
			return false
		}
		piece := x.piece(n)
		x.sent += int64(len(piece))
		x.window -= int64(len(piece))
		h.window -= int64(len(piece))
		r := x.response
		end := x.sent == x.end && !r.Hang && r.Reset == "" && r.Cut == ""
		w.fr.WriteData(x.stream, end, piece)
		if end {
			w.done(x, now)
			return true
		}
	}
	w.fail(x, now)
	return true
}

// fail ends an answer that is not whole.
func (w *h2writer) fail(x *exchange, now time.Time) {
	c, r := w.c, x.response
	switch {
	case r.Cut != "":
		w.cut = r.Cut
		c.end(x, now)
		delete(c.streams, x.stream)
	case r.Reset != "":
		code, _ := resetCode(r.Reset) // check knows it
		w.fr.WriteRSTStream(x.stream, code)
		c.end(x, now)
		delete(c.streams, x.stream)
	}
	// It hangs until the client ends the stream.
}

// done ends a stream whose answer is whole.
func (w *h2writer) done(x *exchange, now time.Time) {
	if !x.ended { // the rest of the request is not wanted. Spec: RFC 9113 §8.1
		w.fr.WriteRSTStream(x.stream, http2.ErrCodeNo)
	}
	w.c.end(x, now)
	delete(w.c.streams, x.stream)
}

// nextWake is when fill must be called without a kick. Zero means never.
func (c *conn) nextWake() time.Time {
	if len(c.h2.due) > 0 {
		return c.h2.due[0].due
	}
	if limit := c.srv.opts.IdleTimeout; limit > 0 && len(c.streams) == 0 {
		return c.idle.Add(limit)
	}
	return time.Time{}
}
