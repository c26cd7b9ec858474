package main

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"balhost/host/internal/frame"
	"balhost/host/internal/latency"
)

// fleet has the devices of BenchmarkGateway, each with a TLS connection of its own. They
// do as little as possible for a message, because they share the cores with the host.
type fleet struct {
	load    fleetLoad
	run     string // makes the message ids of each run different
	all     []*benchPhone
	stored  atomic.Uint64 // messages that were acked, or that a 202 said are stored
	echoed  atomic.Uint64 // downstreams that came
	answers latency.Histogram
	stopped atomic.Bool // no new messages
	closing atomic.Bool
	ended   sync.WaitGroup
	failed  chan error // the first error
}

// fleetLoad says what they do.
type fleetLoad struct {
	address  string
	category string
	count    int
	batch    int           // messages of one HTTP/2 request; 0: they use WebSockets
	window   int           // messages without an ack on a WebSocket
	every    time.Duration // between two messages of a phone; 0: as fast as the window allows
	echo     bool          // a message is answered by its echo, and not by its ack
}

var runs atomic.Int64

// startFleet connects all. Each sends as soon as it is connected.
func startFleet(b *testing.B, l fleetLoad) *fleet {
	b.Helper()
	p := &fleet{load: l, run: fmt.Sprintf("%d-%d", time.Now().UnixNano(), runs.Add(1)), failed: make(chan error, 1)}
	connect := make(chan *benchPhone)
	var dialling sync.WaitGroup
	for range 16 {
		dialling.Go(func() {
			for one := range connect {
				p.start(one)
			}
		})
	}
	for i := range l.count {
		one := &benchPhone{fleet: p, name: fmt.Sprint("phone-", i)}
		p.all = append(p.all, one)
		connect <- one
	}
	close(connect)
	dialling.Wait()
	p.check(b)
	return p
}

// start connects one, and lets it live.
func (p *fleet) start(one *benchPhone) {
	if err := one.dial(); err != nil {
		p.fail(err)
		return
	}
	p.ended.Go(func() {
		if err := one.live(); err != nil && !p.closing.Load() {
			p.fail(err)
		}
	})
}

func (p *fleet) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}

// check ends b if a phone could not go on.
func (p *fleet) check(b *testing.B) {
	b.Helper()
	select {
	case err := <-p.failed:
		b.Fatal(err)
	default:
	}
}

// close ends all connections.
func (p *fleet) close(b *testing.B) {
	b.Helper()
	p.closing.Store(true)
	for _, one := range p.all {
		_ = one.conn.NetConn().Close()
	}
	p.ended.Wait()
	p.check(b)
}

// benchPhone is one device. One goroutine has it.
type benchPhone struct {
	*fleet
	name  string
	conn  *tls.Conn
	r     *bufio.Reader
	n     int         // messages so far
	open  []time.Time // when each that has no answer was written, oldest first
	acked int         // of all, those that were acked
	out   []byte
	body  []byte
}

func (p *benchPhone) dial() (err error) {
	c := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // it is this benchmark's own host
	if p.load.batch > 0 {
		c.NextProtos = []string{"h2"}
	}
	if p.conn, err = tls.Dial("tcp", p.load.address, c); err != nil {
		return err
	}
	p.r = bufio.NewReaderSize(p.conn, 1<<10)
	if p.load.batch > 0 {
		return p.hello2()
	}
	return p.helloSocket()
}

// live sends until the phones are stopped, and reads until they are closed.
func (p *benchPhone) live() error {
	if p.load.batch > 0 {
		return p.posts()
	}
	for next := time.Now(); ; {
		if p.load.every > 0 && !p.stopped.Load() && len(p.open) == 0 {
			time.Sleep(time.Until(next))
			next = next.Add(p.load.every)
		}
		for !p.stopped.Load() && len(p.open) < p.load.window {
			p.out = appendText(p.out, p.message(`"type":"upstream",`, 300))
			p.open = append(p.open, time.Now())
		}
		if len(p.out) > 0 {
			if _, err := p.conn.Write(p.out); err != nil {
				return err
			}
			p.out = p.out[:0]
		}
		for more := true; more; more = p.r.Buffered() > 0 {
			if err := p.frame(); err != nil {
				return err
			}
		}
	}
}

// message is the next one, of about size bytes.
func (p *benchPhone) message(head string, size int) []byte {
	p.n++
	b := fmt.Appendf(p.body[:0], `{%s"message_id":"%s-%d","data":{"pad":"`, head, p.run, p.n)
	b = append(append(b, strings.Repeat("x", max(0, size-len(b)-3))...), `"}}`...)
	p.body = b
	return b
}

func (p *benchPhone) answered() {
	p.answers.Add(time.Since(p.open[0]))
	p.open = append(p.open[:0], p.open[1:]...)
}

// helloSocket makes the handshake, and says who it is.
func (p *benchPhone) helloSocket() error {
	fmt.Fprintf(p.conn, "GET /v1/ws HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", frame.Subprotocol)
	for line := ""; line != "\r\n"; {
		next, err := p.r.ReadString('\n')
		if err != nil || line == "" && !strings.Contains(next, " 101 ") {
			return fmt.Errorf("%s: handshake: %q %w", p.name, next, cmp.Or(err, errors.New("is no 101")))
		}
		line = next
	}
	hello := frame.Frame{Type: frame.TypeHello, Token: "bench", From: p.name, Category: p.load.category}
	if _, err := p.conn.Write(appendText(nil, hello.Append(nil))); err != nil {
		return err
	}
	return p.frame() // welcome
}

// frame reads one frame, and answers it.
func (p *benchPhone) frame() error {
	head, err := p.r.Peek(2)
	if err != nil {
		return err
	}
	n, header := int(head[1]), 2
	if n == 126 {
		if head, err = p.r.Peek(4); err != nil {
			return err
		}
		n, header = int(binary.BigEndian.Uint16(head[2:])), 4
	}
	opcode := head[0] & 0xf
	text, err := p.r.Peek(header + n)
	if err != nil {
		return err
	}
	text = text[header:]
	defer p.r.Discard(header + n) //nolint:errcheck // it is in the buffer
	if opcode != 1 {
		return fmt.Errorf("%s: a frame %d: %q", p.name, opcode, text)
	}
	return p.text(text)
}

func (p *benchPhone) text(text []byte) error {
	kind, rest, _ := bytes.Cut(bytes.TrimPrefix(text, []byte(`{"type":"`)), []byte(`"`))
	id, _, _ := bytes.Cut(bytes.TrimPrefix(rest, []byte(`,"message_id":"`)), []byte(`"`))
	switch frame.Type(kind) {
	case frame.TypeWelcome:
	case frame.TypePing:
		p.out = appendText(p.out, []byte(`{"type":"pong"}`))
	case frame.TypeAck:
		if p.acked++; string(id) != fmt.Sprintf("%s-%d", p.run, p.acked) {
			return fmt.Errorf("%s: ack %d is of %s: they have to come in order", p.name, p.acked, id)
		}
		if p.stored.Add(1); !p.load.echo {
			p.answered()
		}
	case frame.TypeDownstream:
		p.out = appendText(p.out, fmt.Appendf(nil, `{"type":"ack","message_id":"%s"}`, id))
		if p.echoed.Add(1); p.load.echo && len(p.open) > 0 {
			p.answered()
		}
	default:
		return fmt.Errorf("%s: unexpected frame %s", p.name, text)
	}
	return nil
}

// appendText appends a text frame, masked with zeros.
func appendText(dst, text []byte) []byte {
	if len(text) < 126 {
		dst = append(dst, 0x81, 0x80|byte(len(text)))
	} else {
		dst = binary.BigEndian.AppendUint16(append(dst, 0x81, 0x80|126), uint16(len(text))) //nolint:gosec // messages are small
	}
	return append(append(dst, 0, 0, 0, 0), text...)
}
