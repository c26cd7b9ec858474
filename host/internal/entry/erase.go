package entry

// Erasure says of which device everything is to be erased.
type Erasure struct {
	Names   []string // its registration token, its FID: at least one, none empty
	Session string   // sender id; "": in all sessions
	Values  bool     // also the keys of plugins' state whose values have one of the names
	Plan    bool     // only say what there is
}

// Erased says what the ledger has of a device, or what of it was erased.
type Erased struct {
	Upstreams   int `json:"upstreams"` // pending
	Outcomes    int `json:"outcomes"`
	Receipts    int `json:"receipts"`
	Timers      int `json:"timers"` // due, and not due yet
	Downstreams int `json:"downstreams"`
	Dead        int `json:"dead"`
	Summaries   int `json:"summaries"` // of messages that have ended
	Ended       int `json:"ended"`     // records of ended messages that share a page with pending ones
	// Keys are keys of plugins' state that name the device, or whose value does. MoreKeys is
	// how many are not listed.
	Keys     []StateKey `json:"keys"`
	MoreKeys int        `json:"more_keys,omitempty"`
	Bindings int        `json:"bindings"` // users of gateways who have it
	// Mentions are what belongs to others and has the device's name in it. It stays.
	Mentions     []Mention `json:"mentions"`
	MoreMentions int       `json:"more_mentions,omitempty"`
	// Held are the ids of pending events that a handler works on now.
	Held []string `json:"held"`
	// Files is how many of the ledger's files have the device's name in them.
	Files int `json:"files"`
	// Proven says that nothing of it is in a file any more, but for Mentions.
	Proven bool `json:"proven"`
}

// Records is how many records there are, without keys of plugins' state.
func (e *Erased) Records() int {
	return e.Upstreams + e.Outcomes + e.Receipts + e.Timers + e.Downstreams + e.Dead + e.Summaries + e.Ended + e.Bindings
}

// StateKey is a key of a plugin's state that has to do with a device.
type StateKey struct {
	Plugin  string `json:"plugin"`
	Key     string `json:"key"`
	InValue bool   `json:"in_value,omitempty"` // only its value names the device
}

// MentionHost is What of a mention in the host's own state, such as the gateway's bindings.
const MentionHost = "state of the host"

// Mention is a record of something else that has a device's name in it.
type Mention struct {
	What string `json:"what"` // such as "dead letter"
	ID   string `json:"id"`   // by which the commands name it, or its plugin and key
}

// Events is how many of its events are pending.
func (e *Erased) Events() int { return e.Upstreams + e.Outcomes + e.Receipts + e.Timers }
