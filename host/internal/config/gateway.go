package config

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"balhost/host/internal/credential"
	"balhost/host/internal/regular"
)

func (c *checker) gateway(session string, b fileGateway) *Gateway {
	c.required(b.Range, b.Listen, "gateway of session", session, "listen")
	listen, local := c.gatewayListen(b.Listen)
	g := &Gateway{
		Listen:         listen,
		Auth:           c.rules(b.Auth),
		TrustedProxies: c.prefixes(b.TrustedProxies),
		ProxyProtocol:  c.boolean(b.ProxyProtocol, false),
		CORSOrigins:    c.origins(b.CORSOrigins),
		MaxConnections: int(c.number(b.MaxConnections, 10_000, 1, 1_000_000)), // Spec: fcm-v1-and-gateway.md C5, the defaults
		Rate:           int(c.number(b.Rate, 10, 1, 100_000)),
	}
	if b.TLS != nil {
		g.CertFile, g.KeyFile = c.certificate(fmt.Sprintf("tls in the gateway of session %q", session), *b.TLS)
	} else if !local {
		c.bad(b.Listen, "%s can be reached from other machines, so the gateway needs a block tls { cert_file = …, key_file = … }; without it, listen on 127.0.0.1 or on a unix socket, behind a proxy that has the certificate", listen)
	}
	if b.Huawei != nil {
		c.required(b.Huawei.Range, b.Huawei.CallbackKey, "huawei in session", session, "callback_key")
		g.Huawei = &Huawei{CallbackKey: c.secret(b.Huawei.CallbackKey), CallbackUser: c.text(b.Huawei.CallbackUser, "")}
	}
	if b.Auth == nil && b.Huawei == nil {
		c.problem(b.Range, `the gateway of session %q lets nobody in: give it a block auth "jwt" { jwks = … }, or auth "firebase", "hmac" or (for development) "static"`, session)
	}
	if g.ProxyProtocol && len(g.TrustedProxies) == 0 && !strings.HasPrefix(listen, "unix:") {
		c.bad(b.ProxyProtocol, "nobody may speak it: name the addresses of the proxies in trusted_proxies")
	}
	for i, rule := range g.Auth {
		if rule.Kind == credential.Static && !local && !rule.Insecure {
			c.problem(b.Auth[i].Range, `auth "static" on %s: whoever has the token can send in the name of every device, so it is for this machine only; use another kind, or write insecure = true in it`, listen)
		}
	}
	return g
}

// gatewayListen is where a gateway listens, and whether only this machine can connect
// there. What is wrong, and was reported, counts as local.
func (c *checker) gatewayListen(a *hcl.Attribute) (listen string, local bool) {
	listen, ok := c.given(a)
	if !ok {
		return "", true
	}
	if path, unix := strings.CutPrefix(listen, "unix:"); unix {
		return "unix:" + c.socket(a, path), true
	}
	host, ok := c.hostPort(a, listen, 0)
	return listen, !ok || Loopback(host)
}

// maxPEM bounds a certificate's file. A chain of ten is a fiftieth of it.
const maxPEM = 1 << 20

// certificate is the paths of a certificate and its key; block names where they stand. Both are read, so that a wrong
// one is found before anything starts (P10).
func (c *checker) certificate(block string, b fileCertificate) (cert, key string) {
	if b.CertFile == nil {
		c.problem(b.Range, "%s has no cert_file", block)
	}
	if b.KeyFile == nil {
		c.problem(b.Range, "%s has no key_file", block)
	}
	read := func(a *hcl.Attribute) (path string, pem []byte) {
		if path = c.path(a, ""); path == "" {
			if a != nil && len(c.text(a, "")) == 0 {
				c.bad(a, "is empty; give the path of a file in PEM")
			}
			return "", nil
		}
		if c.anyForm { // who asks a running host need not be able to read its key
			return path, nil
		}
		pem, err := regular.Read(path, maxPEM)
		if err != nil {
			c.bad(a, "%v", err)
		}
		return path, pem
	}
	cert, certPEM := read(b.CertFile)
	key, keyPEM := read(b.KeyFile)
	if certPEM != nil && keyPEM != nil {
		if _, err := tls.X509KeyPair(certPEM, keyPEM); err != nil {
			c.problem(b.Range, "cert_file %s and key_file %s can't be used together: %s", cert, key, strings.TrimPrefix(err.Error(), "tls: "))
		}
	}
	return cert, key
}

// prefixes is a list of networks; an address alone is a network of one.
func (c *checker) prefixes(a *hcl.Attribute) (out []netip.Prefix) {
	for _, text := range c.texts(a) {
		p, err := netip.ParsePrefix(text)
		if one, addrErr := netip.ParseAddr(text); addrErr == nil && one.Zone() == "" {
			p, err = netip.PrefixFrom(one, one.BitLen()), nil
		}
		switch {
		case err != nil || p.Addr().Is4In6():
			c.bad(a, `%q is no network: write addresses like "10.1.2.3", or networks like "10.0.0.0/8" and "2001:db8::/32"`, text)
		case p.Bits() == 0:
			c.bad(a, "%q is everybody, so every client could give itself any address: name the proxies", text)
		case p != p.Masked():
			c.bad(a, "%q is an address within a network: write %q for the network, or %q for the address alone", text, p.Masked(), p.Addr())
		default:
			out = append(out, p)
		}
	}
	return out
}

// originScheme matches what stands before "://" in an origin: apps in web views have
// schemes of their own, like capacitor.
var originScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)

// origins is a list of origins as browsers write them. Spec: RFC 6454 §6.2.
func (c *checker) origins(a *hcl.Attribute) (out []string) {
	for _, text := range c.texts(a) {
		scheme, rest, _ := strings.Cut(text, "://")
		u, err := url.Parse(text)
		switch {
		case strings.Contains(text, "*"):
			c.bad(a, `%q: a page of any origin could use the credentials that a browser has: write each origin in full, like "https://chat.example.com"`, text)
		case err != nil || unprintable(text) != "" || !originScheme.MatchString(scheme) || u.Host == "" || u.User != nil:
			c.bad(a, `%q is no origin: write one as the browser does, like "https://chat.example.com" or "http://localhost:3000"`, text)
		case rest != u.Host: // a path, even "/", is not a part of it
			c.bad(a, "%q has more than an origin: write %q", text, scheme+"://"+strings.ToLower(u.Host))
		case strings.ToLower(rest) != rest:
			c.bad(a, "%q: browsers write an origin in lower case: write %q", text, strings.ToLower(text))
		case wrongPort(u.Port()) || strings.HasSuffix(rest, ":"):
			c.bad(a, "%q has no port number between 1 and 65535", text)
		case scheme == "https" && u.Port() == "443" || scheme == "http" && u.Port() == "80":
			c.bad(a, "%q: browsers leave out the scheme's own port: write %q", text, strings.TrimSuffix(text, ":"+u.Port()))
		default:
			out = append(out, text)
		}
	}
	return out
}

// listener is one address that the host listens on.
type listener struct {
	who     string
	address string
	at      *hcl.Attribute // nil: its default
}

// listeners are those of the admin block and of all gateways.
func listeners(f file, cfg Config) []listener {
	all := []listener{{"the admin block", cfg.Admin.Listen, orEmpty(f.Admin).Listen}}
	for i, s := range f.Sessions {
		if s.Gateway != nil && s.Gateway.Listen != nil {
			all = append(all, listener{"the gateway of session " + `"` + s.Name + `"`, cfg.Sessions[i].Gateway.Listen, s.Gateway.Listen})
		}
	}
	return all
}

// listeners reports two that can't both listen.
func (c *checker) listeners(f file, cfg Config) {
	all := listeners(f, cfg)
	for i, l := range all {
		for _, before := range all[:i] {
			if Clash(before.address, l.address) {
				c.bad(l.at, "%s is already the address of %s: give each its own", l.address, before.who)
				break
			}
		}
	}
}

// Clash reports whether a host can't listen on both addresses, which are as in
// [Gateway.Listen].
func Clash(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if strings.HasPrefix(a, "unix:") || strings.HasPrefix(b, "unix:") || errA != nil || errB != nil {
		return a == b && a != ""
	}
	if portA != portB || portA == "0" {
		return false
	}
	named := func(host string) bool { return strings.EqualFold(host, "localhost") }
	return strings.EqualFold(hostA, hostB) || everyone(hostA) || everyone(hostB) ||
		named(hostA) && Loopback(hostB) || named(hostB) && Loopback(hostA)
}

// everyone reports whether a listener on host takes connections to all addresses.
func everyone(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// certificateFiles adds the keys that name a certificate and its key.
func certificateFiles(files map[*hcl.Attribute]string, b *fileCertificate, cert, key string) {
	if b != nil && b.CertFile != nil {
		files[b.CertFile] = cert
	}
	if b != nil && b.KeyFile != nil {
		files[b.KeyFile] = key
	}
}

// gatewayFiles adds the keys that name a gateway's files.
func gatewayFiles(files map[*hcl.Attribute]string, b fileGateway, g Gateway) {
	certificateFiles(files, b.TLS, g.CertFile, g.KeyFile)
	for i, auth := range b.Auth {
		if auth.JWKS != nil && !strings.Contains(g.Auth[i].JWKS, "://") {
			files[auth.JWKS] = g.Auth[i].JWKS
		}
	}
}
