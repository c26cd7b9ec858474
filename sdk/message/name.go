package message

import (
	"errors"
	"regexp"
)

// pluginName is the rule of run-parts(8). Packagers, editors and copying tools leave
// files behind whose names have a '.', '~' or '#' (echo.bak, echo.rpmnew,
// echo.dpkg-old, echo~, .echo.swp). These are not plugins.
var pluginName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// CheckPluginName says why a plugin and its file can't have this name. nil: they can.
func CheckPluginName(name string) error {
	if !pluginName.MatchString(name) {
		return errors.New("a plugin's name has only letters, digits, '_' and '-', 64 at most, and begins with a letter or digit")
	}
	return nil
}
