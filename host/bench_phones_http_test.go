package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// hello2 sends the preface of HTTP/2. The window for answers is as large as it can be.
func (p *benchPhone) hello2() error {
	p.out = append(p.out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"...)
	p.out = appendFrame2(p.out, 4, 0, 0, nil)
	p.out = appendFrame2(p.out, 8, 0, 0, binary.BigEndian.AppendUint32(nil, 1<<31-1-65535))
	_, err := p.conn.Write(p.out)
	p.out = p.out[:0]
	return err
}

// appendFrame2 appends a frame of HTTP/2.
func appendFrame2(dst []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return append(binary.BigEndian.AppendUint32(dst, stream), payload...)
}

// posts sends one request after the other.
func (p *benchPhone) posts() error {
	for stream := uint32(1); !p.stopped.Load(); stream += 2 {
		var batch []byte
		for i := range p.load.batch {
			if i > 0 {
				batch = append(batch, ',')
			}
			batch = append(batch, p.message(fmt.Sprintf(`"from":%q,"category":%q,`, p.name, p.load.category), 300)...)
		}
		batch = append(append([]byte(`{"messages":[`), batch...), `]}`...)
		header := []byte{0x83, 0x87} // POST, https
		for _, field := range [][2]string{{":path", "/v1/upstream"}, {":authority", "gateway"}, {"content-type", "application/json"},
			{"content-length", fmt.Sprint(len(batch))}, {"authorization", "Bearer bench"}} {
			header = append(append(header, 0, byte(len(field[0]))), field[0]...)
			header = append(append(header, byte(len(field[1]))), field[1]...)
		}
		const endStream, endHeaders = 1, 4
		p.out = appendFrame2(p.out, 1, endHeaders, stream, header)
		p.out = appendFrame2(p.out, 0, endStream, stream, batch)
		p.open = append(p.open, time.Now())
		if _, err := p.conn.Write(p.out); err != nil {
			return err
		}
		p.out = p.out[:0]
		answer, err := p.answer2()
		if err != nil {
			return err
		}
		if n := bytes.Count(answer, []byte(`"status":"stored"`)); n != p.load.batch {
			return fmt.Errorf("%s: %d of %d are stored: %s", p.name, n, p.load.batch, answer)
		}
		p.stored.Add(uint64(p.load.batch)) //nolint:gosec // it is small
		p.answered()
	}
	return nil
}

// answer2 reads the body of the next answer.
func (p *benchPhone) answer2() (body []byte, err error) {
	var head [9]byte
	for {
		if _, err := io.ReadFull(p.r, head[:]); err != nil {
			return nil, err
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(p.r, payload); err != nil {
			return nil, err
		}
		kind, flags := head[3], head[4]
		switch {
		case kind == 0:
			body = append(body, payload...)
		case kind == 4 && flags == 0:
			p.out = appendFrame2(p.out, 4, 1, 0, nil)
		case kind == 3, kind == 7:
			return nil, fmt.Errorf("%s: the host ends the stream or the connection: frame %d, %x", p.name, kind, payload)
		}
		if kind <= 1 && flags&1 != 0 {
			return body, nil
		}
	}
}
