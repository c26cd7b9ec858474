package ccs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"balhost/host/internal/flow"
	"balhost/host/internal/mend"
	"balhost/host/internal/xmpp"
)

// dial connects to an address, with TLS.
func (c *conn) dial(ctx context.Context, at string) (net.Conn, error) {
	o := &c.s.o
	nc, err := o.Dial(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.where(), mend.With(err))
	}
	if o.TLS == nil {
		return nc, nil
	}
	cfg := o.TLS.Clone()
	cfg.RootCAs = c.s.trust.now()
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(o.Address)
	}
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	secured := tls.Client(nc, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		nc.Close()
		if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, &TrustError{Address: c.where(), Expected: cfg.ServerName, Presented: presented(bad), Err: bad.Err}
		}
		return nil, fmt.Errorf("TLS handshake with %s: %w", c.where(), err)
	}
	return secured, nil
}

// open logs in. Spec: RFC 6120 §4.3 stream, §6 SASL, §7 bind.
func (c *conn) open(ctx context.Context, nc net.Conn) (*stream, error) {
	o := &c.s.o
	w := &wire{Conn: nc, limit: o.PingInterval + o.PingTimeout}
	w.until, _ = ctx.Deadline()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	r := xmpp.NewReader(w, o.MaxStanza)
	r.Hide = c.s.secrets.Text
	_, err := xmpp.Login(w, r, xmpp.Credentials{Domain: o.Domain, AuthCID: o.AuthCID, Password: o.Key})
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		return nil, fmt.Errorf("%s: %w", c.where(), err)
	}
	w.until, w.unfinished = time.Time{}, r.Unfinished
	r.Tolerate()
	return &stream{Reader: r, w: w}, nil
}

// stream is a connection that CCS has let in. The reading goroutine has the
// Reader, the writing one has w.
type stream struct {
	*xmpp.Reader
	w *wire
}

func (s *stream) Close() error { return s.w.Close() }

// trust has the roots that servers' certificates are checked against: those of the
// options, or those that were read since.
type trust struct {
	mu      sync.Mutex // guards what follows
	roots   *x509.CertPool
	reading bool
}

func (t *trust) now() *x509.CertPool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.roots
}

// renew reads the roots again, and reports whether they have changed. If they can't be
// read they stay as they are. A file that hangs is not waited for past ctx's end.
func (t *trust) renew(ctx context.Context, read func() (*x509.CertPool, error)) (others bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case read == nil:
		return false, nil
	case t.reading:
		return false, errors.New("their file is still being read")
	}
	t.reading = true
	before, done := t.roots, make(chan error, 1)
	go func() { //house:go ends when the file can be read; there is one at most
		roots, err := read()
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.reading = false; err == nil {
			t.roots = roots
		}
		done <- err
	}()
	t.mu.Unlock()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	t.mu.Lock()
	return err == nil && !before.Equal(t.roots), err
}

// TrustError is a server whose certificate is not trusted.
type TrustError struct {
	Address, Expected, Presented string
	Err                          error
}

func (e *TrustError) Error() string {
	look := "tls.server_name and tls.ca_file"
	if e.dated() {
		look = "this machine's clock, then the server's certificate"
	}
	return fmt.Sprintf("%s: certificate not trusted: %v; expected the name %q, it presented %s; check %s",
		e.Address, e.Err, e.Expected, e.Presented, look)
}

// dated reports whether only the date is wrong. Then our clock may be: it is set only
// some time after a machine has started.
func (e *TrustError) dated() bool {
	bad, ok := errors.AsType[x509.CertificateInvalidError](e.Err)
	return ok && bad.Reason == x509.Expired
}

func (e *TrustError) Unwrap() error { return e.Err }

// presented says what the certificate claims to be.
func presented(e *tls.CertificateVerificationError) string {
	if len(e.UnverifiedCertificates) == 0 {
		return "none"
	}
	leaf := e.UnverifiedCertificates[0]
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return fmt.Sprintf("%.200q (subject %.100q, issued by %.100q, valid until %s)",
		names, leaf.Subject, leaf.Issuer, leaf.NotAfter.Format(time.DateOnly))
}

// denies reports whether trying again soon makes no sense: a person has to change
// the key, the certificate or the account first.
func denies(err error) bool {
	if errors.As(err, new(errDownstream)) {
		return false
	}
	if several, ok := errors.AsType[addressesError](err); ok {
		return !slices.ContainsFunc(several, func(err error) bool { return !denies(err) })
	}
	var auth *xmpp.AuthError
	var trust *TrustError
	return fault(err).Waits() || errors.As(err, &auth) && !auth.Temporary() || errors.As(err, &trust) && !trust.dated()
}

// fault says who caused the end of a connection.
func fault(err error) flow.Fault {
	if ended, ok := errors.AsType[*xmpp.StreamError](err); ok {
		return streamFault(ended.Condition)
	}
	return flow.Link
}
