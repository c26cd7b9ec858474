// Package ledger is the store of balhost: every event, downstream, outcome, dedup key
// and plugin state. It is the only queue of the system (P0). Start at [Open], then
// Ledger.run, which makes the commits.
//
// It is a log and a state. Package journal makes a commit durable, with one sync.
// Package state is what commits are applied to: records by key, over BadgerDB, which
// syncs nothing. At a start, badger's tables and the journal make the state again.
// The ledger decides what is in a commit. Its rules (accept, settle, changes, finish,
// dead, pages, summary) say what a commit puts and deletes. They read the store and
// the index alone. The time, the disk's fill and randomness are read before (stamp),
// so the same operations make the same commits.
//
// # Promises
//
// P1, P2: a callback comes after the synced commit, in the order of the calls.
// P4: a downstream's end, its record and its event are one commit. It goes out or is
// canceled, never both (see claims). P5: the lease
// is checked inside the commit; a replay goes to the end. P6: the dedup key is a
// hash of sender, token, message id and data. P7: what a handler did and the end
// of its event are one commit, and read versions are checked in it. P8: dead
// letters stay. P10: full disks, damaged files and failed commits, see below.
//
// # Goroutines
//
// The committer (Ledger.run) owns all writes and the index in memory. Each time round
// it moves what waits from the mailbox into a batch: up to 1,000 operations or 1 MiB.
// Ends go before messages, and while anything else waits, updates get about a quarter
// of it (batch.fill). Ends
// alone wait a little for a message, to share its sync (mailbox.lingerFor). An
// invalid operation writes nothing. The batch is one commit: it is appended to the
// journal, which syncs once, and applied to the state; then the index changes, the
// hints fire, and the callers are called back (Ledger.commit). Another goroutine
// calls them, so a slow callback stalls no commit. Two more watch the disk and the
// commits, one tidies up, one gives the dedup filter the keys from before the
// start, and one has the committer make events of the timers that are due (ring). The state has one that writes to badger, the journal one that prepares its
// next file. All are started by Open and awaited by Close.
//
// Callers never block and the mailbox has no limit: CCS's window and the plugins'
// credit bound what can be in it. What is read comes from memory, as far as the index
// holds it, else from the disk by exact key. Only the state of plugins is also read in
// order (List), and again inside the commit of who has listed it.
//
// # Memory
//
// No backlog decides how much memory the host needs. Of each page the index holds
// 24 bytes; entries and bodies only of the pages that were stored or used last,
// 32 MiB in all; and the records that were read last as they are, 16 MiB. A page that it
// has let go of is read when one of its entries is settled or postponed, and by whoever
// lists what waits. Of the timers that wait, memory has where the 4,096 are that are due
// next; the others are only on the disk.
//
// # Records
//
// Keys are big endian. Each value is a format byte, fields, and a CRC-32C over
// key and value.
//
//	00 v          schema version, time and id of the store
//	00 c          counters: commit, last seq and id, low watermarks, totals; in every commit
//	M seq         page: up to 32 KiB of events that one commit stored
//	N seq         page: the same for downstreams
//	E seq         bitmap: what of a page has ended
//	S seq         attempts of one entry and its due time, once it was tried in vain
//	D hash        dedup key: when it was stored; expires some time after the window
//	I hash        message id of a downstream: who sent what to whom; until its outcome is purged
//	R hash        the newest pending downstream with a Replace, owner and target
//	F ms seq      summaries of what one commit ended, and of the way there; until the retention time
//	X id          dead letter
//	K plugin key  state of a plugin, with a version
//	O category    its owner
//	T plugin key  name of a timer: where it waits, or which event it has become
//	W due seq     a timer that waits
//
// Times are those of the ledger's own clock, which is never set (see clock, and
// the file of that name): what another clock wrote is believed nowhere, and those
// who ask get times of today's wall clock.
//
// One seq counts events, downstreams and versions in commit order, and none is
// given out twice. An event's id is a ULID that grows with seq; only a replay
// keeps its old one.
//
// # Whose bytes
//
// What a caller gives belongs to the ledger from then on, and what it tells is
// shared, to be read only. What is read of a record is [lent]: it lies in the
// batch's arena, which the next batch writes over, or in the state. The functions of
// records.go return copies, and nothing else makes a message of a record.
//
// # What a message costs
//
// A commit costs one write and one sync of the journal. Badger's price is per
// key that outlives its layer (see package state): log, skiplist, tables, and a
// tombstone when it goes. So what can share a key does. An upstream costs one
// key of its own (D), and a lookup where the filter does not rule out that it
// came before; envelope, deletion and summary are shares of records that its
// whole batch has. A downstream costs one key (I), and its deletion later. In
// commits of 100 that makes about 1.1 keys a message where a key for each
// envelope, state, dedup and summary would make 6. The payload is stored once:
// token, ids and data are kept as places in it. A commit of one message writes
// D, M and c, and M, F and c when it ends.
//
// The price is that a page stays while one of its entries is pending, so each
// minute pages of which half has ended are written anew without it; and that a
// body which is not in the cache is read with its page.
//
// A summary has a message's way without its payload, so that a person can ask what became of it. In
// BenchmarkUpstream it takes 43 bytes; in BenchmarkEcho an upstream, its answer and the outcome take
// 181 together. Longer names and ids take more. A summary is found by its time, and read from the
// record that its commit wrote, so no key leads to it. The attempts in vain cost nothing until there is one: 'S' has them.
//
// # When things go wrong
//
// Any error of a commit, of badger's log, or of a record's checksum
// poisons the ledger: no callback hears of success any more, Options.Poison is
// called, which ends the process, and the next Open recovers. Open takes the tables for what
// they hold and the journal for the rest; a journal that is missing, damaged before its end, or
// does not go on where the tables end is refused. It compares
// the entries with the counters; Verify compares
// everything. Both raise alarms that stay in Alarms and the metrics.
//
// The disk is looked at every second: below the soft limit Accept and Update get
// entry.ErrFull while all that ends goes on, pause and resume too; below the hard limit it poisons
// itself, because a full disk kills badger by SIGBUS and one without inodes makes
// its compaction lose keys. The ballast file makes room for the next start.
//
// # Erasing a device
//
// Erase ends and deletes all that belongs to one device, without telling anybody, in small
// commits between those of others. What it can't see any more is older: in pages that have
// ended entries, in badger's tables, in the journal. So it has pages, tables and journal written
// anew without it, and then reads every byte of the ledger's files.
//
// # Forgetting a plugin
//
// Forget takes away what a plugin has that is gone, in small commits too: first a key in the
// host's own state says that nobody is told any more of what the plugin has sent; then its
// timers and events become dead letters or are deleted; the owners of its categories go last,
// because they say which upstreams are its. So a crash at any commit leaves what the next
// Forget finds.
//
// # Backups
//
// Backup writes the records of one moment to a file (package backup), while all else goes
// on. Restore makes a ledger of it, elsewhere and at once: the tables appear by one rename, the
// journal begins with the commit that they end with. The seqs and ids that the lost
// ledger gave out after the backup are left out. What had not ended when it was taken comes
// again, and what was acked after it is gone. Examine holds journal, tables and
// counters against each other, CheckBackup a file's records.
//
// Open upgrades a ledger of schema 2, from before there was a journal, and of schemas 3
// to 5, whose records are read as they are (see upgrade).
//
// Weak: a damaged record among the pending ones keeps Open from working until a
// person restores a backup; tables on file systems other than ext4 were not put to
// power cuts: badger does not sync the folder when it has made one.
package ledger
