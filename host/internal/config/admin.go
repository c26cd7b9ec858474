package config

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"balhost/host/internal/regular"
)

// roles are what a token may have, the lowest first.
var roles = []string{"read", "operate", "admin"}

// shortSecret is how many bytes a token should have at least. Sixteen that were chosen at
// random can't be guessed.
const shortSecret = 16

// LoadAdmin reads only the admin block, for commands that ask a running host. The
// rest may have mistakes, and its secrets may be missing, also those of tokens for
// others. The host may be of an older version, so the sessions may have the older form.
func LoadAdmin(path string) (Admin, error) {
	return loadPart(path, func(c *checker, f file) Admin {
		c.problems = nil
		return c.admin(orEmpty(f.Admin))
	})
}

func (c *checker) admin(b fileAdmin) Admin {
	a := Admin{Listen: c.text(b.Listen, DefaultAdmin().Listen), Token: c.secretOrNone(b.Token), Tokens: c.tokens(b.Tokens)}
	for i, t := range a.Tokens {
		if t.Secret != "" && t.Secret == a.Token {
			c.problem(b.Tokens[i].Range, "the token %q is the same as token of the admin block, so nobody knows which was meant: give each its own", t.Name)
		}
	}
	if b.TLS != nil {
		a.CertFile, a.KeyFile = c.certificate("tls in the admin block", b.TLS.certificate())
		a.ClientCAFile = c.clientCAs(b.TLS.ClientCAFile)
	}
	if path, ok := strings.CutPrefix(a.Listen, "unix:"); ok {
		if a.Listen = "unix:" + c.socket(b.Listen, path); b.TLS != nil {
			c.problem(b.TLS.Range, "the admin block listens on a unix socket, which no other machine can reach: remove tls, or listen on host:port")
		}
		return a
	}
	if host, ok := c.hostPort(b.Listen, a.Listen, 0); ok && !Loopback(host) && a.Token == "" && len(b.Tokens) == 0 {
		more := ""
		if b.TLS == nil {
			more = "; give it a block tls { cert_file = …, key_file = … } too"
		}
		c.bad(b.Listen, "%s can be reached from other machines, so the admin block needs a token: token = env(\"BALHOST_ADMIN_TOKEN\")%s", a.Listen, more)
	}
	return a
}

// clientCAs is the path of a file of CA certificates. It is read, so that a wrong one is
// found before anything starts (P10).
func (c *checker) clientCAs(a *hcl.Attribute) string {
	path := c.path(a, "")
	switch {
	case a == nil || c.anyForm:
	case path == "":
		c.bad(a, "is empty; give the path of a file in PEM, or leave the key out")
	default:
		pem, err := regular.Read(path, maxPEM)
		if err != nil {
			c.bad(a, "%v", err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			c.bad(a, "%s has no certificate in PEM", path)
		}
	}
	return path
}

// tokenName matches what a token can be called. It stands in the log.
var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// tokens are those of blocks, in their order.
func (c *checker) tokens(blocks []fileToken) (tokens []Token) {
	named, secrets := map[string]hcl.Range{}, map[Secret]string{}
	for _, b := range blocks {
		before := c.problems
		c.required(b.Range, b.Role, "token", b.Name, "role")
		c.required(b.Range, b.Secret, "token", b.Name, "secret")
		t := Token{Name: b.Name, Role: c.oneOf(b.Role, roles[0], roles...), Secret: c.secret(b.Secret)}
		if c.anyForm && t.Secret == "" { // it is for others, whose environment has it
			c.problems = before
			continue
		}
		if !tokenName.MatchString(t.Name) {
			c.problem(b.Range, `%.64q can't be the name of a token: use letters, digits, and "._@-" behind the first, 64 at most`, t.Name)
		}
		if other := secrets[t.Secret]; t.Secret != "" && other != "" {
			c.bad(b.Secret, "the tokens %q and %q are the same, so nobody knows which was meant: give each its own", other, t.Name)
		}
		c.unique(named, t.Name, b.Range, "token %q already has a block at %s")
		secrets[t.Secret] = t.Name
		tokens = append(tokens, t)
	}
	return tokens
}

// Best is the token of the highest role, for commands on this machine; "" without any.
func (a Admin) Best() Secret {
	best := slices.MaxFunc(append([]Token{{}}, a.Tokens...), func(a, b Token) int {
		return slices.Index(roles, a.Role) - slices.Index(roles, b.Role)
	})
	return cmp.Or(a.Token, best.Secret)
}

// Secrets are all tokens.
func (a Admin) Secrets() (all []string) {
	if a.Token != "" {
		all = append(all, a.Token.Reveal())
	}
	for _, t := range a.Tokens {
		all = append(all, t.Secret.Reveal())
	}
	return all
}

// Warnings are what is weak in the block, although it is right.
func (a Admin) Warnings() (warnings []string) {
	short := func(which string, s Secret) {
		if s != "" && len(s) < shortSecret {
			warnings = append(warnings, fmt.Sprintf("%s of the admin block is shorter than %d bytes, so it can be guessed: make one with: openssl rand -hex 32", which, shortSecret))
		}
	}
	short("token", a.Token)
	for _, t := range a.Tokens {
		short(fmt.Sprintf("the secret of token %q", t.Name), t.Secret)
	}
	_, isUnix := strings.CutPrefix(a.Listen, "unix:")
	if host, _, err := net.SplitHostPort(a.Listen); err == nil && !isUnix && a.CertFile == "" && !Loopback(host) {
		warnings = append(warnings, fmt.Sprintf("%s can be reached from other machines and is plain HTTP, so whoever is on the way can read tokens and messages: give the admin block a block tls { cert_file = …, key_file = … }, put a proxy with a certificate before it, or come by ssh", a.Listen))
	}
	return warnings
}

// Loopback reports whether only this machine can reach host.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
