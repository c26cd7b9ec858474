package entry

import "slices"

// Session is one CCS sender. What it is is its sender id: that stands in the
// Session of every message inside the host, and on disk, so that a block of
// config.hcl can be renamed and nothing that waits notices. Its name is a label
// for plugins and people, and is put in the id's place on the way to them.
type Session struct {
	Name, SenderID string
	// Former are names that it had before a reload: plugins know them.
	Former []string
}

// Sessions are those of the config in force, in its order.
type Sessions []Session

// SenderID is that of the session with this name; "" is the only one's, and
// stays "" while there are several. Not ok: there is none of that name.
func (s Sessions) SenderID(name string) (id string, ok bool) {
	if name == "" && len(s) != 1 {
		return "", true
	}
	for _, known := range s {
		if name == "" || name == known.Name {
			return known.SenderID, true
		}
	}
	return "", false
}

// Meant is SenderID for a plugin, which may have been told a former name.
func (s Sessions) Meant(name string) (id string, ok bool) {
	if id, ok = s.SenderID(name); ok {
		return id, true
	}
	for _, known := range s {
		if slices.Contains(known.Former, name) {
			return known.SenderID, true
		}
	}
	return "", false
}

// Succeed is s after the sessions of before, whose names go on where no session
// of s has them.
func (s Sessions) Succeed(before Sessions) Sessions {
	after := slices.Clone(s)
	for i := range after {
		for _, old := range before {
			if old.SenderID != after[i].SenderID {
				continue
			}
			for _, name := range append(slices.Clone(old.Former), old.Name) {
				if !slices.Contains(after.Names(), name) && !slices.Contains(after[i].Former, name) {
					after[i].Former = append(after[i].Former, name)
				}
			}
		}
	}
	return after
}

// Name is the label of a sender; of one that the config has no more, its id.
func (s Sessions) Name(senderID string) string {
	for _, known := range s {
		if known.SenderID == senderID {
			return known.Name
		}
	}
	return senderID
}

// Names are the labels.
func (s Sessions) Names() []string {
	var names []string
	for _, known := range s {
		names = append(names, known.Name)
	}
	return names
}
