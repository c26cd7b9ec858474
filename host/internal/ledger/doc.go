// Package ledger is the store of balhost, on BadgerDB: every event, downstream,
// outcome, dedup key and plugin state. It is the only queue of the system.
// Start at [Open].
package ledger
