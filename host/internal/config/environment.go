package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Environment maps names of variables to values. The values may be secrets.
type Environment map[string]Secret

// Reveal returns the variables; only the place that needs them calls this.
func (e Environment) Reveal() map[string]string {
	out := map[string]string{}
	for name, value := range e {
		out[name] = value.Reveal()
	}
	return out
}

// Bounds of an environment. Spec: execve(2): one string has at most 128 KiB. All
// strings, the host's included, have at most a quarter of the stack's limit.
const (
	maxVariable    = 127 << 10
	maxEnvironment = 1 << 20
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// environment is variables for a plugin's process; nil when absent.
func (c *checker) environment(a *hcl.Attribute) Environment {
	v, ok := c.value(a)
	if !ok {
		return nil
	}
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		c.bad(a, `want an object like { HTTPS_PROXY = "http://proxy:3128" }, not %s`, kind(v))
		return nil
	}
	out, total := Environment{}, 0
	for name, value := range v.AsValueMap() {
		switch whose := hosts(name); {
		case len(name) > 256 || !variableName.MatchString(name):
			c.bad(a, "%.64q can't be a variable's name: it has letters, digits and _, and doesn't begin with a digit", name)
		case whose != "":
			c.bad(a, "%.64s is %s: leave it out", name, whose)
		case value.IsNull() || value.Type() != cty.String:
			c.bad(a, "%s: want a string in quotes, not %s", name, kind(value))
		case strings.ContainsRune(value.AsString(), 0):
			c.bad(a, "%s: a variable can't have a zero byte in it", name)
		case len(value.AsString()) > maxVariable:
			c.bad(a, "%s: is longer than %s: give the plugin a file's path", name, size(maxVariable))
		default:
			out[name] = Secret(value.AsString())
			total += len(name) + len(out[name])
		}
	}
	if total > maxEnvironment {
		c.bad(a, "is longer than %s in total: give the plugin a file's path", size(maxEnvironment))
	}
	return out
}

// hosts says who owns a variable that the config can't set; "" when it can.
func hosts(name string) string {
	switch {
	case strings.HasPrefix(name, "BALHOST_"):
		return "this host's own"
	case strings.HasPrefix(name, "PLUGIN_"):
		return "go-plugin's own, between host and plugin"
	case slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "MAINPID"}, name):
		return "between systemd and the host"
	}
	return ""
}
