package message

// Limits of what one handler or one Host.Update commits. The SDK, the host and its
// ledger use these constants.
const (
	MaxChanges     = 1000           // downstreams, timers, keys written, keys read, keys listed and lists, together; a key that is read and written counts twice
	MaxChangeBytes = 1 << 20        // bytes of all of them together
	MaxKey         = 512            // bytes of a state key
	MaxValue       = 1<<20 - 16<<10 // bytes of one value of the state, or of a timer's data, as JSON; the ledger needs the other 16 KiB
	MaxDevice      = 4 << 10        // bytes of a device's token that a timer names
	MaxListed      = MaxChanges - 1 // keys that one list gives; the list itself counts too
	MaxListBytes   = 1 << 20        // bytes of the keys and values that one list gives
)

// LatestTimer is the first moment for which no timer can be set, in Unix milliseconds: the
// year 2200. A later one is mostly a number in other units.
const LatestTimer = 7_258_118_400_000
