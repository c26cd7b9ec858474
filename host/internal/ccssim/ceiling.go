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
	Messages int // to take in all
	Size     int // bytes of each payload; for a server of its own
	Window   int // of un-acked upstreams; for a server of its own; 0 is 100

	// A simulator in another process, whose load sends at least so many
	// Messages as fast as its window allows. Addr "" starts one in this process.
	Addr, SenderID, Key string
	CAPEM               []byte
}

// CeilingResult is what [Ceiling] measured.
type CeilingResult struct {
	Messages  int
	Elapsed   time.Duration
	PerSecond float64
}

// Ceiling measures how many upstreams a second a simulator can send: to a client that acks each
// at once, looks at nothing but what the ack needs, and keeps nothing. No host
// can be seen to be faster than this.
func Ceiling(ctx context.Context, o CeilingOptions) (CeilingResult, error) {
	if o.Addr == "" {
		s, err := NewServer(Options{
			Window: o.Window, Transcript: -1,
			Devices: Devices{Count: 100, Limit: o.Messages, Size: o.Size, Category: "com.example.bench"},
		})
		if err != nil {
			return CeilingResult{}, err
		}
		defer s.Close()
		o.Addr, o.SenderID, o.Key, o.CAPEM = s.Addr(), s.SenderID(), s.Key(), s.CAPEM()
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(o.CAPEM) {
		return CeilingResult{}, errors.New("ceiling: no certificate in CAPEM")
	}
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	nc, err := dialer.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return CeilingResult{}, err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()

	r := xmpp.NewReader(nc, 1<<20)
	if _, err := xmpp.Login(nc, r, xmpp.Credentials{Domain: gcmDomain, AuthCID: o.SenderID + "@" + gcmDomain, Password: o.Key}); err != nil {
		return CeilingResult{}, err
	}
	start := time.Now()
	if err := ackAll(nc, r, o.Messages); err != nil {
		return CeilingResult{}, errors.Join(err, context.Cause(ctx))
	}
	elapsed := time.Since(start)
	return CeilingResult{o.Messages, elapsed, float64(o.Messages) / elapsed.Seconds()}, nil
}

// ackAll acks n upstreams; acks go out together once nothing more is at hand.
func ackAll(nc net.Conn, r *xmpp.Reader, n int) error {
	acks := make([]byte, 0, 64<<10)
	for taken := 0; taken < n; {
		element, err := r.Next()
		if err != nil {
			return err
		}
		from, id := member(element, `"from":"`), member(element, `"message_id":"`)
		if from == nil || id == nil {
			return fmt.Errorf("ceiling: not an upstream: %.200q", element)
		}
		taken++
		acks = append(acks, `<message><gcm xmlns="`+nsGCM+`">{"message_type":"ack","to":"`...)
		acks = append(acks, from...)
		acks = append(acks, `","message_id":"`...)
		acks = append(acks, id...)
		acks = append(acks, `"}`+tailGCM...)
		if r.Buffered() == 0 || taken == n {
			if _, err := nc.Write(acks); err != nil {
				return err
			}
			acks = acks[:0]
		}
	}
	return nil
}

// member is the plain string after name in a payload of this package's load.
func member(b []byte, name string) []byte {
	i := bytes.LastIndex(b, []byte(name))
	if i < 0 {
		return nil
	}
	b = b[i+len(name):]
	end := bytes.IndexByte(b, '"')
	if end < 0 {
		return nil
	}
	return b[:end]
}
