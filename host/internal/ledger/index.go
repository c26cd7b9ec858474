package ledger

import (
	"slices"
	"sort"
)

// index knows all pending entries of one kind, in seq order. For every page with a
// pending entry it holds a stub of 24 bytes. For the pages that were stored or used last
// it also holds the entries, and the bodies that were stored since the start, up to
// limit. Other entries are read from the disk when they are needed (see deep.go). So the
// host's memory does not grow with the backlog.
//
// Only the committer changes it, under Ledger.mu, so the committer reads it
// without the lock.
type index struct {
	kind  byte
	stubs []stub // a page that has ended leaves a hole, with n 0
	pages int    // stubs that are not holes
	live  int    // entries

	held, limit int     // bytes of entries and bodies in memory
	open        []*page // pages in memory, in the order in which they were loaded; some may have ended
}

// stub is what memory holds for each page.
type stub struct {
	seq     uint64
	page    *page  // nil: the page is only on the disk, and the other fields say how it was written
	n, live uint16 // as in page; 0: a hole
	turn    uint16 // grows when the page leaves memory, so that a reader of the disk notices the change
	marked  bool   // as in page
	tried   bool   // as in page
}

// item is a pending event or downstream.
type item interface{ at() *place }

// index returns the index of a kind.
func (l *Ledger) index(kind byte) *index {
	if kind == kindDownstream {
		return &l.sent
	}
	return &l.events
}

// place is where a pending entry is stored, and its fields that change. Fields that only
// the committer uses need no lock.
type place struct {
	seq      uint64
	due      int64 // nanoseconds, 0: at once; Ledger.mu guards it
	page     *page
	weight   uint32 // of the record, in bytes
	size     uint32 // of what memory holds, in bytes
	attempts uint32 // Ledger.mu guards it
	slot     uint16 // in page; the committer's
	kept     bool   // has a record of its attempts; the committer's
	over     bool   // ended by an earlier operation of the batch; the committer's
}

func (p *place) at() *place { return p }

// itemExtra is about how much memory a pending entry needs besides texts and body.
const itemExtra = 256

// find returns the position in stubs of the page for seq.
func (x *index) find(seq uint64) (at int, found bool) {
	at = sort.Search(len(x.stubs), func(i int) bool { return x.stubs[i].seq > seq }) - 1
	return at, at >= 0 && x.stubs[at].n > 0
}

// stub returns the stub of the page for seq; nil when there is none.
func (x *index) stub(seq uint64) *stub {
	if at, found := x.find(seq); found {
		return &x.stubs[at]
	}
	return nil
}

// follow returns the first page with a greater seq and a pending entry; nil for none.
func (x *index) follow(seq uint64) *stub {
	at, _ := x.find(seq)
	for at++; at < len(x.stubs); at++ {
		if x.stubs[at].n > 0 {
			return &x.stubs[at]
		}
	}
	return nil
}

// list adds a page that is on the disk.
func (x *index) list(s stub) {
	x.stubs = append(x.stubs, s)
	x.pages++
	x.live += int(s.live)
}

// add adds a pending entry, which is the newest.
func (x *index) add(it item) {
	p := it.at().page
	if len(x.stubs) == 0 || x.stubs[len(x.stubs)-1].page != p {
		x.list(stub{seq: p.seq, n: 1, page: p})
		x.open = append(x.open, p)
	}
	p.items = append(p.items, it)
	x.held += int(it.at().size)
	x.live++
}

// load puts the entries of a page into memory, as they are on the disk.
func (x *index) load(s *stub, p *page) {
	s.page = p
	x.open = append(x.open, p)
	for _, it := range p.items {
		x.held += int(it.at().size)
	}
}

// end removes an entry. Its page is in memory, because the committer ended it there.
func (x *index) end(it item) {
	pl := it.at()
	p := pl.page
	i, found := p.find(pl.seq)
	if !found {
		return
	}
	p.items = slices.Delete(p.items, i, i+1)
	x.held -= int(pl.size)
	x.live--
	if len(p.items) > 0 {
		return
	}
	*x.stub(p.seq) = stub{seq: p.seq}
	x.pages--
	ended := 0
	for ended < len(x.stubs) && x.stubs[ended].n == 0 {
		ended++
	}
	x.stubs = x.stubs[ended:]
	if len(x.stubs) > 2*x.pages+1024 {
		x.stubs = slices.DeleteFunc(slices.Clone(x.stubs), func(s stub) bool { return s.n == 0 })
	}
}

// shed drops the pages that were loaded first from memory, until it holds less than the
// limit. It runs only between two batches: a batch changes the entries that it has found.
func (x *index) shed() {
	gone := 0
	for ; gone < len(x.open) && (x.held > x.limit || len(x.open[gone].items) == 0); gone++ {
		p := x.open[gone]
		x.open[gone] = nil
		if len(p.items) == 0 {
			continue // it has ended
		}
		for _, it := range p.items {
			x.held -= int(it.at().size)
		}
		s := x.stub(p.seq)
		*s = stub{seq: p.seq, n: p.n, live: p.live, turn: s.turn + 1, marked: p.marked, tried: p.tried}
	}
	x.open = x.open[gone:]
	if ended := len(x.open) - x.pages; ended > 1024 && ended > x.pages {
		x.open = slices.DeleteFunc(slices.Clone(x.open), func(p *page) bool { return len(p.items) == 0 })
	}
}

// low returns the seq of the first page with a pending entry; next when there is none.
func (x *index) low(next uint64) uint64 {
	if len(x.stubs) == 0 {
		return next
	}
	return x.stubs[0].seq // end removes holes at the front
}
