package message

import (
	"errors"
	"regexp"
)

// pluginName is run-parts(8)'s rule for the same need: packagers, editors and
// copying tools put a '.', '~' or '#' into the names of what they leave behind
// (echo.bak, echo.rpmnew, echo.dpkg-old, echo~, .echo.swp).
var pluginName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// CheckPluginName says why a plugin, and so its file, can't have this name; nil:
// it can.
func CheckPluginName(name string) error {
	if !pluginName.MatchString(name) {
		return errors.New("a plugin's name has letters, digits, '_' and '-' only, 64 at most, and begins with a letter or digit")
	}
	return nil
}
