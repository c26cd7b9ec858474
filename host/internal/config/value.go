package config

import (
	"encoding/json"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// checker evaluates attributes and collects problems. A key that is absent or null
// gets its default.
type checker struct {
	src      []byte
	lines    [][]byte // of src; nil until a problem needs one
	name     string   // of the file
	dir      string   // its folder, absolute
	ctx      *hcl.EvalContext
	anyForm  bool // sessions may have the older form, which is an error else
	problems []Problem
}

// value evaluates an attribute; ok is false when it is absent or was reported.
func (c *checker) value(a *hcl.Attribute) (v cty.Value, ok bool) {
	if a == nil {
		return cty.NilVal, false
	}
	v, diags := a.Expr.Value(c.ctx)
	c.add(diags)
	return v, !diags.HasErrors() && !v.IsNull()
}

// text is a string.
func (c *checker) text(a *hcl.Attribute, def string) string {
	if s, ok := c.given(a); ok {
		return s
	}
	return def
}

// given is a string; ok is false when it is absent or was reported.
func (c *checker) given(a *hcl.Attribute) (s string, ok bool) {
	v, ok := c.value(a)
	if !ok {
		return "", false
	}
	if v.Type() != cty.String {
		c.bad(a, "want a string in quotes, not %s", kind(v))
		return "", false
	}
	return v.AsString(), true
}

// oneOf is one of the allowed strings.
func (c *checker) oneOf(a *hcl.Attribute, def string, allowed ...string) string {
	s := c.text(a, def)
	if !slices.Contains(allowed, s) {
		c.bad(a, "%q is not one of %s", s, strings.Join(allowed, ", "))
	}
	return s
}

// secret is a string that must not be empty and is never shown.
func (c *checker) secret(a *hcl.Attribute) Secret {
	v, ok := c.value(a)
	switch {
	case !ok:
		return ""
	case v.Type() != cty.String:
		c.bad(a, "want a string in quotes, not %s", kind(v))
		return ""
	case v.AsString() == "":
		c.bad(a, "is empty; get it with env(\"NAME\") or file(\"path\")")
	case v.AsString() == "…": // as the error for a flat session shows a secret
		c.bad(a, "is not filled in; get it with env(\"NAME\") or file(\"path\")")
	default:
		c.sendable(a, v.AsString())
	}
	return Secret(v.AsString())
}

// secretOrNone is a secret that may be absent; an empty one counts as absent.
func (c *checker) secretOrNone(a *hcl.Attribute) Secret {
	s := c.text(a, "")
	c.sendable(a, s)
	return Secret(s)
}

// texts is a list of strings; nil when absent.
func (c *checker) texts(a *hcl.Attribute) []string {
	v, ok := c.value(a)
	if !ok {
		return nil
	}
	if t := v.Type(); !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		c.bad(a, `want a list of strings like ["a", "b"], not %s`, kind(v))
		return nil
	}
	out := []string{}
	for _, e := range v.AsValueSlice() {
		if e.IsNull() || e.Type() != cty.String {
			c.bad(a, `want a list of strings like ["a", "b"], but it has %s in it`, kind(e))
			return nil
		}
		out = append(out, e.AsString())
	}
	return out
}

// number is a whole number between least and most. A string of digits is accepted,
// because env() gives strings.
func (c *checker) number(a *hcl.Attribute, def, least, most int64) int64 {
	v, ok := c.value(a)
	if !ok {
		return def
	}
	n, err := convert.Convert(v, cty.Number)
	if err != nil || n.IsNull() {
		c.bad(a, "want a whole number, not %s", kind(v))
		return def
	}
	i, accuracy := n.AsBigFloat().Int64()
	if accuracy != big.Exact {
		c.bad(a, "want a whole number between %d and %d", least, most)
	} else if i < least || i > most {
		c.bad(a, "%d is out of range: between %d and %d", i, least, most)
	}
	return i
}

// boolean is true or false. The words in quotes are accepted, because env() gives strings.
func (c *checker) boolean(a *hcl.Attribute, def bool) bool {
	v, ok := c.value(a)
	if !ok {
		return def
	}
	b, err := convert.Convert(v, cty.Bool)
	if err != nil || b.IsNull() {
		c.bad(a, "want true or false, not %s", kind(v))
		return def
	}
	return b.True()
}

// duration is a string like "20s".
func (c *checker) duration(a *hcl.Attribute, def, least, most time.Duration) time.Duration {
	v, ok := c.value(a)
	if !ok {
		return def
	}
	if v.Type() != cty.String {
		c.bad(a, `want a duration in quotes like "20s", "5m" or "1h30m", not %s`, kind(v))
		return def
	}
	d, err := time.ParseDuration(v.AsString())
	if err != nil {
		c.bad(a, `%q is not a duration: write one like "20s", "5m" or "1h30m"`, v.AsString())
		return def
	}
	if d < least || d > most {
		c.bad(a, "%s is out of range: between %s and %s", d, least, most)
	}
	return d
}

// size is a string like "64MiB".
func (c *checker) size(a *hcl.Attribute, def, least, most int64) int64 {
	v, ok := c.value(a)
	if !ok {
		return def
	}
	if v.Type() != cty.String {
		c.bad(a, `want a size in quotes like "64MiB", not %s`, kind(v))
		return def
	}
	n, ok := parseSize(v.AsString())
	if !ok {
		c.bad(a, `%q is not a size: write one like "512KiB", "64MiB" or "1GiB"`, v.AsString())
		return def
	}
	if n < least || n > most {
		c.bad(a, "%s is out of range: between %s and %s", size(n), size(least), size(most))
	}
	return n
}

// path is an absolute path; "" stays "".
func (c *checker) path(a *hcl.Attribute, def string) string {
	s := c.text(a, def)
	switch {
	case s == "" && def != "":
		c.bad(a, "is empty; leave the key out for %q", def)
	case strings.ContainsRune(s, 0):
		c.bad(a, "a path can't have a zero byte in it")
	case s != "":
		return c.abs(s)
	}
	return s
}

func (c *checker) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(c.dir, path)
}

// object is a plugin's own configuration, as JSON; nil when absent.
func (c *checker) object(a *hcl.Attribute) json.RawMessage {
	v, ok := c.value(a)
	if !ok {
		return nil
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		c.bad(a, "want an object like { greeting = \"hello\" }, not %s", kind(v))
		return nil
	}
	if err := cty.Walk(v, func(_ cty.Path, e cty.Value) (bool, error) { return true, writable(e) }); err != nil {
		c.bad(a, "%v", err)
		return nil
	}
	b, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		c.bad(a, "can't be written as JSON: %v", err)
		return nil
	}
	return b
}

// kind names the type of a value for the person who wrote it.
func kind(v cty.Value) string {
	t := v.Type()
	switch {
	case v.IsNull():
		return "null"
	case t == cty.String:
		return "a string"
	case t == cty.Number:
		return "a number"
	case t == cty.Bool:
		return "true or false"
	case t.IsObjectType() || t.IsMapType():
		return "an object"
	}
	return "a list"
}
