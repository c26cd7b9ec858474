package config

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"balhost/host/internal/serviceaccount"
)

// fcmEndpoint is FCM's own.
const fcmEndpoint = "https://fcm.googleapis.com"

func (c *checker) fcmV1(session string, b fileFCMv1) *FCMv1 {
	c.required(b.Range, b.Credentials, "session", session, "credentials")
	return &FCMv1{
		Credentials:     c.credentials(b.Credentials),
		CredentialsFile: c.fromFile(b.Credentials),
		Endpoint:        c.endpoint(b.Endpoint, fcmEndpoint),
		CAFile:          c.caFile(b.CAFile),
		Connections:     int(c.number(b.Connections, 4, 1, 100)),
		Rate:            int(c.number(b.Rate, 8000, 1, 100_000)), // Spec: fcm-v1-and-gateway.md A7, 80 % of a project's quota
	}
}

// credentials is the text of a key file, or ADC. What the text holds is checked here,
// so that a wrong key file is found before anything starts (P10).
func (c *checker) credentials(a *hcl.Attribute) Secret {
	text, ok := c.given(a)
	if !ok || text == ADC {
		return Secret(text)
	}
	if !strings.HasPrefix(strings.TrimSpace(text), "{") && strings.HasSuffix(text, ".json") && c.fromFile(a) == "" {
		c.bad(a, `is the name of a file, not its text: write file("…") around it`)
	} else if _, err := serviceaccount.Parse(text); err != nil {
		c.bad(a, "%v%v", inFile(c.fromFile(a)), err)
	}
	return Secret(text)
}

// inFile begins a sentence about a file; "" begins one about the key itself.
func inFile(path string) string {
	if path == "" {
		return ""
	}
	return path + " "
}

// fromFile is the absolute path if the value comes from file("path"), whole; else "".
func (c *checker) fromFile(a *hcl.Attribute) string {
	if a == nil {
		return ""
	}
	call, ok := unwrapped(a.Expr).(*hclsyntax.FunctionCallExpr)
	if !ok || call.Name != "file" || len(call.Args) != 1 {
		return ""
	}
	path, diags := call.Args[0].Value(c.ctx)
	if diags.HasErrors() || path.IsNull() || path.Type() != cty.String || path.AsString() == "" {
		return "" // reported with the value
	}
	return c.abs(path.AsString())
}

// unwrapped is an expression without parentheses, and without a template that has
// nothing but it: "${…}".
func unwrapped(e hcl.Expression) hcl.Expression {
	for {
		switch wrap := e.(type) {
		case *hclsyntax.ParenthesesExpr:
			e = wrap.Expression
		case *hclsyntax.TemplateWrapExpr:
			e = wrap.Wrapped
		default:
			return e
		}
	}
}

// endpoint is an https URL with a host and nothing behind it. Tests on this machine may
// use http.
func (c *checker) endpoint(a *hcl.Attribute, def string) string {
	text := strings.TrimSuffix(c.text(a, def), "/")
	if text == def {
		return def
	}
	u, err := url.Parse(text)
	switch {
	case unprintable(text) != "":
		c.bad(a, "%q has %s in it: write a URL like %s", text, unprintable(text), def)
	case err != nil || u.Host == "":
		c.bad(a, "is no URL: write one like %s", def)
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil:
		c.bad(a, "has more than a host and a port: write %s://%s; the host adds the path", u.Scheme, u.Host)
	case u.Scheme == "http" && !Loopback(u.Hostname()):
		c.bad(a, "%q would send credentials without encryption: write https; http is for tests on this machine", text)
	case u.Scheme != "https" && u.Scheme != "http":
		c.bad(a, "%q is no https URL: write one like %s", text, def)
	case wrongHost(u.Hostname()) != "":
		c.bad(a, "%q is no address: its host %s", text, wrongHost(u.Hostname()))
	case wrongPort(u.Port()):
		c.bad(a, "%q has no port number between 1 and 65535", text)
	}
	return text
}

// wrongPort reports a port that can't be one; none is fine.
func wrongPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port != "" && (err != nil || n == 0)
}
