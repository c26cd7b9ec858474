package fcmsim

import (
	"container/heap"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framing is what a connection knows of HTTP/2. Server.mu guards it.
type framing struct {
	due     queue                       // answers to write
	sending []*exchange                 // answers whose body is partly written
	out     []func(*http2.Framer) error // frames to write first
	lastID  uint32                      // the highest stream that was opened
	settled uint32                      // the highest stream whose request was handled to its end
	window  int64                       // what the client allows on the connection
	initial int64                       // and on a new stream
	credit  uint32                      // read bytes that the client does not know of
	agreed  bool                        // the client has acked the settings
	pinged  time.Time
	strikes int   // pings that came too early
	closing error // end when out is written
	drained bool  // end when no stream is left
}

const (
	defaultWindow = 65535
	ourWindow     = 16 << 20 // for the client, on the connection; on a stream, a whole body
	maxStrikes    = 3
)

// readHTTP2 handles frames until the connection ends.
func (c *conn) readHTTP2() error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.r, preface); err != nil {
		return err
	}
	if string(preface) != http2.ClientPreface {
		return errors.New("no HTTP/2 preface")
	}
	fr := http2.NewFramer(io.Discard, c.r)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	fr.MaxHeaderListSize = 32 << 10
	fr.SetMaxReadFrameSize(maxFrame)
	fr.SetReuseFrames()
	for {
		f, err := fr.ReadFrame()
		var inStream http2.StreamError
		var inConn http2.ConnectionError
		switch {
		case errors.As(err, &inStream):
			c.locked(func(now time.Time) error {
				c.reset(inStream.StreamID, inStream.Code, now)
				return nil
			})
		case errors.As(err, &inConn):
			return c.refuse(http2.ErrCode(inConn), err)
		case errors.Is(err, http2.ErrFrameTooLarge):
			return c.refuse(http2.ErrCodeFrameSize, err)
		case err != nil:
			return err
		default:
			if err := c.locked(func(now time.Time) error { return c.frame(f, now) }); err != nil {
				return c.refuse(http2.ErrCodeProtocol, err)
			}
		}
		if c.r.Buffered() == 0 {
			c.wake()
		}
	}
}

// refuse ends the connection for what the client did. It reads on until the client
// knows.
func (c *conn) refuse(code http2.ErrCode, why error) error {
	c.locked(func(time.Time) error { c.say(code, why.Error()); return nil })
	c.wire.SetReadDeadline(time.Now().Add(time.Second))
	io.Copy(io.Discard, c.rw)
	return why
}

// locked calls f with srv.mu held.
func (c *conn) locked(f func(now time.Time) error) error {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	if c.lost {
		return nil // it came before the cut, but is handled after it
	}
	return f(time.Now())
}

// frame handles one frame. An error ends the connection. srv.mu must be held.
func (c *conn) frame(f http2.Frame, now time.Time) error {
	h := &c.h2
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f, now)
	case *http2.DataFrame:
		c.data(f, now)
	case *http2.RSTStreamFrame:
		if x := c.streams[f.StreamID]; x != nil {
			c.lose(x, now)
			delete(c.streams, f.StreamID)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			h.window += int64(f.Increment)
		} else if x := c.streams[f.StreamID]; x != nil {
			x.window += int64(f.Increment)
		}
	case *http2.SettingsFrame:
		if f.IsAck() {
			h.agreed = true
		} else {
			c.settings(f)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			c.ping(f.Data, now)
		}
	}
	return nil
}

// headers opens a stream, or ends it if they are trailers.
func (c *conn) headers(f *http2.MetaHeadersFrame, now time.Time) error {
	h, s := &c.h2, c.srv
	if x := c.streams[f.StreamID]; x != nil {
		if f.StreamEnded() && !x.ended {
			x.ended = true
			c.decide(x, now)
		}
		return nil
	}
	switch {
	case f.StreamID%2 == 0, f.StreamID <= h.lastID:
		return fmt.Errorf("stream %d can't be opened after %d", f.StreamID, h.lastID)
	case c.last: // it is above the last id of a GOAWAY
		s.counts.Dropped++
		return nil
	}
	h.lastID = f.StreamID
	if len(c.streams) >= s.opts.MaxStreams {
		if h.agreed { // before, a client can't know the limit
			s.counts.OverStreams++
		}
		c.reset(f.StreamID, http2.ErrCodeRefusedStream, now)
		return nil
	}
	x := &exchange{stream: f.StreamID, method: f.PseudoValue("method"), window: h.initial}
	x.path, _, _ = strings.Cut(f.PseudoValue("path"), "?")
	for _, field := range f.RegularFields() {
		if field.Name == "authorization" {
			x.auth = field.Value
		}
	}
	c.streams[x.stream] = x
	c.begin(x)
	if rule := s.earlyRule(x.path); rule != nil {
		x.early = true
		s.counts.Requests++
		s.seq++
		x.seq, x.response, x.due = s.seq, rule.Response, now.Add(time.Duration(rule.Delay))
		heap.Push(&h.due, x)
	}
	if x.ended = f.StreamEnded(); x.ended {
		c.decide(x, now)
	}
	return nil
}

// data adds to a request's body, and lets the client send as much again.
func (c *conn) data(f *http2.DataFrame, now time.Time) {
	h := &c.h2
	if h.credit += f.Length; h.credit > ourWindow/4 {
		n := h.credit
		h.credit = 0
		h.out = append(h.out, func(fr *http2.Framer) error { return fr.WriteWindowUpdate(0, n) })
	}
	x := c.streams[f.StreamID]
	if x == nil || x.ended {
		return
	}
	if !x.early && x.seq == 0 {
		x.body = append(x.body, f.Data()...)
	}
	if x.ended = f.StreamEnded(); x.ended || len(x.body) > maxBody {
		c.decide(x, now)
	}
}

// decide handles a request, once.
func (c *conn) decide(x *exchange, now time.Time) {
	if x.seq == 0 {
		c.srv.handle(x, now)
		heap.Push(&c.h2.due, x)
	}
}

// settings takes what the client wants.
func (c *conn) settings(f *http2.SettingsFrame) {
	h := &c.h2
	if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
		for _, x := range c.streams {
			x.window += int64(v) - h.initial
		}
		h.initial = int64(v)
	}
	h.out = append(h.out, (*http2.Framer).WriteSettingsAck)
}

// ping answers a ping. A client that pings too often has to calm down.
func (c *conn) ping(data [8]byte, now time.Time) {
	h, s := &c.h2, c.srv
	s.counts.Pings++
	if every := s.opts.PingEvery; every > 0 {
		if !h.pinged.IsZero() && now.Sub(h.pinged) < every {
			h.strikes++
		}
		h.pinged = now
		if h.strikes >= maxStrikes {
			s.counts.Calmed++
			c.say(http2.ErrCodeEnhanceYourCalm, "too_many_pings")
			return
		}
	}
	h.out = append(h.out, func(fr *http2.Framer) error { return fr.WritePing(true, data) })
}

// say sends a GOAWAY with an error code and ends the connection. srv.mu must be held.
func (c *conn) say(code http2.ErrCode, why string) {
	h, last := &c.h2, c.h2.lastID
	if h.closing == nil {
		c.srv.counts.GoAways++
		c.last, h.closing = true, fmt.Errorf("%v: %s", code, why)
		h.out = append(h.out, func(fr *http2.Framer) error { return fr.WriteGoAway(last, code, []byte(why)) })
		c.wake()
	}
}

// reset ends a stream from this side.
func (c *conn) reset(stream uint32, code http2.ErrCode, now time.Time) {
	if x := c.streams[stream]; x != nil {
		c.end(x, now)
		delete(c.streams, stream)
	}
	c.h2.out = append(c.h2.out, func(fr *http2.Framer) error { return fr.WriteRSTStream(stream, code) })
}
