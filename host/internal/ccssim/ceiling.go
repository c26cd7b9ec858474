package ccssim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"balhost/host/internal/xmpp"
)

// CeilingOptions say what [Ceiling] measures.
type CeilingOptions struct {
	Messages int // how many messages to read

	// For a simulator that Ceiling starts in this process, with Addr "".
	Size   int // bytes of each payload
	Window int // of un-acked upstreams; 0 means 100

	// A simulator in another process. Its load must send at least Messages
	// upstreams, as fast as its window allows.
	Addr, SenderID, Key string
	CAPEM               []byte
}

// Ceiling measures how many upstreams a simulator can send in a second. Its client
// acks each upstream at once, reads only what the ack needs, and stores nothing. No
// measurement of a host can show a higher rate.
func Ceiling(ctx context.Context, o CeilingOptions) (perSecond float64, err error) {
	if o.Addr == "" {
		s, err := NewServer(Options{
			Window: o.Window, Transcript: -1,
			Devices: Devices{Count: 100, Limit: o.Messages, Size: o.Size, Category: "com.example.bench"},
		})
		if err != nil {
			return 0, err
		}
		defer s.Close()
		o.Addr, o.SenderID, o.Key, o.CAPEM = s.Addr(), s.SenderID(), s.Key(), s.CAPEM()
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(o.CAPEM) {
		return 0, errors.New("ceiling: no certificate in CAPEM")
	}
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	nc, err := dialer.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()

	r := xmpp.NewReader(nc, 1<<20)
	if _, err := xmpp.Login(nc, r, xmpp.Credentials{Domain: gcmDomain, AuthCID: o.SenderID + "@" + gcmDomain, Password: o.Key}); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := ackAll(nc, r, o.Messages); err != nil {
		return 0, errors.Join(err, context.Cause(ctx))
	}
	return float64(o.Messages) / time.Since(start).Seconds(), nil
}

// ackAll acks n upstreams. It writes all acks together when nothing more is in r's
// buffer.
func ackAll(nc net.Conn, r *xmpp.Reader, n int) error {
	acks := make([]byte, 0, 64<<10)
	for got := 1; got <= n; got++ {
		element, err := r.Next()
		if err != nil {
			return err
		}
		from, id := member(element, `"from":"`), member(element, `"message_id":"`)
		if from == nil || id == nil {
			return fmt.Errorf("ceiling: not an upstream: %.200q", element)
		}
		acks = append(acks, `<message><gcm xmlns="`+nsGCM+`">{"message_type":"ack","to":"`...)
		acks = append(acks, from...)
		acks = append(acks, `","message_id":"`...)
		acks = append(acks, id...)
		acks = append(acks, `"}`+tailGCM...)
		if r.Buffered() == 0 || got == n {
			if _, err := nc.Write(acks); err != nil {
				return err
			}
			acks = acks[:0]
		}
	}
	return nil
}

// member is the string after name, in a payload as this package's load writes it.
// It is nil if there is none.
func member(b []byte, name string) []byte {
	i := bytes.LastIndex(b, []byte(name))
	if i < 0 {
		return nil
	}
	value, _, ok := bytes.Cut(b[i+len(name):], []byte{'"'})
	if !ok {
		return nil
	}
	return value
}
