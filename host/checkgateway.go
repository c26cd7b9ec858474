package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/config"
	"balhost/host/internal/credential"
	"balhost/host/internal/daemon"
	"balhost/host/internal/plain"
	"balhost/host/internal/told"
)

// gatewayFinding is what check finds of a gateway.
type gatewayFinding struct {
	Listen string        `json:"listen"`
	TLS    bool          `json:"tls"`
	Names  []string      `json:"names,omitempty"`        // that its certificate is for
	Until  time.Time     `json:"cert_until,omitzero"`    // when its certificate expires
	Auth   []authFinding `json:"auth"`                   // in the config's order
	Huawei bool          `json:"huawei,omitempty"`       // it takes Huawei's uplink
	Behind bool          `json:"behind_proxy,omitempty"` // there are trusted_proxies, or it listens on a unix socket
}

// authFinding is one auth block.
type authFinding struct {
	Kind     credential.Kind `json:"kind"`
	From     string          `json:"from"`                // how it decides who a device is
	AppCheck bool            `json:"app_check,omitempty"` // it also wants a token of App Check
	KeySets  []daemon.KeySet `json:"key_sets,omitempty"`
}

func foundGateway(g config.Gateway) *gatewayFinding {
	f := &gatewayFinding{
		Listen: g.Listen, TLS: g.CertFile != "", Auth: []authFinding{}, Huawei: g.Huawei != nil,
		Behind: len(g.TrustedProxies) > 0 || strings.HasPrefix(g.Listen, "unix:"),
	}
	for _, rule := range g.Auth {
		f.Auth = append(f.Auth, authFinding{Kind: rule.Kind, From: decides(rule), AppCheck: rule.AppCheck != nil, KeySets: daemon.KeySets(rule)})
	}
	return f
}

// decides says how a rule decides who a device is.
func decides(r credential.Rule) string {
	switch r.Kind {
	case credential.JWT:
		return fmt.Sprintf("the claim %q of your own login's tokens", r.FromClaim)
	case credential.Firebase:
		return fmt.Sprintf("users of the Firebase project %s, each with its devices", r.Project)
	case credential.HMAC:
		if r.Secrets != nil {
			return "the name of the key, of " + count(len(r.Secrets), "secret", "secrets")
		}
		return "the name of the key, with a secret that is made of master"
	}
	return "every device says who it is: for development"
}

// lookAtGateway adds what it finds in a gateway's files.
func (f *findings) lookAtGateway(session string, g config.Gateway, now time.Time) {
	found := f.Sessions[len(f.Sessions)-1].Gateway
	if g.CertFile != "" {
		found.Names, found.Until = f.lookAtCertificate(fmt.Sprintf("session %q", session), "no device connects", g.CertFile, g.KeyFile, now)
	}
	if g.ProxyProtocol && g.CertFile == "" {
		f.note("session %q: proxy_protocol without a tls block: a proxy that speaks it passes the devices' bytes on as they are, so they come without TLS, unless the proxy itself ends TLS", session)
	}
	for i, rule := range g.Auth {
		if rule.Kind == credential.Static && found.Behind && !rule.Insecure {
			f.note(`session %q: auth "static" lets everybody who has its token, and whom the proxy lets through, send in the name of every device`, session)
		}
		found.Auth[i].look()
	}
}

// lookAtCertificate adds what it finds in the certificate of a listener. who is whose it is,
// so what follows when it is not valid.
func (f *findings) lookAtCertificate(who, so, certFile, keyFile string, now time.Time) (names []string, until time.Time) {
	names, from, until, err := daemon.Certificate(certFile, keyFile)
	switch {
	case err != nil:
		f.Errors = append(f.Errors, fmt.Sprintf("%s: its certificate: %v", who, err))
	case now.After(until):
		f.Errors = append(f.Errors, fmt.Sprintf("%s: the certificate %s has expired %s ago: %s", who, certFile, ago(now, until), so))
	case now.Before(from):
		f.Errors = append(f.Errors, fmt.Sprintf("%s: the certificate %s is valid in %s only: %s before", who, certFile, short(from.Sub(now)), so))
	case until.Sub(now) < told.CertSoon:
		f.note("%s: the certificate %s expires in %s", who, certFile, short(until.Sub(now)))
	}
	if err == nil && names == nil {
		f.note("%s: the certificate %s has no name in it (subjectAltName), so most clients refuse it", who, certFile)
	}
	return names, until
}

// look reads the key sets that are files.
func (a *authFinding) look() {
	for i := range a.KeySets {
		if set := &a.KeySets[i]; !set.Remote() {
			set.Load(context.Background(), nil)
		}
	}
}

// fetch gets the key sets that are elsewhere, all at the same time.
func (g *gatewayFinding) fetch(ctx context.Context) {
	var asking sync.WaitGroup
	for _, a := range g.Auth {
		for i := range a.KeySets {
			if set := &a.KeySets[i]; set.Remote() {
				asking.Go(func() { set.Load(ctx, http.DefaultClient) })
			}
		}
	}
	asking.Wait()
}

// refusals are the errors that make check fail.
func (g *gatewayFinding) refusals(session string) (errs []error) {
	for _, a := range g.Auth {
		for _, set := range a.KeySets {
			if set.Problem != "" {
				errs = append(errs, fmt.Errorf("session %q: auth %q: the keys of %s can't be used: %w", session, a.Kind, set.Where, errors.New(set.Problem)))
			}
		}
	}
	return errs
}

func (g *gatewayFinding) print(out io.Writer, session string, now time.Time) {
	p := func(format string, args ...any) {
		fmt.Fprintf(out, "  %s: %s\n", plain.Text(session), plain.Text(fmt.Sprintf(format, args...)))
	}
	switch {
	case g.TLS && !g.Until.IsZero():
		p("gateway at %s, with a certificate for %s until %s (%s)", g.Listen, strings.Join(g.Names, ", "), g.Until.UTC().Format(time.DateOnly), short(g.Until.Sub(now)))
	case g.TLS:
		p("gateway at %s, with a certificate that can't be used", g.Listen)
	default:
		p("gateway at %s, without TLS: for this machine, or a proxy on it", g.Listen)
	}
	for _, a := range g.Auth {
		text := fmt.Sprintf("auth %s: %s", a.Kind, a.From)
		if a.AppCheck {
			text += "; with App Check"
		}
		for _, set := range a.KeySets {
			text += "; " + set.String()
		}
		p("%s", text)
	}
	if g.Huawei {
		p("takes what Huawei's Push Kit delivers of devices")
	}
}
