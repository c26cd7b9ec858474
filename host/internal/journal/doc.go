// Package journal is a log of commits in files: a commit is durable when Append
// returns, can be read again in order, and is given up when nobody needs it any
// more. It knows nothing of what the commits say. Start at [Open], then
// [Journal.Append].
//
// # Promises
//
// P0, P1, P2 stand on it: what was appended is there after any crash or power cut,
// with what was appended before, and nothing else is. P10: a disk that fills up
// stops it between two appends, and damage is an error, never a shorter journal.
//
// # Files
//
// The folder has segments of one size, numbered without gaps: a page with the head,
// then frames, one for each commit. A segment is written full of zeros, synced and
// named before the first frame goes into it, so that an append changes no metadata
// of the file system: one pwrite, one fdatasync. Trim gives whole segments up; up to
// four are kept as spare files and become the next segments.
//
// The preparer, a goroutine that Open starts and Close awaits, makes each next
// segment while there is room in the present one. It is the only place where the
// disk can turn out to be full.
//
// # Why what is there can be believed
//
// A disk may lose or tear everything that was not synced: any subset of the written
// sectors, any subset of the changed names. It does not change synced sectors that
// nobody writes to, nor those that are written again with the same bytes. That last
// one is asked of it because a frame may begin inside the sector in which the one
// before it ends.
//
// Generations. Each use of a file draws a random number, which stands in its head
// and in every frame. A frame counts only in a segment of its generation. So the
// frames of a file's earlier uses, which are whole and have valid checksums, are
// nothing, and a record can't pretend to be a frame: who wrote it can't know the
// number.
//
// Heads. A head is written and synced while the file has another name, and the
// folder is synced after it has its own. So a named segment has a whole head of its
// present use; a head that is torn or of another use is damage. The other way
// round, a segment that was given up is written to only after the folder is synced,
// when its old name can't come back. Open syncs the folder before it looks, since a
// killed process may have left names that are not durable.
//
// Tail. Appends are strictly one after another, each synced before the next begins.
// So at most the last one can be torn, and all before it must be there. One append
// may be several frames, whose sectors may get lost in any order; a frame's place in
// its append tells them apart. Reading ends at the first frame that isn't whole. If
// behind it there is a whole frame of a later append, the missing one was durable:
// that is damage in the middle. So is a segment that doesn't go on where the one
// before ended, or is missing.
//
// Remains. Whatever a torn append left lies between the end of the last whole frame
// and as far as one append can reach (maxAppend); Open writes zeros there and syncs,
// before anything is appended. Else a shorter commit might be written over the
// beginning, and a whole frame of the torn append would follow it. When power is cut
// while those zeros are written, the remains are a smaller part of the same append,
// and the next Open does the same. A segment without a whole frame becomes a spare,
// and gets another generation.
//
// What was read is made durable before Open returns: the last append may have been
// written but not synced when the process was killed, or its sync failed, after
// which Linux takes pages for written that are not. So Open writes the same bytes
// again and syncs them. For the same reason an append that failed is never tried
// again in the same process.
//
// Trim and Cut. Segments go one by one, the folder synced between, from the oldest
// up or from the newest down, so what is there has no hole at any time. The segment
// in which Cut begins is written anew, without the frames that go, and takes the
// other's place by a rename: zeros over the frames could be torn, and then look like
// damage.
//
// Weak: a last commit that is damaged while at rest looks like a torn one, and is
// dropped. The state knows more: when it has a commit that the journal has not, the
// journal is damaged. Weak: on file systems that copy on write (btrfs, zfs), an
// append can find the disk full, and is then an error like any other.
package journal
