package message

import (
	"strings"
	"testing"
)

// Files that tools leave beside a program are not plugins.
func TestCheckPluginName(t *testing.T) {
	for _, name := range []string{"echo", "Echo-2_a", "4", strings.Repeat("x", 64)} {
		if err := CheckPluginName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "..data", ".echo.swp", ".nfs0001", "echo.bak", "echo.orig", "echo.old", "echo.rpmnew", "echo.rpmsave", "echo.dpkg-old", "echo.dpkg-new", "echo.dpkg-dist",
		"echo.sha256", "echo.tmp", "echo~", "#echo#", "echo (copy)", "a/b", "-x", "_x", "é", "echo\n", strings.Repeat("x", 65),
	} {
		if CheckPluginName(name) == nil {
			t.Errorf("%q can be a plugin's name", name)
		}
	}
}
