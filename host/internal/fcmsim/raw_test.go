package fcmsim

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawClient speaks HTTP/2 frame by frame, as no good client does.
type rawClient struct {
	t     *testing.T
	nc    net.Conn
	fr    *http2.Framer
	token string
}

// dialRaw makes a connection whose client has read the settings and acked them.
func dialRaw(t *testing.T, o Options, ours ...http2.Setting) (*Server, *rawClient) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Listener = ln
	s := newServer(t, o)
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	c := &rawClient{t, nc, http2.NewFramer(nc, nc), s.NewToken()}
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	io.WriteString(nc, http2.ClientPreface)
	c.fr.WriteSettings(ours...)
	if f, ok := c.next().(*http2.SettingsFrame); ok {
		streams, _ := f.Value(http2.SettingMaxConcurrentStreams)
		equal(t, "MAX_CONCURRENT_STREAMS", int(streams), s.opts.MaxStreams)
	}
	c.fr.WriteSettingsAck()
	return s, c
}

// next is the next frame, without those of flow control and settings but the first.
func (c *rawClient) next() http2.Frame {
	c.t.Helper()
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			c.t.Fatalf("read: %v", err)
		}
		if s, ok := f.(*http2.SettingsFrame); ok && s.IsAck() || f.Header().Type == http2.FrameWindowUpdate {
			continue
		}
		return f
	}
}

// open sends the headers of a request.
func (c *rawClient) open(stream uint32, end bool) {
	c.t.Helper()
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/v1/projects/482915730064/messages:send"}, {"authorization", "Bearer " + c.token}} {
		enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	if err := c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: end}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) send(stream uint32) {
	c.t.Helper()
	c.open(stream, false)
	c.fr.WriteDataPadded(stream, true, []byte(`{"message":{"token":"t"}}`), make([]byte, 20))
}

// ended checks that the connection ends with a GOAWAY of that code.
func (c *rawClient) ended(code http2.ErrCode) {
	c.t.Helper()
	f, ok := c.next().(*http2.GoAwayFrame)
	if !ok || f.ErrCode != code {
		c.t.Fatalf("%v, want GOAWAY %v", f, code)
	}
	if f, err := c.fr.ReadFrame(); err == nil {
		c.t.Errorf("%v after GOAWAY", f)
	}
}

// An answer waits for the client's windows, and comes in pieces.
func TestFlowControl(t *testing.T) {
	s, c := dialRaw(t, Options{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	s.Answer(Match{}, Response{Status: 200, Body: strings.Repeat("x", 25)})
	c.send(1)
	if f, ok := c.next().(*http2.MetaHeadersFrame); !ok || f.PseudoValue("status") != "200" {
		t.Fatalf("%v", f)
	}
	piece := func(want int, end bool) {
		t.Helper()
		f, ok := c.next().(*http2.DataFrame)
		if !ok || len(f.Data()) != want || f.StreamEnded() != end {
			t.Fatalf("%v, want %d bytes", f, want)
		}
	}
	piece(10, false)
	c.fr.WriteWindowUpdate(1, 5)
	piece(5, false)
	c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	piece(10, true)
	equal(t, "streams", s.Report().Streams, 0)
}

// One more stream than allowed is refused, and seen.
func TestOverStreams(t *testing.T) {
	s, c := dialRaw(t, Options{MaxStreams: 2, AnswerDelay: Range{Min: time.Hour}})
	c.send(1)
	c.send(3)
	c.send(5)
	f, ok := c.next().(*http2.RSTStreamFrame)
	if !ok || f.StreamID != 5 || f.ErrCode != http2.ErrCodeRefusedStream {
		t.Fatalf("%v, want a refusal of stream 5", f)
	}
	equal(t, "over", s.Counts().OverStreams, 1)
	c.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	await(t, s, func(n Counts) bool { return n.Lost == 1 })
	equal(t, "delivered, but not waited for", s.Counts().Delivered, 1)
}

// A GOAWAY names the last stream that is answered. What is above it is dropped.
func TestGoAwayLastID(t *testing.T) {
	for drop, want := range map[int]uint32{0: 5, 1: 3, 2: 1, 3: 0, 9: 0} {
		s, c := dialRaw(t, Options{AnswerDelay: Range{Min: time.Hour}})
		for _, id := range []uint32{1, 3, 5} {
			c.send(id)
		}
		await(t, s, func(n Counts) bool { return n.Requests == 3 })
		if _, err := s.GoAway(GoAway{Drop: drop, Text: "bye"}); err != nil {
			t.Fatal(err)
		}
		f, ok := c.next().(*http2.GoAwayFrame)
		if !ok || f.LastStreamID != want || f.ErrCode != http2.ErrCodeNo || string(f.DebugData()) != "bye" {
			t.Errorf("drop %d: %v, want last id %d", drop, f, want)
		}
		equal(t, "dropped", s.Counts().Dropped, uint64(min(drop, 3)))
		if drop == 0 {
			c.send(7) // too late: it is above the last id
			await(t, s, func(n Counts) bool { return n.Dropped == 1 })
		}
	}
}

// A request that was handled is never above the last id: it may have been delivered.
func TestGoAwaySparesHandled(t *testing.T) {
	s, c := dialRaw(t, Options{})
	s.Answer(Match{Skip: 1}, Response{Hang: true, Deliver: true})
	s.Answer(Match{Count: -1}, Response{Delay: Duration(time.Hour)})
	for _, id := range []uint32{1, 3, 5} {
		c.send(id)
	}
	await(t, s, func(n Counts) bool { return n.Requests == 3 && n.Delivered == 1 })
	s.GoAway(GoAway{Drop: 3})
	f, ok := c.next().(*http2.GoAwayFrame)
	if !ok || f.LastStreamID != 3 {
		t.Errorf("%v, want last id 3", f)
	}
	equal(t, "dropped", s.Counts().Dropped, 1)
}

// What is no HTTP/2 ends the connection with a GOAWAY.
func TestBrokenClients(t *testing.T) {
	for name, row := range map[string]struct {
		write func(*rawClient)
		code  http2.ErrCode
	}{
		"even stream":  {func(c *rawClient) { c.send(2) }, http2.ErrCodeProtocol},
		"stream again": {func(c *rawClient) { c.send(3); c.next(); c.next(); c.open(1, true) }, http2.ErrCodeProtocol},
		"large frame":  {func(c *rawClient) { c.fr.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 1<<15)) }, http2.ErrCodeFrameSize},
		"ping on stream": {func(c *rawClient) {
			c.fr.AllowIllegalWrites = true
			c.fr.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8))
		}, http2.ErrCodeProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := dialRaw(t, Options{})
			row.write(c)
			c.ended(row.code)
		})
	}
}

// Trailers end a request; frames of a stream that has gone do no harm.
func TestTrailers(t *testing.T) {
	s, c := dialRaw(t, Options{})
	c.open(1, false)
	c.fr.WriteData(1, false, []byte(`{"message":{"token":"t"}}`))
	var b bytes.Buffer
	hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: "x", Value: "y"})
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: true})
	if f, ok := c.next().(*http2.MetaHeadersFrame); !ok || f.PseudoValue("status") != "200" {
		t.Fatalf("%v", f)
	}
	c.next()
	c.fr.WriteData(1, true, []byte("late"))
	c.fr.WriteWindowUpdate(1, 5)
	c.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	c.fr.WritePing(false, [8]byte{1})
	if f, ok := c.next().(*http2.PingFrame); !ok || !f.IsAck() {
		t.Fatalf("%v, want the ping's ack", f)
	}
	equal(t, "accepted", s.Counts().Accepted, 1)
}

// A request that is too long gets its answer before its end.
func TestTooLong(t *testing.T) {
	_, c := dialRaw(t, Options{})
	c.open(1, false)
	for range maxBody/maxFrame + 1 {
		c.fr.WriteData(1, false, make([]byte, maxFrame))
	}
	if f, ok := c.next().(*http2.MetaHeadersFrame); !ok || f.PseudoValue("status") != "413" {
		t.Fatalf("%v", f)
	}
	if f, ok := c.next().(*http2.DataFrame); !ok || !f.StreamEnded() {
		t.Fatalf("%v", f)
	}
	if f, ok := c.next().(*http2.RSTStreamFrame); !ok || f.ErrCode != http2.ErrCodeNo {
		t.Fatalf("%v, want NO_ERROR: the rest is not wanted", f)
	}
}

// Requests of HTTP/1.1 that are no good ones.
func TestHTTP1(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, Options{Listener: ln})
	for _, request := range []string{"GET", "GET / HTTP/1.1\r\nbad header\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"} {
		nc, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(patience))
		io.WriteString(nc, request)
		nc.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, nc)
		nc.Close()
	}
	await(t, s, func(Counts) bool { return s.Report().Open == 0 })

	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	c := &client{t, s, &http.Client{Transport: tr, Timeout: patience}, s.NewToken()}
	for i := range 3 {
		a := c.to("t", fmt.Sprint(i))
		equal(t, "send", a.code, 200)
		equal(t, "protocol", a.proto, "HTTP/1.1")
	}
	if n, _ := s.GoAway(GoAway{}); n != 1 {
		t.Errorf("%d connections", n)
	}
	equal(t, "last answer", c.to("t", "4").header.Get("Connection"), "")
	await(t, s, func(Counts) bool { return s.Report().Open == 0 })
}
