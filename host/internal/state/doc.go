// Package state is what a ledger's commits are applied to: records by key, over
// BadgerDB. It knows nothing of messages, and it makes nothing durable: the
// journal has made each commit durable before it comes here. Start at [Open],
// then State.Apply.
//
// # Three layers
//
// A commit's changes are seen as soon as Apply returns: they lie in a map, the
// active layer, and point into the commit's frame. When the frames of that layer have
// grown to some MiB it is frozen, and a goroutine writes what it holds to badger:
// of each key the last change. A page that was written and deleted meanwhile never
// reaches badger, nor does its deletion, since the frame says that the page was new
// (Change.New). Who reads looks into the active layer, the frozen one, and
// badger. Who scans has everything written first, then sees one moment of badger.
//
// # What is durable
//
// Badger writes without syncs (SyncWrites off), so after a power cut its memtable
// logs (*.mem) may have holes: they prove nothing, and Open throws them away, after
// every end. What proves is a table: badger 4.9.6 writes and msyncs it whole
// (table.CreateTable), then notes it in MANIFEST and syncs that (manifest.addChanges),
// then shows it in DB.Tables (levels.addLevel0Table), with SyncWrites off too.
//
// Memtables become tables one after the other, in the order in which they were
// filled (db.flushMemtable is one goroutine), and the writes of a group are put into
// them in order. So the tables hold a prefix of what was written. The last write of each
// group is the record of its last commit, N: when the tables hold that record, they
// hold all that was written before it. Of what came later they may hold a part.
//
// Hence: when the tables' record says N, all changes up to commit N are in the
// tables, and replaying the commits from N+1 to the last one of the journal makes the state whole: a
// change is a put or a delete of a whole record, so doing it twice, in order, is the
// same as doing it once. The parts of later groups that are in the tables are
// written over, since no change is in badger that was not in the journal before. For
// that, each deletion that is replayed is written: what a frame calls new may be in
// such a part.
//
// The journal may give up the commits up to C once the tables hold the version that badger had
// reached when C was applied (see State.mark). When that takes too many bytes of
// frames, because few of the changes outlive their layer, the memtable is filled up
// so that it becomes a table.
//
// # Nursing badger
//
// Open checks MANIFEST and tables where badger would panic or go on without them,
// and removes empty files that keep it from opening (notes/badger.md D4-D6). Some of
// its worst news badger tells to its log alone: watch listens.
package state
