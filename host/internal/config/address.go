package config

import (
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

// hostPort checks an address and returns its host. It reports what is wrong; then
// ok is false. Port 0 means that the system chooses a port; leastPort says whether
// it is allowed. The caller decides whether an empty host is allowed.
func (c *checker) hostPort(a *hcl.Attribute, address string, leastPort uint64) (host string, ok bool) {
	if what := unprintable(address); what != "" {
		c.bad(a, "%q has %s in it: write host:port and nothing else", address, what)
		return "", false
	}
	if i := strings.Index(address, "://"); i >= 0 {
		c.bad(a, "%q is a URL: write host:port, without %q before it and without a path", address, address[:i+3])
		return "", false
	}
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil && strings.Count(address, ":") > 1 && !strings.HasPrefix(address, "["):
		c.bad(a, "%q is not an address: write an IPv6 address in brackets, [::1]:5235", address)
		return "", false
	case err != nil:
		c.bad(a, "%q is not an address: write host:port", address)
		return "", false
	case strings.HasPrefix(address, "[") && !strings.Contains(host, ":"):
		c.bad(a, "%q has brackets, which are for IPv6 addresses: write host:port", address)
		return "", false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n < leastPort {
		c.bad(a, "%q has no port number between %d and 65535", address, leastPort)
		return "", false
	}
	if host != "" {
		if wrong := wrongHost(host); wrong != "" {
			c.bad(a, "%q is not an address: its host %s", address, wrong)
			return "", false
		}
	}
	return host, true
}

// serverName checks the name that a certificate must have; "" is none.
func (c *checker) serverName(a *hcl.Attribute) string {
	name := c.text(a, "")
	if name == "" {
		return ""
	}
	if what := unprintable(name); what != "" {
		c.bad(a, "%q has %s in it: write the name in the certificate and nothing else", name, what)
	} else if host, _, err := net.SplitHostPort(name); err == nil && wrongHost(name) != "" && wrongHost(host) == "" && !strings.Contains(name, "/") {
		c.bad(a, "%q has a port: write the name in the certificate alone, %q", name, host)
	} else if wrong := wrongHost(name); wrong != "" {
		c.bad(a, "%q can't be a server's name: it %s", name, wrong)
	}
	return name
}

// hostLabel matches one part of a host name. RFC 952 does not allow '_', but
// resolvers accept it, and container networks use it in names.
var hostLabel = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// wrongHost says why host is neither an IP address nor a valid DNS name; "" when
// it is one of them. Spec: RFC 1123 §2.1.
func wrongHost(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	if strings.Contains(host, ":") {
		return "has colons but is no IPv6 address"
	}
	name := strings.TrimSuffix(host, ".")
	labels := strings.Split(name, ".")
	for _, l := range labels {
		switch {
		case l == "":
			return "has an empty part between its dots"
		case strings.IndexFunc(l, func(r rune) bool { return r > unicode.MaxASCII }) >= 0:
			return "has letters that DNS can't hold as they are: write it as xn--…"
		case !hostLabel.MatchString(l):
			return "has a part that is not allowed: use letters, digits and '-', 63 at most"
		}
	}
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(last), "0x"), 16, 64); err == nil && last[0] >= '0' && last[0] <= '9' {
		return "looks like an IPv4 address but is not one: write four numbers up to 255"
	}
	if len(name) > 253 {
		return "is longer than the 253 characters that DNS allows"
	}
	return ""
}

// longestSocket is the longest path of a Unix socket, in bytes, on every system.
// macOS allows 103, and the file's temporary name needs some of them.
const longestSocket = 99

// socket checks the path of a Unix socket and makes it absolute.
func (c *checker) socket(a *hcl.Attribute, path string) string {
	if path == "" {
		c.bad(a, `a path is missing after "unix:"`)
		return path
	}
	if strings.IndexFunc(path, unicode.IsControl) >= 0 || !utf8.ValidString(path) {
		c.bad(a, "%q has a control character in it", path)
		return path
	}
	path = c.abs(path)
	if len(path) > longestSocket {
		c.bad(a, "the socket's path %s has %d bytes, but the system allows %d: choose a shorter one", path, len(path), longestSocket)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		c.bad(a, "%s exists and is not a socket: choose another path", path)
	}
	return path
}

// unprintable names the first character in s that is not allowed in an address,
// a name or a key; "" when there is none.
func unprintable(s string) string {
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !utf8.ValidString(s[i:]):
			return "a byte that is no UTF-8"
		case r == '\n' || r == '\r':
			return "a line break"
		case unicode.IsSpace(r):
			return "a space"
		case !unicode.IsGraphic(r):
			return "a character that can't be seen"
		}
	}
	return ""
}

// sendable reports a secret that can't be right. Spaces around it come from a file
// or a shell. A login or a header can't carry control characters.
func (c *checker) sendable(a *hcl.Attribute, s string) {
	switch {
	case strings.TrimSpace(s) != s:
		c.bad(a, "begins or ends with a space or a line break: remove it")
	case strings.IndexFunc(s, unicode.IsControl) >= 0 || !utf8.ValidString(s):
		c.bad(a, "has a control character in it, or a byte that is no text")
	}
}
