// Package state holds records by key, over BadgerDB. A ledger's commits are applied to it.
// It knows nothing of messages, and it makes nothing durable: the journal has made each
// commit durable before it comes here. Start at [Open], then State.Apply.
//
// # Three layers
//
// A commit's changes can be read as soon as Apply returns. They lie in a map, the active
// layer, and point into the commit's frame. When the frames of that layer have grown to
// some MiB, the layer is frozen. Then a goroutine writes the last change of each key to
// badger. A page that was written and deleted in one layer never reaches badger, and its
// deletion does not either, because the frame says that the page was new (Change.New).
// A read looks into the active layer, then the frozen one, then badger. A Moment first waits
// until both layers are written, then sees one moment of badger. That is for long reads. Scan
// is for short ones: it reads the layers and badger together, and waits for nothing. For this
// the layers keep the keys of some kinds in order (Options.Ordered).
//
// # What is durable
//
// Badger writes without syncs (SyncWrites off). So its memtable logs (*.mem) may have
// holes after a power cut. They prove nothing, and every Open throws them away. Only a
// table is proof. Badger 4.9.6 writes and msyncs the whole table (table.CreateTable), then
// notes it in MANIFEST and syncs that (manifest.addChanges), then shows it in DB.Tables
// (levels.addLevel0Table). It does so with SyncWrites off too.
//
// Memtables become tables one after the other, in the order in which they were filled
// (db.flushMemtable is one goroutine). The writes of a group are put into them in order.
// So the tables hold a prefix of what was written. The last write of each group is the
// record of its last commit, N. When the tables hold that record, they hold all that was
// written before it. Of what came later they may hold a part.
//
// So when the record in the tables says N, the tables hold all changes up to commit N.
// Replaying the journal's commits from N+1 on makes the state whole. A change is a put or
// a delete of a whole record, so to apply it twice, in order, is the same as once. The
// tables may hold parts of later groups. The replay overwrites all of them, because badger
// has no change that the journal did not have before. So a replay writes every deletion:
// such a part may hold a record that a frame calls new.
//
// The journal may give up the commits up to C when the tables hold the version that badger
// had reached when C was applied (see State.mark). If few changes outlive their layer,
// that may take too many bytes of frames. Then the memtable is filled up, so that it
// becomes a table.
//
// # Gone for good
//
// Scour leaves nothing of what was deleted: it makes all that was applied durable, and has badger
// rewrite its tables until no older version is left that somebody asks for. Old tables and logs
// are removed then, and the journal can give up its commits.
//
// # Encryption
//
// With a key (Options.Key) badger encrypts tables and logs by AES-256 in CTR mode. Each block of
// a table and each entry of a log has its own random or unique nonce. Its data key is in
// KEYREGISTRY, encrypted by what the key file's key derives for it. There is one data key, which Load
// or the first Open draws; a ledger gets another one when all of it is written again. MANIFEST
// is not encrypted: it has the numbers and levels of tables. CTR does not tell whether somebody
// has changed the bytes. A damaged disk is noticed, by badger's checksums and by those of records.
//
// # Nursing badger
//
// Open checks MANIFEST and the tables, because badger panics or goes on without them when
// they are damaged. It removes empty files that keep badger from opening (notes/badger.md
// D4-D6). Badger reports some of its worst errors only in its log, so watch reads that log.
package state
