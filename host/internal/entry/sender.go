package entry

import (
	"cmp"
	"fmt"
	"slices"

	"balhost/sdk/message"
)

// Sender is one session block of config.hcl. Its ID, the sender_id, is what identifies it: the ID
// stands in the field Session of every message inside the host, and on disk. So a
// block can be renamed, and what waits for it goes on. The Name is for plugins
// and people: it replaces the ID when a message is shown to them.
type Sender struct {
	Name, ID string
	// Former are the names that the block had before a reload. Plugins may still use them.
	Former []string
	// Transport carries its messages; "" is CCS.
	Transport message.Transport
	// Gateway says that devices may connect to it by themselves, beside its transport.
	Gateway bool
}

// Senders are those of the config in force, in its order.
type Senders []Sender

// ID is that of the sender with this name. The empty name means the only sender;
// its ID is "" when there are several. It is not ok when no sender has the name.
func (s Senders) ID(name string) (id string, ok bool) {
	if name == "" && len(s) != 1 {
		return "", true
	}
	for _, known := range s {
		if name == "" || name == known.Name {
			return known.ID, true
		}
	}
	return "", false
}

// Meant is ID for a plugin, which may use a former name.
func (s Senders) Meant(name string) (id string, ok bool) {
	if id, ok = s.ID(name); ok {
		return id, true
	}
	for _, known := range s {
		if slices.Contains(known.Former, name) {
			return known.ID, true
		}
	}
	return "", false
}

// Cancels cancel the downstream with this id of any sender: a plugin names no session.
func (s Senders) Cancels(messageID string) (all []Cancel) {
	for _, known := range s {
		all = append(all, Cancel{Session: known.ID, MessageID: messageID})
	}
	return all
}

// Succeed is s as the successor of before: each sender keeps its old names as
// Former, except for names that a sender of s has now.
func (s Senders) Succeed(before Senders) Senders {
	after := slices.Clone(s)
	for i := range after {
		for _, old := range before {
			if old.ID != after[i].ID {
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

// Name is the name of the sender with this ID. An ID that the config no longer
// has is its own name.
func (s Senders) Name(id string) string {
	for _, known := range s {
		if known.ID == id {
			return known.Name
		}
	}
	return id
}

// Misfit is why a session cannot carry a downstream. Its text is made when it is asked
// for, so the fields of its problems can still get other names.
type Misfit struct {
	Session   string // its name
	Transport message.Transport
	Problems  error // of [message.Checked.Fits]
}

func (m *Misfit) Error() string {
	return fmt.Sprintf("session %q (%s) cannot carry it: %v", m.Session, m.Transport, m.Problems)
}
func (m *Misfit) Unwrap() error { return m.Problems }

// Fits says why the session of the sender with this ID cannot carry m. A session that the
// config no longer has, or a handler that names none (ID ""), is not judged here.
// The error is a [*Misfit].
func (s Senders) Fits(id string, m message.Checked) error {
	for _, known := range s {
		if known.ID != id {
			continue
		}
		if err := m.Fits(known.Transport); err != nil {
			return &Misfit{known.Name, cmp.Or(known.Transport, message.CCS), err}
		}
	}
	return nil
}

// Transport carries the messages of the sender with this ID; "": no session has it.
func (s Senders) Transport(id string) message.Transport {
	for _, known := range s {
		if known.ID == id {
			return known.Transport
		}
	}
	return ""
}

// Gateway reports whether the sender with this ID has a gateway.
func (s Senders) Gateway(id string) bool {
	for _, known := range s {
		if known.ID == id {
			return known.Gateway
		}
	}
	return false
}

// Names are the names of all.
func (s Senders) Names() []string {
	var names []string
	for _, known := range s {
		names = append(names, known.Name)
	}
	return names
}
