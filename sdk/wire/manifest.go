package wire

import (
	"cmp"
	"fmt"
	"strings"

	"balhost/sdk/message"
)

// CheckManifest says whether a plugin in a file of that name may be what it
// says it is, and if not, what to do about it.
func CheckManifest(file string, m *Manifest) error {
	name := m.GetName()
	err := message.CheckPluginName(name)
	switch {
	case name == "":
		return fmt.Errorf("plugin has no name: set Plugin.Name to %q", file)
	case name != file:
		return fmt.Errorf("plugin calls itself %.100q, but its file's name, %q, is its identity: rename one of them", name, file)
	case err != nil:
		return fmt.Errorf("plugin name %q: %w", name, err)
	case len(m.GetVersion()) > 128:
		return fmt.Errorf("plugin %s: version of %d bytes: at most 128", name, len(m.GetVersion()))
	case len(m.GetCategories()) > 0 && !m.GetUpstream():
		return fmt.Errorf("plugin %s claims categories but has no Upstream handler: add one, or claim none", name)
	case len(m.GetCategories()) > 1000:
		return fmt.Errorf("plugin %s claims %d categories: at most 1000", name, len(m.GetCategories()))
	case len(m.GetOrder()) > 260:
		return fmt.Errorf("plugin %s: order of %d bytes: at most 260", name, len(m.GetOrder()))
	}
	seen := map[string]bool{}
	for _, c := range m.GetCategories() {
		if c == "" || len(c) > 256 || c != strings.TrimSpace(c) {
			return fmt.Errorf("plugin %s: category %.256q: write an app's package name or bundle id, or \"*\"", name, c)
		}
		if seen[c] {
			return fmt.Errorf("plugin %s claims category %q twice", name, c)
		}
		seen[c] = true
	}
	if _, err := message.OrderPath(cmp.Or(m.GetOrder(), "device")); err != nil {
		return fmt.Errorf("plugin %s: %w", name, err)
	}
	return nil
}
