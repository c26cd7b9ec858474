package entry

// Forgetting says which plugin is forgotten, and what becomes of what it has.
type Forgetting struct {
	Plugin string
	Delete bool // what waits is deleted, and so are its dead letters; else what waits becomes dead letters
	State  bool // its state is deleted; else it stays
	Plan   bool // only say what there is
}

// ForgottenReason is the reason of dead letters that waited for a plugin when it was forgotten.
const ForgottenReason = "plugin forgotten"

// Forgotten says what the ledger has of a plugin, and what of it was taken away.
type Forgotten struct {
	Upstreams int `json:"upstreams"` // pending, of its categories
	Outcomes  int `json:"outcomes"`
	Receipts  int `json:"receipts"`
	Timers    int `json:"timers"` // due, and not due yet
	Dead      int `json:"dead"`   // dead letters that it had before
	// Downstreams are on their way. They go on, and nobody is told how they end.
	Downstreams int      `json:"downstreams"`
	StateKeys   int      `json:"state_keys"`
	StateBytes  int64    `json:"state_bytes"`
	Categories  []string `json:"categories"` // that it had last, sorted
	Pauses      int      `json:"pauses"`     // of it, of devices and of lanes

	Moved       int `json:"moved"`        // events and timers that became dead letters
	Deleted     int `json:"deleted"`      // events and timers
	DeadDeleted int `json:"dead_deleted"` // dead letters
	KeysDeleted int `json:"keys_deleted"` // keys of its state
}

// Waiting is how many events and timers wait for the plugin.
func (f *Forgotten) Waiting() int { return f.Upstreams + f.Outcomes + f.Receipts + f.Timers }

// Any reports whether there is anything of the plugin.
func (f *Forgotten) Any() bool {
	return f.Waiting()+f.Dead+f.Downstreams+f.StateKeys+len(f.Categories)+f.Pauses > 0
}
