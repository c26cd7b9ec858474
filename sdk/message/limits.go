package message

// Limits of what one handler or one Host.Update commits together. The SDK, the
// host and its ledger all take them from here.
const (
	MaxChanges     = 1000           // downstreams, keys written and keys read; a key that is read and written counts twice
	MaxChangeBytes = 1 << 20        // of all of them together
	MaxKey         = 512            // bytes of a state key
	MaxValue       = 1<<20 - 16<<10 // bytes of one value of the state, as JSON; the ledger needs the rest for itself
)
