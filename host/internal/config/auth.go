package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"balhost/host/internal/credential"
	"balhost/host/internal/regular"
)

// keysOfKind are the keys of each kind of auth block, besides app_check.
var keysOfKind = map[credential.Kind][]string{
	credential.Static:   {"token", "insecure"},
	credential.JWT:      {"jwks", "issuer", "audience", "from_claim", "category_claim"},
	credential.Firebase: {"project", "jwks"},
	credential.HMAC:     {"master", "secrets"},
}

// neededOfKind are those that it can't do without.
var neededOfKind = map[credential.Kind]string{credential.Static: "token", credential.JWT: "jwks", credential.Firebase: "project"}

func (c *checker) rules(blocks []fileAuth) (rules []credential.Rule) {
	for _, b := range blocks {
		rules = append(rules, c.rule(b))
	}
	return rules
}

func (c *checker) rule(b fileAuth) credential.Rule {
	kind := credential.Kind(b.Kind)
	if keysOfKind[kind] == nil {
		c.problem(b.Range, "auth %q is no kind of credential: there are jwt (your own login's tokens), firebase (Firebase Auth), hmac (signed requests) and static (for development)", b.Kind)
		return credential.Rule{Kind: kind}
	}
	c.foreign(b)
	if key := neededOfKind[kind]; b.keys()[key] == nil && key != "" {
		c.problem(b.Range, "auth %q has no %s", b.Kind, key)
	}
	r := credential.Rule{Kind: kind, AppCheck: c.appCheck(b.AppCheck)}
	switch kind {
	case credential.Static:
		r.Token, r.Insecure = c.secret(b.Token), c.boolean(b.Insecure, false)
	case credential.JWT:
		r.JWKS, r.Issuer, r.Audience = c.jwks(b.JWKS), c.text(b.Issuer, ""), c.text(b.Audience, "")
		r.FromClaim, r.CategoryClaim = c.text(b.FromClaim, "sub"), c.text(b.CategoryClaim, "")
		if r.FromClaim == "" {
			c.bad(b.FromClaim, `is empty; leave the key out for "sub"`)
		}
	case credential.Firebase:
		r.Project, r.JWKS = c.project(b.Project), c.jwks(b.JWKS)
	case credential.HMAC:
		r.Master, r.Secrets = c.secret(b.Master), c.secrets(b.Secrets)
		if n := len(r.Master); n > 0 && n < leastMaster {
			c.bad(b.Master, "has %d bytes: who has one device's secret could guess it, and so all others; give it %d or more, as from: openssl rand -base64 32", n, leastMaster)
		}
		if (b.Master == nil) == (b.Secrets == nil) {
			c.problem(b.Range, `auth "hmac" needs either master, from which each device's secret is made, or secrets = { "dev-1" = … }`)
		}
	}
	return r
}

// leastMaster is how many bytes the master of all devices' secrets has at least: 16 that
// are random nobody can guess.
const leastMaster = 16

// keys are the keys of the block by their names; nil where one is absent.
func (b fileAuth) keys() map[string]*hcl.Attribute {
	return map[string]*hcl.Attribute{
		"token": b.Token, "insecure": b.Insecure, "jwks": b.JWKS, "issuer": b.Issuer, "audience": b.Audience, "from_claim": b.FromClaim,
		"category_claim": b.CategoryClaim, "project": b.Project, "master": b.Master, "secrets": b.Secrets,
	}
}

// foreign reports the keys that belong to other kinds.
func (c *checker) foreign(b fileAuth) {
	for name, a := range b.keys() {
		if a == nil || slices.Contains(keysOfKind[credential.Kind(b.Kind)], name) {
			continue
		}
		var whose []string
		for _, kind := range slices.Sorted(maps.Keys(keysOfKind)) {
			if slices.Contains(keysOfKind[kind], name) {
				whose = append(whose, fmt.Sprintf("%q", kind))
			}
		}
		c.bad(a, "is a key of auth %s, and auth %q has nothing like it: remove it", strings.Join(whose, " and "), b.Kind)
	}
}

// jwks is where public keys are: an https URL, or the absolute path of a file, which is
// read here, so that a wrong one is found before anything starts (P10).
func (c *checker) jwks(a *hcl.Attribute) string {
	text, ok := c.given(a)
	if !ok {
		return ""
	}
	where, wrong := c.keySet(text)
	if wrong != "" {
		c.bad(a, "%s", wrong)
	}
	return where
}

// keySet is where text says that public keys are, and what is wrong with it.
func (c *checker) keySet(text string) (where, wrong string) {
	switch u, err := url.Parse(text); {
	case text == "":
		return "", "is empty; give the path of a file, or an https URL"
	case unprintable(text) != "" && strings.Contains(text, "://"):
		return text, fmt.Sprintf("%q has %s in it", text, unprintable(text))
	case !strings.Contains(text, "://"):
		path := c.abs(text)
		text, err := regular.Read(path, credential.MaxJWKS)
		if err != nil {
			return path, err.Error()
		}
		if _, err := credential.ParseJWKS(text); err != nil {
			return path, fmt.Sprintf("%s: %v", path, err)
		}
		return path, ""
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return text, "is no URL: write one like https://login.example.com/.well-known/jwks.json"
	case u.Scheme != "https":
		return text, fmt.Sprintf("%q is no https URL: keys that come without encryption can be anybody's", text)
	}
	return text, ""
}

var (
	projectID = regexp.MustCompile(`^([a-z0-9.-]+:)?[a-z][a-z0-9-]{2,61}[a-z0-9]$`)
	allDigits = regexp.MustCompile(`^[0-9]+$`)
)

// project is the id of a Firebase project.
func (c *checker) project(a *hcl.Attribute) string {
	id, ok := c.given(a)
	switch {
	case !ok:
	case allDigits.MatchString(id):
		c.bad(a, "%q is a project's number: write its id, like my-app-1a2b3 (Firebase console: Project settings, General)", id)
	case !projectID.MatchString(id):
		c.bad(a, "%q can't be a project's id: it has lower case letters, digits and '-', like my-app-1a2b3", id)
	}
	return id
}

// keyName is what a device may write between the quotes of key="…".
// Spec: fcm-v1-and-gateway.md C4.
var keyName = regexp.MustCompile(`^[!#-+\--\[\]-~]{1,128}$`)

// secrets are those of devices, by the name of the key; nil when absent.
func (c *checker) secrets(a *hcl.Attribute) map[string]Secret {
	v, ok := c.value(a)
	if !ok {
		return nil
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		c.bad(a, `want an object like { "dev-1" = file("dev-1.key") }, not %s`, kind(v))
		return nil
	}
	out := map[string]Secret{}
	for name, value := range v.AsValueMap() {
		switch {
		case !keyName.MatchString(name):
			c.bad(a, `%.64q can't be the name of a key: use letters, digits and signs without space, comma, '"' and '\', 128 at most`, name)
		case value.IsNull() || value.Type() != cty.String:
			c.bad(a, "%s: want a string in quotes, not %s", name, kind(value))
		case value.AsString() == "":
			c.bad(a, "%s: is empty; get it with env(\"NAME\") or file(\"path\")", name)
		default:
			out[name] = Secret(value.AsString())
		}
	}
	if len(v.AsValueMap()) == 0 {
		c.bad(a, "has no key in it, so no device could sign")
	}
	return out
}

// appCheck is what an App Check token must say; nil when absent.
func (c *checker) appCheck(a *hcl.Attribute) *credential.AppCheck {
	v, ok := c.value(a)
	if !ok {
		return nil
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		c.bad(a, `want an object like { project_number = "482915730064", apps = [] }, not %s`, kind(v))
		return nil
	}
	out := &credential.AppCheck{}
	for name, value := range v.AsValueMap() {
		wrong := ""
		switch name {
		case "project_number":
			if text, err := convert.Convert(value, cty.String); err == nil && !text.IsNull() {
				out.ProjectNumber = text.AsString()
			}
		case "apps":
			out.Apps, wrong = appIDs(value)
		case "jwks":
			if value.IsNull() || value.Type() != cty.String {
				wrong = "want a string in quotes, not " + kind(value)
			} else {
				out.JWKS, wrong = c.keySet(value.AsString())
			}
		default:
			wrong = "there is no such key: there are project_number, apps and jwks"
		}
		if wrong != "" {
			c.bad(a, "%.64s: %s", name, wrong)
		}
	}
	if !projectNumber.MatchString(out.ProjectNumber) {
		c.bad(a, `project_number: give the project's number in quotes, digits like "482915730064"`)
	}
	return out
}

// appIDs is a list of app ids, and what is wrong with it.
func appIDs(v cty.Value) (ids []string, wrong string) {
	const want = `want a list of app ids like ["1:482915730064:android:0a1b2c3d"], not `
	if t := v.Type(); v.IsNull() || !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		return nil, want + kind(v)
	}
	for _, e := range v.AsValueSlice() {
		if e.IsNull() || e.Type() != cty.String || e.AsString() == "" || unprintable(e.AsString()) != "" {
			return nil, want + "one with " + kind(e) + " in it that can't be an id"
		}
		ids = append(ids, e.AsString())
	}
	return ids, ""
}
