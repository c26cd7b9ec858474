// Package journal is a log of commits in files. A commit is durable when Append
// returns. Commits are read in order, and removed when nobody needs them any more.
// The journal doesn't know what the commits mean. Start at [Open], then
// [Journal.Append].
//
// # Promises
//
// P0, P1 and P2 depend on it: after any crash or power cut, every appended commit is
// there, and nothing else is. P10: a full disk stops it between two appends, and
// damage is an error, never a shorter journal.
//
// # Files
//
// The folder has segments of one size, numbered without gaps: a page with the head,
// then frames, one for each commit. A segment is written full of zeros, synced and
// named before the first frame goes into it, so that an append changes no metadata
// of the file system: one pwrite, one fdatasync. Trim removes whole segments; up to
// four are kept as spare files and become the next segments.
//
// The preparer, a goroutine that Open starts and Close awaits, makes each next
// segment while the present one still has space. Only there can the disk turn out to be
// full.
//
// # Why the journal's content can be trusted
//
// A disk may lose or tear everything that was not synced: any subset of the written
// sectors, any subset of the changed names. It does not change synced sectors that
// nobody writes to, or that are written again with the same bytes. The second part is
// needed because a frame may begin inside the sector in which the frame before it
// ends.
//
// Generations. Each use of a file draws a random number, which is in its head and in
// every frame. A frame counts only in a segment of its generation. So frames of a
// file's earlier uses don't count, although they are whole and have valid checksums.
// A record can't pretend to be a frame either, because its writer can't know the
// number.
//
// Heads. A head is written and synced while the file has another name, and the
// folder is synced after it has its own. So a named segment has a whole head of its
// present use. A head that is torn or of another use is damage. A segment that was given
// up is written to only after the folder is synced: then its old name can't come back.
// Open first syncs the folder, because a killed process may have left names that are
// not durable.
//
// Tail. Appends are strictly one after another, each synced before the next begins.
// So only the last one can be torn, and all before it must be there. One append may be
// several frames, whose sectors may get lost in any order. Each frame has its place in
// the append. Reading ends at the first frame that isn't whole. If a whole frame of a
// later append follows, the missing frame was durable, so this is damage. A segment
// that is missing, or doesn't continue where the one before ended, is damage
// too.
//
// Remains. The remains of a torn append lie within maxAppend bytes after the last whole
// frame. Open writes zeros there and syncs, before anything is appended. Otherwise a
// shorter commit might overwrite only the beginning, and a whole frame of the torn
// append would follow it. If power is cut while the zeros are written, a smaller part of
// the same append remains, and the next Open does the same. A segment without a whole
// frame becomes a spare and gets another generation.
//
// What Open reads it makes durable before it returns. The last append may not have been
// synced, because the process was killed. Or its sync failed; after that Linux marks
// pages as written that are not. So Open writes the same bytes again and syncs them.
// For the same reason a failed append is never tried again in the same process.
//
// # Encryption
//
// With a key (Options.Key) each record is encrypted and authenticated by AES-256-GCM. Each use
// of a file draws a data key of its own, as it draws its generation. The head has the data
// key, wrapped by the key file's key. So a file that is used again gets another data key, and
// its old frames can't be read any more. The checksums are of the bytes as they are stored.
// So what is whole, torn or of an earlier use is told apart without the key, as above.
//
// Nonces. Under one data key no nonce may come twice. A commit's number or place would be a
// bad nonce: after a torn append, or after an old copy of the folder was put back, another
// record is written at the same place with the same number under the same data key. So each
// frame draws 96 random bits, which depend on nothing that may repeat. A segment of 16 MiB has
// less than 2^19 frames. Then the chance of two equal nonces is below 2^-59 a segment, and NIST SP
// 800-38D allows 2^32 random nonces a key. What mend writes again is the same encrypted
// bytes. Cut encrypts what it copies again, under the new file's data key.
//
// The tag is over the frame's head too. So a frame that somebody moved, or copied from another
// place, is an error when it is read. Weak: who can write to the folder can put back older
// files of it, or cut its end off.
//
// # More about files
//
// Trim and Cut. Segments are removed one by one, from the oldest up or from the newest
// down, with a sync of the folder between. So there is never a hole. Cut writes its
// first segment again, without the removed frames, and replaces the old one by a
// rename. Writing zeros over the frames could be torn and then look like damage.
//
// Weak: if the last commit gets damaged on the disk, it looks like a torn one and is
// dropped. The state can notice that: when it has a commit that the journal doesn't
// have, the journal is damaged. Weak: on file systems that copy on write (btrfs, zfs),
// an append can find the disk full; this is an error like any other.
package journal
