package entry

// Exported is a dead letter as a file holds it, whole. A ledger, this one or another,
// can have it again by what it has beside DeadLetter, whose fields are for people.
type Exported struct {
	DeadLetter
	SenderID string `json:"sender_id"` // of its session; session is the name that it had
	Event    []byte `json:"event"`     // as the ledger stores it
}

// Import is an order to have exported letters as dead letters again.
type Import struct {
	Letters   []Exported
	Check     bool // import none; only say what would come of it
	SkipWrong bool // import the others though some are wrong
}

// Imported says what came of an [Import].
type Imported struct {
	Done  int           // imported
	Same  int           // that the ledger has already, as dead letters or as events that wait
	Wrong []WrongLetter // if there are any, and SkipWrong is not set, none is imported
}

// WrongLetter is a letter that can't be imported.
type WrongLetter struct {
	At     int    `json:"at"` // its index in the order, from 0
	Reason string `json:"reason"`
}
