package config

import (
	"crypto/x509"
	"math/big"
	"net/url"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// Tracing says where OpenTelemetry traces go. What is empty is that of the variables
// OTEL_EXPORTER_OTLP_*, which are the SDK's.
type Tracing struct {
	Endpoint string      // scheme, host and perhaps a path, without v1/traces; "": the environment's
	Sample   float64     // the part of messages that is traced, 0 to 1
	Headers  Environment // of each request; nil without any
	CAFile   string      // PEM; "" for the system's roots
}

// Roots reads the CA certificates that verify the collector. Without a ca_file it is nil,
// which means the system's.
func (t Tracing) Roots() (*x509.CertPool, error) { return roots(t.CAFile) }

// tracing is nil without a block: then no traces are made.
func (c *checker) tracing(b *fileTracing) *Tracing {
	if b == nil {
		return nil
	}
	t := &Tracing{
		Endpoint: c.collector(b.Endpoint),
		Sample:   c.part(b.Sample, 0.01),
		Headers:  c.headers(b.Headers),
		CAFile:   c.caFile(b.CAFile),
	}
	if u, err := url.Parse(t.Endpoint); err == nil && u.Scheme == "http" && len(t.Headers) > 0 && !Loopback(u.Hostname()) {
		c.bad(b.Endpoint, "%q would send the headers, which may be secrets, without encryption: write https", t.Endpoint)
	}
	return t
}

// collector is the base address of an OTLP collector.
func (c *checker) collector(a *hcl.Attribute) string {
	const like = "http://127.0.0.1:4318"
	text := strings.TrimSuffix(c.text(a, ""), "/")
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case unprintable(text) != "":
		c.bad(a, "%q has %s in it: write a URL like %s", text, unprintable(text), like)
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		c.bad(a, "is no URL: write one like %s", like)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil:
		c.bad(a, "has more than a host, a port and a path: write one like %s; what a login needs goes into headers", like)
	case strings.HasSuffix(u.Path, "/v1/traces"):
		c.bad(a, "%q has the path of traces already: leave out /v1/traces, the host adds it", text)
	case wrongHost(u.Hostname()) != "":
		c.bad(a, "%q is no address: its host %s", text, wrongHost(u.Hostname()))
	case wrongPort(u.Port()):
		c.bad(a, "%q has no port number between 1 and 65535", text)
	}
	return text
}

// part is a number from 0 to 1.
func (c *checker) part(a *hcl.Attribute, def float64) float64 {
	v, ok := c.value(a)
	if !ok {
		return def
	}
	n, err := convert.Convert(v, cty.Number)
	if err != nil || n.IsNull() {
		c.bad(a, "want a number from 0 to 1, not %s", kind(v))
		return def
	}
	f := n.AsBigFloat()
	if f.Sign() < 0 || f.Cmp(big.NewFloat(1)) > 0 {
		c.bad(a, "%s is out of range: from 0, which is none, to 1, which is every message", f.Text('g', 6))
		return def
	}
	part, _ := f.Float64()
	return part
}

// headerName matches what an HTTP header can be called. Spec: RFC 9110 §5.1
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")

// headers are those of HTTP requests; nil when absent.
func (c *checker) headers(a *hcl.Attribute) Environment {
	v, ok := c.value(a)
	if !ok {
		return nil
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		c.bad(a, `want an object like { authorization = env("NAME") }, not %s`, kind(v))
		return nil
	}
	out := Environment{}
	for name, value := range v.AsValueMap() {
		switch {
		case !headerName.MatchString(name):
			c.bad(a, "%.64q can't be a header's name", name)
		case value.IsNull() || value.Type() != cty.String:
			c.bad(a, "%s: want a string in quotes, not %s", name, kind(value))
		default:
			c.sendable(a, value.AsString())
			out[name] = Secret(value.AsString())
		}
	}
	return out
}
