package ccs

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
)

const bad, good = "10.0.0.1:5235", "10.0.0.2:5235"

// two makes o's address a name with two addresses; serve plays the first.
func two(o *Options, serve func(net.Conn) error) (dialled func() []string) {
	var mu sync.Mutex
	var all []string
	dial := o.Dial
	o.Dial = func(ctx context.Context, at string) (net.Conn, error) {
		mu.Lock()
		all = append(all, at)
		mu.Unlock()
		if at == good {
			return dial(ctx, at)
		}
		ours, theirs := net.Pipe()
		if err := serve(theirs); err != nil {
			return nil, err
		}
		return ours, nil
	}
	o.Lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}, nil
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// says plays a server that sends so much, whatever it reads, and then stays silent until
// the connection is closed.
func says(text string) func(net.Conn) error {
	return func(nc net.Conn) error {
		go func() {
			io.WriteString(nc, text) //nolint:errcheck // it may have been left
		}()
		go func() {
			io.Copy(io.Discard, nc) //nolint:errcheck // as above
			nc.Close()
		}()
		return nil
	}
}

const header = `<stream:stream from="x" id="1" version="1.0" xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams">`

// A name's first address takes connections and serves none. The second is tried in the
// same attempt, and first at the next one.
func TestEachAddressIsTriedUpToTheLogin(t *testing.T) { // P10
	for name, serve := range map[string]func(net.Conn) error{
		"refuses":           func(net.Conn) error { return errors.New("connection refused") },
		"closes":            func(nc net.Conn) error { return nc.Close() },
		"is silent":         says(""),
		"talks of else":     says("SSH-2.0-OpenSSH_9.6\r\n"),
		"speaks HTTP":       says("HTTP/1.1 400 Bad Request\r\n\r\n<html></html>"),
		"begins":            says(header),
		"offers no login":   says(header + `<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>ANONYMOUS</mechanism></mechanisms></stream:features>`),
		"is another server": says(header + `<stream:error><host-unknown xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error></stream:stream>`),
		"drops the login":   says(header + `<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>PLAIN</mechanism></mechanisms></stream:features>`),
	} {
		t.Run(name, func(t *testing.T) {
			var dialled func() []string
			change := func(o *Options) { dialled = two(o, serve) }
			simulate(t, ccssim.Options{}, change, func(w *world) {
				if got := dialled(); !slices.Equal(got, []string{bad, good}) {
					t.Fatalf("dialled %q", got)
				}
				if st := w.s.Status().Connections[0]; st.Address != good || st.State != Ready {
					t.Errorf("status is %+v", st)
				}
				if !strings.Contains(w.log.String(), `ccs.test:5235 (10.0.0.2:5235)`) {
					t.Errorf("the log does not say where it went: %s", w.log)
				}
				w.srv.Drain() // which says nothing against it
				w.until("the next login", func(c ccssim.Counts) bool { return c.Logins == 2 })
				if got := dialled(); !slices.Equal(got[2:], []string{good}) {
					t.Errorf("the next connection began with %q", got[2:])
				}
			})
		})
	}
}

// When CCS denies the account no other address is tried.
func TestRefusedLoginIsAskedOnce(t *testing.T) {
	for _, failure := range []string{
		`<failure xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><not-authorized/></failure>`,
		`<stream:error><policy-violation xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error>`,
	} {
		synctest.Test(t, func(t *testing.T) {
			var dialled func() []string
			w := start(t, ccssim.Options{}, func(o *Options) {
				dialled = two(o, says(header+`<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>PLAIN</mechanism></mechanisms></stream:features>`+failure))
			})
			time.Sleep(time.Second)
			if got := dialled(); !slices.Equal(got, []string{bad}) {
				t.Errorf("dialled %q", got)
			}
			if err := w.s.Status().LastError; err == nil || !strings.Contains(err.Error(), "10.0.0.1:5235") {
				t.Errorf("the error does not name the address: %v", err)
			}
			w.finish()
		})
	}
}

// An address over which answers do not come is not the first at the next attempt: large
// packets may get lost on the way there.
func TestNextAddressAfterOneThatGoesDead(t *testing.T) { // P10
	var dialled func() []string
	simulate(t, ccssim.Options{}, func(o *Options) {
		both := o.Dial
		dialled = two(o, func(net.Conn) error { return nil })
		first := o.Dial
		o.Dial = func(ctx context.Context, at string) (net.Conn, error) {
			if at == bad { // it serves here
				first(ctx, at) //nolint:errcheck // it is noted
				return both(ctx, at)
			}
			return first(ctx, at)
		}
	}, func(w *world) {
		w.srv.Nack(ccssim.Nack{Count: 1})
		w.outbox.send(1, 1, "tokA")
		w.until("the next login", func(c ccssim.Counts) bool { return c.Logins == 2 })
		if got := dialled(); !slices.Equal(got, []string{bad, good}) {
			t.Errorf("dialled %q, want the other one after the first was silent", got)
		}
	})
}

// When all fail the error names each; each had its share of the time. When the resolver
// fails that is an error of its own, and the addresses that are known are used.
func TestAllAddressesFail(t *testing.T) { // P10
	synctest.Test(t, func(t *testing.T) {
		var fails atomic.Bool
		w := start(t, ccssim.Options{}, func(o *Options) {
			two(o, says(""))
			o.Dial = func(ctx context.Context, at string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				return ours, says("")(theirs)
			}
			lookup := o.Lookup
			o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
				if host != "ccs.test" || fails.Load() {
					return nil, errors.New("no such host")
				}
				return lookup(ctx, host)
			}
		})
		time.Sleep(31 * time.Second)
		for range 2 {
			err := w.s.Status().LastError
			if err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), good) {
				t.Errorf("not both are named: %v", err)
			}
			fails.Store(true)
			time.Sleep(time.Minute)
		}
		w.finish()
	})
	synctest.Test(t, func(t *testing.T) {
		w := start(t, ccssim.Options{}, func(o *Options) {
			o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
				<-ctx.Done() // a resolver that never answers
				return nil, ctx.Err()
			}
		})
		time.Sleep(40 * time.Second)
		if err := w.s.Status().LastError; err == nil || !strings.Contains(err.Error(), "look up ccs.test") {
			t.Errorf("the error is %v", err)
		}
		w.finish()
	})
}

// Over TLS: the first address speaks none, or has another's certificate.
func TestEachAddressIsTriedOverTLS(t *testing.T) { // P10
	other, err := ccssim.NewServer(ccssim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	go func() {
		for {
			nc, err := plain.Accept()
			if err != nil {
				return
			}
			nc.Write([]byte("220 mail.example ESMTP\r\n")) //nolint:errcheck // it may have been left
			nc.Close()
		}
	}()
	for name, first := range map[string]string{"no TLS": plain.Addr().String(), "another certificate": other.Addr()} {
		t.Run(name, func(t *testing.T) {
			w := overTLS(t, ccssim.Options{}, func(o *Options) {
				at := o.Address
				o.Address, o.TLS.ServerName = "ccs.test:5235", "localhost"
				o.Dial = func(ctx context.Context, place string) (net.Conn, error) {
					var d net.Dialer
					if place == bad {
						return d.DialContext(ctx, "tcp", first)
					}
					return d.DialContext(ctx, "tcp", at)
				}
				o.Lookup = func(context.Context, string) ([]netip.Addr, error) {
					return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}, nil
				}
			})
			w.await("login", func(c ccssim.Counts) bool { return c.Logins == 1 })
		})
	}
}
