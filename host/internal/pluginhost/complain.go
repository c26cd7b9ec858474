package pluginhost

import (
	"maps"
	"slices"
)

// ignore notes what lies in the folder by a plugin's name and is none, and says so once.
func (h *Host) ignore(none map[string]string) {
	h.mu.Lock()
	before := h.ignored
	h.ignored = none
	h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(none)) {
		if before[name] != none[name] {
			h.log.Info("file in the plugins folder is no plugin", "plugin", name, "err", none[name])
		}
	}
}

// complain notes why a plugin's file is not taken ("": it is), and reports whether to
// log it. A reason that other plugins have too, such as their folder's mode, is logged
// once.
func (h *Host) complain(name, reason string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.declined, name)
	if reason == "" {
		return false
	}
	said := slices.Contains(slices.Collect(maps.Values(h.declined)), reason)
	h.declined[name] = reason
	return !said
}
