package message

// Limits of what one handler or one Host.Update commits. The SDK, the host and its
// ledger use these constants.
const (
	MaxChanges     = 1000           // downstreams, keys written and keys read, together; a key that is read and written counts twice
	MaxChangeBytes = 1 << 20        // bytes of all of them together
	MaxKey         = 512            // bytes of a state key
	MaxValue       = 1<<20 - 16<<10 // bytes of one value of the state, as JSON; the ledger needs the other 16 KiB
)
