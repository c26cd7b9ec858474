package ccs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"balhost/host/internal/ccssim"
)

// overTLS runs a session against a server on loopback, in real time.
func overTLS(t *testing.T, so ccssim.Options, change func(*Options)) *world {
	t.Helper()
	srv, err := ccssim.NewServer(so)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	w := &world{t: t, srv: srv, inbox: newInbox(), outbox: newOutbox(), log: &logs{}, ended: make(chan error, 1)}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(srv.CAPEM()) {
		t.Fatal("no CA")
	}
	o := Options{
		Name: "main", Address: srv.Addr(), SenderID: srv.SenderID(), Key: srv.Key(),
		TLS: &tls.Config{RootCAs: roots, ServerName: "localhost"}, Inbox: w.inbox, Outbox: w.outbox,
	}
	if change != nil {
		change(&o)
	}
	w.s = New(o)
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go func() { w.ended <- w.s.Run(ctx) }()
	t.Cleanup(func() {
		w.stop()
		if err := <-w.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return w
}

// await waits in real time.
func (w *world) await(what string, ok func(ccssim.Counts) bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.srv.Await(ctx, ok); err != nil {
		w.t.Fatalf("no %s: %v\ncounts %+v\nstatus %+v", what, err, w.srv.Counts(), w.s.Status())
	}
}

// Several connections, TLS records cut anywhere, and the link lost now and then.
func TestOverTLS(t *testing.T) { // P1, P3
	const up, down = 5000, 3000
	so := ccssim.Options{SplitBytes: 2000, AckDelay: ccssim.Range{Max: 3 * time.Millisecond}, Devices: ccssim.Devices{Count: 20, Limit: up, Size: 300}}
	w := overTLS(t, so, func(o *Options) {
		o.Connections = 3
		o.Backoff.Min, o.Backoff.Max = time.Millisecond, 20*time.Millisecond
	})
	w.outbox.send(1, down, "tokA")
	for i := range 5 {
		w.await("progress", func(c ccssim.Counts) bool {
			return c.Logins >= 3 && c.Acked > uint64(i)*up/10 && c.AckedDown > uint64(i)*down/10
		})
		w.srv.CutWith(ccssim.Cut{Conn: i + 1})
		w.srv.Drain()
	}
	w.await("all", func(c ccssim.Counts) bool {
		n := 0
		w.outbox.look(func(b *outbox) { n = unique(b.acked) })
		return c.Acked == up && n == down
	})
	w.legal()
}

// A cut in the middle of a TLS record, at each of many bytes, loses nothing and
// is no end that anyone asked for.
func TestCutInATLSRecord(t *testing.T) { // P1, P3
	const cuts = 60
	w := overTLS(t, ccssim.Options{}, func(o *Options) { o.Backoff.Min, o.Backoff.Max = time.Millisecond, 2*time.Millisecond })
	for i := range cuts {
		w.await("connection", func(c ccssim.Counts) bool {
			st := w.s.Status().Connections
			return c.Logins > i && len(st) == 1 && st[0].State == Ready
		})
		if n, err := w.srv.CutWith(ccssim.Cut{After: 1 + 7*i, Below: true}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		w.srv.Upstream("tokA", "app", map[string]string{"pad": strings.Repeat("x", 300)})
		w.outbox.send(2*i+1, 2, "tokA")
		w.await("its end", func(c ccssim.Counts) bool { return c.Logins > i+1 })
	}
	w.await("all", func(c ccssim.Counts) bool {
		n := 0
		w.outbox.look(func(b *outbox) { n = unique(b.acked) })
		return c.Acked == cuts && n == 2*cuts
	})
	if w.s.Status().LastError == nil {
		t.Error("a cut was taken for an end that was asked for")
	}
	w.legal()
}

func TestUntrustedCertificateIsRefused(t *testing.T) { // P10
	for name, c := range map[string]struct {
		change func(*Options)
		says   []string
	}{
		"unknown CA": {func(o *Options) { o.TLS.RootCAs = x509.NewCertPool() }, []string{`the name "localhost"`, "tls.ca_file"}},
		"other name": {func(o *Options) { o.TLS.ServerName = "ccs.example" }, []string{`the name "ccs.example"`, "localhost", "tls.server_name"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := overTLS(t, ccssim.Options{}, c.change)
			w.await("failed connection", func(ccssim.Counts) bool {
				st := w.s.Status()
				return st.LastError != nil && len(st.Connections) == 1 && st.Connections[0].State == Waiting
			})
			err := w.s.Status().LastError
			var trust *TrustError
			if !errors.As(err, &trust) {
				t.Fatalf("error is %v", err)
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if c := w.srv.Counts(); c.Logins > 0 {
				t.Error("logged in all the same")
			}
		})
	}
}

// Roots that were replaced count at the next try to connect; what can't be read,
// or doesn't answer, changes nothing and holds nothing up.
func TestRootsAreReadAgain(t *testing.T) { // P10
	var right *x509.CertPool
	stuck := make(chan struct{})
	var mu sync.Mutex
	read := func() (*x509.CertPool, error) { return nil, errors.New("no such file") }
	set := func(f func() (*x509.CertPool, error)) {
		mu.Lock()
		defer mu.Unlock()
		read = f
	}
	w := overTLS(t, ccssim.Options{}, func(o *Options) {
		right = o.TLS.RootCAs
		o.TLS.RootCAs = x509.NewCertPool()
		o.Backoff.Min, o.Backoff.Max, o.Denied, o.Login = time.Millisecond, time.Millisecond, time.Millisecond, time.Second
		o.Roots = func() (*x509.CertPool, error) {
			mu.Lock()
			f := read
			mu.Unlock()
			return f()
		}
	})
	said := func(what string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if err := w.s.Status().LastError; err != nil && strings.Contains(err.Error(), what) && errors.As(err, new(*TrustError)) {
				return
			} else if time.Now().After(end) {
				t.Fatalf("not %q but %v", what, err)
			}
		}
	}
	said("the roots can't be read again: no such file")
	set(func() (*x509.CertPool, error) { <-stuck; return x509.NewCertPool(), nil })
	said("the roots can't be read again: their file is still being read")
	set(func() (*x509.CertPool, error) { return right, nil })
	close(stuck)
	w.await("login", func(c ccssim.Counts) bool { return c.Logins == 1 })
}
