package entry

// Session is one CCS sender. What it is is its sender id: that stands in the
// Session of every message inside the host, and on disk, so that a block of
// config.hcl can be renamed and nothing that waits notices. Its name is a label
// for plugins and people, and is put in the id's place on the way to them.
type Session struct{ Name, SenderID string }

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
