package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/xmpp"
)

// BenchmarkCeiling is the simulator's load at full speed. Both ends are in this
// process, over TLS, with upstreams of 300 bytes and a window of 100.
func BenchmarkCeiling(b *testing.B) {
	s, err := ccssim.NewServer(ccssim.Options{
		Transcript: -1, Devices: ccssim.Devices{Count: 100, Limit: b.N, Size: 300, Category: "com.example.bench"},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	rate, err := measureCeiling(b.Context(), ceilingClient{Messages: b.N, Addr: s.Addr(), SenderID: s.SenderID(), Key: s.Key(), CAPEM: s.CAPEM()})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(rate, "upstreams/s")
}

// ceilingClient is the client of [measureCeiling].
type ceilingClient struct {
	Messages            int    // how many to read; the simulator's load must send as many
	Addr, SenderID, Key string // of the simulator
	CAPEM               []byte
}

// measureCeiling measures how many upstreams a simulator can send in a second. Its
// client acks each upstream at once, reads only what the ack needs, and stores
// nothing. No measurement of a host can show a higher rate.
func measureCeiling(ctx context.Context, o ceilingClient) (perSecond float64, err error) {
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

	const domain = "gcm.googleapis.com"
	r := xmpp.NewReader(nc, 1<<20)
	if _, err := xmpp.Login(nc, r, xmpp.Credentials{Domain: domain, AuthCID: o.SenderID + "@" + domain, Password: o.Key}); err != nil {
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
		acks = append(acks, `<message><gcm xmlns="google:mobile:data">{"message_type":"ack","to":"`...)
		acks = append(acks, from...)
		acks = append(acks, `","message_id":"`...)
		acks = append(acks, id...)
		acks = append(acks, `"}</gcm></message>`...)
		if r.Buffered() == 0 || got == n {
			if _, err := nc.Write(acks); err != nil {
				return err
			}
			acks = acks[:0]
		}
	}
	return nil
}

// member is the string after name, in a payload as the simulator's load writes it.
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
